"""`--weights coco`: which published file serves which model, and what of it is taken."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import crispmask
from crispmask.cli import main
from crispmask.errors import WeightsError
from crispmask.models import catalogue
from crispmask.models.build import ModelSpec, build_network
from crispmask.models.catalogue import CATALOGUE, PARTIAL, SERVES, find_weights
from crispmask.models.coco import load_coco
from crispmask.models.download import Store
from crispmask.models.fill import fill_matching
from crispmask.models.mmdet import convert_state
from crispmask.models.table import list_models, models_of

ROOT = Path(__file__).parents[2]
KEYS = ROOT / "tests" / "parity" / "data" / "keys"
DOCUMENT = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
OFFICIAL = {
    ("solov2", "light-r18"): "solov2_light_r18",
    ("solov2", "light-r34"): "solov2_light_r34",
    ("solov2", "light-r50"): "solov2_light_r50",
    ("solov2", "r50"): "solov2_r50_fpn_1x_coco",
    ("solov2", "r101"): "solov2_r101_fpn_3x",
    ("rtmdet-ins", "tiny"): "rtmdet-ins_tiny",
}
COCO_NAMES = tuple(f"thing {i}" for i in range(80))


def tensors(architecture: str, layout: str) -> dict[str, torch.Tensor]:
    """Constants under the official names, but different channels in the first convolution."""
    name = OFFICIAL[architecture, layout]
    shapes = json.loads((KEYS / f"{name}.json").read_text())["state_dict"]
    state = {
        key: torch.full(shape, 0.5 if dtype == "float32" else 0)
        for key, (shape, dtype) in shapes.items()
    }
    for first in ("backbone.stem.0.conv.weight", "backbone.conv1.weight"):
        if first in state:
            state[first] = state[first] + torch.arange(3.0).view(3, 1, 1)
    return state


@pytest.fixture
def publish(monkeypatch, tmp_path: Path):
    """Puts a file of an official layout where CRISPMASK_MIRROR points to."""

    def put(architecture: str, layout: str) -> Path:
        row = find_weights(architecture, layout)
        assert row is not None
        path = tmp_path / "zoo" / row.sources[0].url.removeprefix("https://download.openmmlab.com/")
        path.parent.mkdir(parents=True)
        meta = {"CLASSES": COCO_NAMES}
        torch.save({"meta": meta, "state_dict": tensors(architecture, layout)}, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        source = replace(row.sources[0], sha256=digest)
        rows = tuple(
            replace(row, sources=(source, *row.sources[1:])) if r == row else r for r in CATALOGUE
        )
        monkeypatch.setattr(catalogue, "CATALOGUE", rows)
        monkeypatch.setenv("CRISPMASK_MIRROR", (tmp_path / "zoo").as_uri())
        monkeypatch.setenv("HF_ENDPOINT", (tmp_path / "hub").as_uri())
        monkeypatch.setenv("CRISPMASK_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("CRISPMASK_OFFLINE", raising=False)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        return path

    return put


def test_every_model_is_served() -> None:
    assert {(row.architecture, row.layout) for row in CATALOGUE} == {
        *OFFICIAL,
        *(("rtmdet-ins", size) for size in "smlx"),
    }
    for architecture in ("solov2", "rtmdet-ins"):
        for model in models_of(architecture):
            assert find_weights(architecture, model) is not None
    assert find_weights("solov2", "huge") is None
    assert {("solov2", r.model) for r in list_models() if r.architecture == "solov2"} == PARTIAL


def test_sources_say_their_hash() -> None:
    for row in CATALOGUE:
        official, *mirrors = row.sources
        folder = official.url.split("/")[-2]
        assert re.fullmatch(rf"{folder}_\d{{8}}_\d{{6}}-[0-9a-f]{{8}}\.pth", official.name)
        assert official.sha256.startswith(official.name[-12:-4])
        for source in row.sources:
            assert re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{64}", source.sha256)
            assert source.url.startswith("https://")
        assert (len(mirrors) == 1) == (row.architecture == "rtmdet-ins")


def test_a_whole_model_for_the_same_classes(publish) -> None:
    publish("rtmdet-ins", "tiny")
    model = crispmask.build("rtmdet-ins", "tiny", weights="coco")
    assert model.names == COCO_NAMES
    for key, value in convert_state(tensors("rtmdet-ins", "tiny"), "rtmdet-ins").items():
        assert model.network.state_dict()[key].equal(value), key
    # Published for BGR: for RGB images the channels stand the other way round.
    stem = model.network.state_dict()["backbone.body.model.stem.0.conv.weight"]
    assert stem[0, :, 0, 0].tolist() == [2.5, 1.5, 0.5]
    assert crispmask.load("coco", "rtmdet-ins", "tiny").names == COCO_NAMES


def test_other_classes_keep_random_predictions(publish, tmp_path: Path) -> None:
    path = publish("rtmdet-ins", "tiny")
    network = build_network(ModelSpec("rtmdet-ins", "tiny", 3))
    line, _ = load_coco(network, ModelSpec("rtmdet-ins", "tiny", 3), Store())
    assert line.startswith(f"COCO weights of {tmp_path / 'cache' / path.name}, ")
    assert "6 tensors of the class predictions start at random" in line
    assert "80 classes instead of 3" in line


def test_a_size_takes_the_layers_that_fit(publish) -> None:
    publish("solov2", "light-r18")
    network = build_network(ModelSpec("solov2", "nano", 3))
    line, _ = load_coco(network, ModelSpec("solov2", "nano", 3), Store())
    assert "solov2 light-r18" in line
    assert "82.4% of the parameters; the others start at random" in line
    for key, value in network.backbone.state_dict().items():
        filled = [0.5, 1.5, 2.5] if key == "body.conv1.weight" else [0.5]
        assert value.unique().tolist() == ([0] if key.endswith("tracked") else filled), key
    assert network.backbone.body.conv1.weight[0, :, 0, 0].tolist() == [0.5, 1.5, 2.5]  # RGB
    with pytest.raises(WeightsError, match="--model light-r18"):
        crispmask.load("coco", "solov2", "nano")


def test_other_backbones_have_none() -> None:
    network = build_network(ModelSpec("solov2", "nano", 3))
    with pytest.raises(WeightsError, match="have the backbone resnet34, not resnet18"):
        load_coco(network, ModelSpec("solov2", "small", 3), Store())


def test_commands_take_coco_and_tell_what_is_missing(
    publish, tmp_path: Path, monkeypatch, capsys
) -> None:
    path = publish("rtmdet-ins", "tiny")
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "--out", "data", "--images", "4", "--imgsz", "64"]) == 0
    predict = ["predict", "weights=coco", "source=data/images/val", "imgsz=64"]
    assert main(predict) == 2
    assert "--weights coco needs --architecture and --model" in capsys.readouterr().err
    predict += ["architecture=rtmdet-ins", "model=tiny"]
    assert main(predict) == 0
    path.unlink()  # it is in the cache now
    assert main(predict) == 0
    (tmp_path / "cache" / path.name).unlink()
    capsys.readouterr()
    train = ["train", "data=data/data.yaml", "architecture=rtmdet-ins", "model=tiny", "epochs=1"]
    for words in (predict, [*train, "weights=coco", "device=cpu"]):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert "could not be downloaded" in err
        assert f"copy {path.name} from a machine that has it into {tmp_path / 'cache'}" in err
        assert len(err.splitlines()) == 1
    assert main([*train, "weights=coco", "--offline", f"cache_dir={tmp_path / 'other'}"]) == 2
    assert f"{path.name} is not in {tmp_path / 'other'}" in capsys.readouterr().err


def rows(heading: str) -> list[list[str]]:
    lines = DOCUMENT.split(heading)[1].split("|\n\n")[0].splitlines()
    table = [line for line in lines if line.startswith("| ")][1:]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in table]


def test_the_document_lists_the_catalogue() -> None:
    expected = []
    for row in CATALOGUE:
        official, *mirrors = row.sources
        mirror = mirrors[0].url.split("/")[4] if mirrors else "none"
        known = "whole" if len(official.sha256) == 64 else "8 digits"
        name = f"{row.architecture} {row.layout}"
        expected.append([name, str(row.mask_ap), official.name, known, mirror])
    assert rows("## The catalogue") == expected


def test_the_document_says_how_much_each_size_takes() -> None:
    expected = []
    for size in list_models():
        row = find_weights(size.architecture, size.model)
        assert row is not None
        share = "all but class predictions of other classes"
        if (size.architecture, size.model) in PARTIAL:
            with torch.device("meta"):
                network = build_network(ModelSpec(size.architecture, size.model, 3))
                state = convert_state(tensors(row.architecture, row.layout), "solov2")
            share = fill_matching(network, state)
        expected.append([f"{size.architecture} {size.model}", row.layout, share])
    assert rows("## Which file serves which model") == expected
    assert {model for _, model in SERVES} >= {"nano", "small", "medium", "large"}
