"""Exported graphs find what PyTorch finds, with torch and without."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from coco_datasets import write_coco_dataset

import crispmask
from crispmask.cli import main
from crispmask.data.scenes import draw_sample
from crispmask.export.compare import FULL, compare
from crispmask.geometry.rle import decode_masks
from crispmask.types import Instances
from crispmask.validate import validate

if TYPE_CHECKING:
    from conftest import MakeDataset

SMALLEST = [("solov2", "nano"), ("rtmdet-ins", "tiny")]
NAMES = ("große Schraube", "螺母", "nut")
CONF = "0.001"  # an untrained network finds things, but believes in none
ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def all_equal(out: str) -> bool:
    equal, counted = re.findall(r"(\d+) of (\d+) equal", out)[0]
    return equal == counted > "0"


def checkpoint(architecture: str, model: str, folder: Path, believes: bool = False) -> Path:
    torch.manual_seed(0)
    built = crispmask.build(architecture, model, num_classes=3, imgsz=96, names=NAMES)
    for name, tensor in built.network.named_parameters():
        if believes and name.endswith("class_logits.bias"):
            tensor.data += 3  # `val` looks at cells of SOLOv2 from a probability of 0.05
    path = folder / f"{architecture}.pt"
    built.save(path)
    return path


@pytest.mark.parametrize(("architecture", "model"), SMALLEST)
@pytest.mark.parametrize("flags", [(), ("--dynamic",), ("--fixed-rows", "--input", "float")])
def test_an_onnx_file_finds_the_same(
    architecture: str,
    model: str,
    flags: tuple[str, ...],
    tmp_path: Path,
    yolo_dataset: MakeDataset,
    capsys,
) -> None:
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    # The scores of an RTMDet-Ins that has learnt nothing are too much alike: rounding decides which
    # of them survive NMS.
    with_val = not flags and architecture == "solov2"
    most = 100 if with_val else 20
    path = checkpoint(architecture, model, tmp_path, with_val)
    words = ["export", "--weights", str(path), "--conf", CONF, "--max-det", str(most), *flags]
    assert main(words) == 0, capsys.readouterr().err
    assert all_equal(capsys.readouterr().out)
    assert not list(tmp_path.glob(".*"))
    if with_val:
        val_agrees(path, yolo_dataset(num_train=1, num_val=2, size=(96, 96), name="data"))

    graph = crispmask.load(path.with_suffix(".onnx"))
    assert graph.names == NAMES
    original = crispmask.load(path)
    images = [draw_sample(140, 0, "val", 0).image[:100], draw_sample(96, 0, "val", 1).image]
    expected = original.predict(images, conf=float(CONF), max_det=most, imgsz=(96, 96))
    found = graph.predict(images, imgsz=(96, 96))
    assert [x.masks.shape[1:] for x in found] == [image.shape[:2] for image in images]
    compared = compare(zip(expected, found, strict=True), float(CONF), most, FULL)
    assert compared.num_expected >= 2
    assert compared.agrees, compared.in_words()
    assert graph.predict(images, conf=1.0)[0].masks.shape == (0, *images[0].shape[:2])


def val_agrees(path: Path, data: Path) -> None:
    """`val` measures the same of a checkpoint and of its .onnx.

    An untrained network finds nothing that is annotated. So what it finds becomes the annotation:
    it is right by definition, and the graph must be.
    """
    folder = data.parent
    validate(path, data, out=folder / "found", workers=0)
    data = write_coco_dataset(data, folder / "coco")
    file = folder / "coco/annotations/instances_val.json"
    content = json.loads(file.read_text())
    content["annotations"] = annotations_of(
        json.loads((folder / "found/predictions.json").read_text())
    )
    file.write_text(json.dumps(content))
    expected, found = (
        validate(weights, data, out=folder / weights.suffix[1:], workers=0).to_json()
        for weights in (path, path.with_suffix(".onnx"))
    )
    assert expected["mask/mAP50"] > 0.5
    del expected["per_class"], found["per_class"]
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-3), key
    rows, others = (
        json.loads((folder / name / "predictions.json").read_text()) for name in ("pt", "onnx")
    )
    assert len(rows) == len(others) > 20


def annotations_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Predictions as annotations of a COCO file."""
    return [
        {**row, "id": i, "iscrowd": 0, "area": float(decode_masks([row["segmentation"]]).sum())}
        for i, row in enumerate(rows, start=1)
    ]


def test_runs_without_torch(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    path = checkpoint("rtmdet-ins", "tiny", tmp_path)
    assert main(["export", "--weights", str(path), "--conf", CONF, "--max-det", "5"]) == 0
    image = draw_sample(96, 0, "val", 0).image
    np.save(tmp_path / "image.npy", image)
    script = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'torchvision', 'timm', 'matplotlib'):\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "import numpy as np\n"
        "from crispmask.runtime import OnnxModel\n"
        "found = OnnxModel(sys.argv[1]).predict(np.load(sys.argv[2]))[0]\n"
        "np.savez(sys.argv[3], **{k: getattr(found, k) for k in sys.argv[4:]})\n"
    )
    fields = ("scores", "labels", "boxes", "masks")
    files = (path.with_suffix(".onnx"), tmp_path / "image.npy", tmp_path / "found.npz")
    words = [sys.executable, "-c", script, *map(str, files), *fields]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "found.npz") as arrays:
        found = Instances(**arrays)
    expected = crispmask.load(path).predict(image, conf=float(CONF), max_det=5)[0]
    assert len(found) == 5
    compared = compare([(expected, found)], float(CONF), 5, FULL)
    assert compared.agrees, compared.in_words()


@pytest.mark.parametrize(("architecture", "model"), SMALLEST)
def test_a_torch_export_package(architecture: str, model: str, tmp_path: Path, capsys) -> None:
    path = checkpoint(architecture, model, tmp_path)
    words = ["export", "--weights", str(path), "--format", "torch-export", "--conf", CONF]
    assert main(words) == 0, capsys.readouterr().err
    assert all_equal(capsys.readouterr().out)
    assert path.with_suffix(".pt2").is_file()


def test_an_export_that_differs_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    path = checkpoint("rtmdet-ins", "tiny", tmp_path)
    monkeypatch.setattr("crispmask.export.run.HALF", FULL)
    original = torch.export.load

    def other(file: Path):
        program = original(file)
        for name, tensor in program.state_dict.items():
            if "class_logits" in name:
                tensor.data += 0.5
        return program

    monkeypatch.setattr("torch.export.load", other)
    words = ["export", "--weights", str(path), "--format", "torch-export", "--conf", CONF]
    assert main(words) == 2
    assert "was not written, its results are not those of PyTorch" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["rtmdet-ins.pt"]
