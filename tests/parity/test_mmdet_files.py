"""Files of MMDetection: every tensor has its place, and what is wrong or left out is named."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import types
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from conftest import CASES, DATA
from test_checkpoint_keys import LAYOUTS
from torch import Tensor

import crispmask
from crispmask.cli import main
from crispmask.errors import WeightsError
from crispmask.models.build import ModelSpec, build_network
from crispmask.models.checkpoint import read_checkpoint
from crispmask.models.fill import fill, fill_matching
from crispmask.models.layouts import find_layout
from crispmask.models.mmdet import convert_state, read_mmdet
from crispmask.models.mmdet_names import rename
from crispmask.models.table import models_of
from crispmask.validate import validate

pytestmark = pytest.mark.parity

SMALL = ("rtmdet-ins_tiny", "solov2_light_r18")
OFFICIAL = [name for name in LAYOUTS if not name.startswith("proj_")]
COCO_NAMES = tuple(f"thing {i}" for i in range(80))


def tensors(name: str, most: int = 1 << 30) -> dict[str, Tensor]:
    """Random numbers under the names of a layout, the same in tensors that are one.

    A tensor of more than `most` elements is one number over and over, stored once.
    """
    g = torch.Generator().manual_seed(0)
    shared: dict[str, Tensor] = {}
    state = OrderedDict()
    for key, (shape, dtype) in read_keys(name).items():
        one = key.replace("reg_convs", "cls_convs")
        if "cls_convs" in one and one.startswith("bbox_head") and ".conv." in one:
            one = one.replace("cls_convs.1", "cls_convs.0").replace("cls_convs.2", "cls_convs.0")
        if one not in shared:
            drawn = torch.rand(shape if math.prod(shape) <= most else (), generator=g)
            shared[one] = drawn.expand(shape) if dtype == "float32" else torch.tensor(5)
        state[key] = shared[one]
    return state


def read_keys(name: str) -> dict[str, tuple[list[int], str]]:
    return json.loads((DATA / "keys" / f"{name}.json").read_text())["state_dict"]


def save(path: Path, state: dict[str, Tensor], **entries) -> Path:
    # As MMDetection publishes them: the format before torch 1.6.
    torch.save({"state_dict": state, **entries}, path, _use_new_zipfile_serialization=False)
    return path


@pytest.mark.parametrize("case", [c for c in CASES if c.num_classes == 3], ids=lambda c: c.name)
def test_val_measures_a_file_of_mmdetection_on_any_split(
    case, tmp_path: Path, yolo_dataset
) -> None:
    data = yolo_dataset(num_train=1, num_val=2, size=(96, 128))
    with data.open("a", encoding="utf-8") as file:
        file.write("test: images/train\n")
    path = save(tmp_path / "a.pth", case.state())
    model = crispmask.load(path, architecture=case.architecture, model=case.model)
    model.save(tmp_path / "a.pt")
    validate(
        path,
        data,
        128,
        "test",
        out=tmp_path / "pth",
        workers=0,
        architecture=case.architecture,
        model=case.model,
    )
    validate(tmp_path / "a.pt", data, 128, "test", out=tmp_path / "pt", workers=0)
    for name in ("metrics.json", "predictions.json"):
        assert (tmp_path / "pth" / name).read_text() == (tmp_path / "pt" / name).read_text()
    rows = json.loads((tmp_path / "pth/predictions.json").read_text())
    assert len(rows) > 5
    assert {row["image_id"] for row in rows} == {1}  # of the split that was asked for


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("told", [True, False])
def test_load_fills_every_tensor(name: str, told: bool, tmp_path: Path, caplog) -> None:
    architecture, layout = LAYOUTS[name]
    state = tensors(name)
    meta = {"dataset_meta": {"CLASSES": COCO_NAMES}, "epoch": 12}
    path = save(tmp_path / "a.pth", state, meta=meta, optimizer={"lr": 0.1}, message_hub={})
    with caplog.at_level(logging.INFO):
        if told:
            model = crispmask.load(path, architecture=architecture, model=layout)
        else:
            model = crispmask.load(path)
    assert model.names == COCO_NAMES
    assert (model.spec.architecture, model.spec.model) == (architecture, layout)
    mine = model.network.state_dict()
    converted = convert_state(state, architecture)
    assert mine.keys() == converted.keys()
    for key, value in converted.items():
        assert mine[key].equal(value), key
    left_out = "meta (describes the file; class names are taken from it); optimizer, message_hub"
    assert f"left out: {left_out} (state of its training)" in caplog.text
    assert (f"taken for {architecture} {layout}" in caplog.text) != told


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in OFFICIAL if name not in SMALL])
def test_the_larger_layouts_load_too(name: str, tmp_path: Path) -> None:
    architecture, layout = LAYOUTS[name]
    state = tensors(name, most=10_000)
    model = crispmask.load(save(tmp_path / "a.pth", state), architecture, layout)
    converted = convert_state(state, architecture)
    assert model.network.state_dict().keys() == converted.keys()
    for key, value in model.network.state_dict().items():
        assert value.equal(converted[key]), key


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_are_recognised_by_their_tensors(name: str) -> None:
    architecture, layout = LAYOUTS[name]
    num_classes = 3 if name.startswith("proj_") else 80
    with torch.device("meta"):
        state = {
            rename(key, architecture): torch.empty(shape)
            for key, (shape, _) in read_keys(name).items()
        }
    model = find_layout(state, architecture, num_classes)
    assert model in models_of(architecture)
    assert model in (layout, {"s": "small", "m": "medium", "l": "large"}.get(layout))


@pytest.mark.parametrize("form", ["ema", "ema only", "wrapped", "bare", "preprocessor", "mirror"])
def test_forms_of_a_file(form: str, tmp_path: Path) -> None:
    """Averages, wrappers, mirrors and bare state dicts hold the same tensors."""
    state = tensors("rtmdet-ins_tiny")
    wrapped = {f"module.{key}": value for key, value in state.items()}
    if form == "ema":
        average = {"steps": torch.tensor(9), **{k: v + 1 for k, v in wrapped.items()}}
        content, ignored = {"state_dict": state, "ema_state_dict": average}, {"ema_state_dict"}
    elif form == "ema only":
        content, ignored = {"ema_state_dict": {"steps": torch.tensor(9), **wrapped}}, {"steps"}
    elif form == "wrapped":
        content, ignored = {"state_dict": wrapped}, set()
    elif form == "bare":
        content, ignored = state, set()
    elif form == "preprocessor":
        constants = {
            "data_preprocessor.mean": torch.tensor([103.53, 116.28, 123.675]).view(3, 1, 1),
            "data_preprocessor.std": torch.tensor([57.375, 57.12, 58.395]).view(3, 1, 1),
        }
        content, ignored = {"state_dict": constants | state}, set(constants)
    else:
        weights = {
            key.replace("bbox_head.", "head."): value
            for key, value in state.items()
            if not key.endswith("num_batches_tracked")
        }
        names = dict(enumerate(COCO_NAMES))
        content, ignored = {"model": weights, "names": names, "nc": 80}, {"names", "nc"}
    torch.save(content, tmp_path / "a.pth")
    checkpoint = read_checkpoint(tmp_path / "a.pth")
    network = build_network(ModelSpec("rtmdet-ins", "tiny", 80))
    fill(network, checkpoint)
    assert checkpoint.ignored.keys() == ignored
    for key, value in convert_state(state, "rtmdet-ins").items():
        if form != "mirror" or not key.endswith("num_batches_tracked"):
            assert network.state_dict()[key].equal(value), key
    if form == "mirror":
        assert checkpoint.class_names == COCO_NAMES


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bbox_head.rtm_reg.1.weight": None}, ["bbox_head.rtm_reg.1.weight is missing"]),
        ({"bbox_head.cls_convs.0.0.conv.weight": "drop all"}, ["cls_convs.0.0.conv.weight is mis"]),
        ({"neck.out_convs.0.bn.bias": 7}, ["neck.out_convs.0.bn.bias has shape (7,), (96,)"]),
        ({"neck.out_convs.9.bn.bias": 7}, ["neck.out_convs.9.bn.bias is unknown"]),
        ({"bbox_head.new.bias": 7}, ["unknown key bbox_head.new.bias"]),
        ({"backbone.stage1.0.conv.extra": 7}, ["backbone.stage1.0.conv.extra is unknown"]),
        ({"bbox_head.reg_convs.1.0.bn.weight": 96}, ["bbox_head.reg_convs.1.0.bn.weight differs"]),
        ({"data_preprocessor.mean": 3}, ["data_preprocessor.mean", "123.675"]),
        ({"bbox_head.rtm_cls.0.bias": None}, ["no SOLOv2 or RTMDet-Ins checkpoint"]),
        ({"bbox_head.rtm_cls.1.bias": 5}, ["bbox_head.rtm_cls.1.bias has shape (5,), (80,)"]),
        ({"bbox_head.rtm_cls.0.bias": ()}, ["bbox_head.rtm_cls.0.bias has shape (), (classes,)"]),
        ({"bbox_head.rtm_cls.0.bias": 0}, ["bbox_head.rtm_cls.0.bias has shape (0,), (classes,)"]),
        ({"backbone.stem.0.conv.weight": 1}, ["backbone.stem.0.conv.weight has shape (1,)"]),
        ({"backbone.stem.0.conv.weight": "sparse"}, ["backbone.stem.0.conv.weight is sparse"]),
        ({"neck.out_convs.0.bn.bias": "meta"}, ["neck.out_convs.0.bn.bias is without numbers"]),
        ({"neck.out_convs.0.bn.bias": "complex"}, ["neck.out_convs.0.bn.bias is complex"]),
        ({"neck.out_convs.0.bn.bias": "nan"}, ["neck.out_convs.0.bn.bias has 96 of 96 values"]),
        ({"two\nlines": 1}, ["unknown key 'two\\nlines'"]),
        ({7: 1}, ["7 is no name of a tensor"]),
    ],
)
def test_what_is_wrong_is_named(change, words: list[str], tmp_path: Path) -> None:
    state = tensors("rtmdet-ins_tiny")
    for key, value in change.items():
        if value is None:
            del state[key]
        elif value == "drop all":
            for copy in [k for k in state if "_convs" in k and k.endswith(".0.conv.weight")]:
                if copy.startswith(("bbox_head.cls", "bbox_head.reg")):
                    del state[copy]
        elif value == "sparse":
            state[key] = state[key].to_sparse()
        elif value == "meta":
            state[key] = state[key].to("meta")
        elif value == "nan":
            state[key] = torch.full_like(state[key], torch.nan)
        elif value == "complex":
            state[key] = state[key].to(torch.complex64)
        else:
            state[key] = torch.full(value if value == () else (value,), 0.5)
    path = save(tmp_path / "a.pth", state)
    with pytest.raises(WeightsError) as error:
        crispmask.load(path, architecture="rtmdet-ins", model="tiny")
    for word in ("a.pth", *words):
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_the_wrong_model_is_told_which_is_right(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", tensors("solov2_light_r18"))
    with pytest.raises(WeightsError, match="its tensors are those of solov2 light-r18"):
        crispmask.load(path, architecture="solov2", model="light-r34")
    with pytest.raises(WeightsError, match="weights of solov2, not of rtmdet-ins"):
        crispmask.load(path, architecture="rtmdet-ins", model="tiny")
    state = tensors("solov2_light_r18")
    state["neck.lateral_convs.0.conv.bias"] = torch.ones(3)
    path = save(tmp_path / "b.pth", state)
    with pytest.raises(WeightsError, match="of no solov2 layout"):
        crispmask.load(path)


@pytest.mark.parametrize(
    ("meta", "names"),
    [
        ({"dataset_meta": {"classes": ("a", "b", "c")}}, ("a", "b", "c")),
        ({"dataset_meta": {"CLASSES": ["a", "b", "c"]}}, ("a", "b", "c")),
        ({"CLASSES": ("a", "b", "c")}, ("a", "b", "c")),  # MMDetection 2.x
        ({"CLASSES": ("a", "b")}, ("class_0", "class_1", "class_2")),
        ({"CLASSES": ("a", "b", 3)}, ("class_0", "class_1", "class_2")),
        ({"dataset_meta": None}, ("class_0", "class_1", "class_2")),
        (None, ("class_0", "class_1", "class_2")),
    ],
)
def test_class_names(meta, names: tuple[str, ...]) -> None:
    state = tensors("proj_solov2_nano")
    assert read_mmdet(Path("a"), {"state_dict": state, "meta": meta}).class_names == names


def test_a_published_meta_block_is_read_but_not_run(tmp_path: Path, monkeypatch) -> None:
    mark = tmp_path / "executed"
    module = types.ModuleType("mmengine_like")

    class ConfigDict(dict):
        def __reduce_ex__(self, protocol):
            return (self.__class__, (dict(self),))

    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {mark}",))

    ConfigDict.__module__, ConfigDict.__qualname__ = "mmengine_like", "ConfigDict"
    module.ConfigDict = ConfigDict
    monkeypatch.setitem(sys.modules, "mmengine_like", module)
    meta = {"cfg": Evil(), "dataset_meta": ConfigDict(classes=("a", "b", "c"))}
    path = save(tmp_path / "a.pth", tensors("proj_rtmdet_ins_tiny"), meta=meta, message_hub=Evil())
    monkeypatch.delitem(sys.modules, "mmengine_like")
    model = crispmask.load(path, architecture="rtmdet-ins", model="tiny")
    assert model.names == ("a", "b", "c")
    assert not mark.exists()


def test_fine_tuning_starts_class_predictions_at_random(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", tensors("rtmdet-ins_tiny"))
    model = crispmask.build("rtmdet-ins", "tiny", num_classes=3, weights=str(path))
    converted = convert_state(tensors("rtmdet-ins_tiny"), "rtmdet-ins")
    for key, value in model.network.state_dict().items():
        same = value.shape == converted[key].shape and value.equal(converted[key])
        assert same != ("class_logits" in key), key


def test_layers_that_fit_are_filled_whole() -> None:
    network = build_network(ModelSpec("solov2", "nano", 80))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = convert_state(tensors("solov2_light_r18"), "solov2")
    line = fill_matching(network, state)
    own = network.state_dict()
    changed = {key for key, value in own.items() if not value.equal(before[key])}
    assert {key for key in own if key.startswith("backbone.")} <= changed
    assert "grid_branches.class_logits.bias" not in changed  # its weight has another shape
    assert line.startswith(f"{len(changed)} of {len(own)} tensors, ")
    for key in changed:
        assert own[key].equal(state[key])


def test_predict_and_val_take_a_file_of_mmdetection(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "--out", "data", "--images", "4", "--imgsz", "64"]) == 0
    torch.manual_seed(0)
    state = tensors("proj_rtmdet_ins_tiny")
    for key in [key for key in state if ".rtm_cls." in key]:
        state[key] = torch.rand(4, *state[key].shape[1:]) - 1
    path = save(tmp_path / "a.pth", state)
    told = [f"weights={path}", "architecture=rtmdet-ins", "model=tiny", "imgsz=64"]
    assert main(["predict", *told, "source=data/images/val"]) == 0
    assert main(["val", *told, "data=data/data.yaml", "workers=0"]) == 0
    assert "mask mAP50-95" in capsys.readouterr().out
    assert main(["predict", f"weights={path}", "model=small", "source=data/images/val"]) == 2
    assert "its tensors are those of rtmdet-ins tiny" in capsys.readouterr().err
