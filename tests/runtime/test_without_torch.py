"""Exported graphs where nothing but a few packages can be imported, torch least of all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_graphs import BOXES, LABELS, NAMES, SCORES, SIZE, write_bright
from torch import Tensor, nn

from crispmask.config import DecodeConfig
from crispmask.finder import make_finder
from crispmask.geometry.rle import decode_masks
from crispmask.inference.settings import Settings
from crispmask.models.detections import Detections
from crispmask.models.interface import Network
from crispmask.types import Instances

pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")

ROOT = Path(__file__).parents[2]
HIDE = """
import sys
class Only:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top in ALLOWED or top in sys.stdlib_module_names:
            return self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Only(finder) for finder in sys.meta_path]
"""
"""Other packages are as good as not installed."""

RUNTIME = ("crispmask", "numpy", "cv2", "onnxruntime")
"""What `crispmask.runtime` needs."""

COMMAND = (*RUNTIME, "tyro", "rich", "PIL")
"""What the command needs beside it."""

NEEDED_BY_THEM = (
    *("google", "flatbuffers", "packaging"),  # onnxruntime
    *("typing_extensions", "docstring_parser", "typeguard", "pygments", "markdown_it", "mdurl"),
)


class Bright(Network[Tensor]):
    """Finds what is bright and what is dark, always."""

    presets = MappingProxyType({"default": DecodeConfig()})
    pad_value = (114.0, 114.0, 114.0)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        return images

    def loss(self, outputs: Tensor, targets: object) -> dict[str, Tensor]:
        raise NotImplementedError

    def detect(self, outputs: Tensor, config: DecodeConfig) -> list[Detections]:
        bright = F.avg_pool2d(outputs.float().mean(1), 8) - 127  # (B, h, w)
        return [
            Detections(
                scores=torch.tensor(SCORES),
                labels=torch.tensor(LABELS),
                boxes=torch.tensor(BOXES),
                soft_masks=torch.stack([x, -x]),
                threshold=0.0,
                mask_stride=8,
            )
            for x in bright
        ]


def run(allowed: tuple[str, ...], folder: Path, *words: str) -> str:
    """What Python prints where only these packages exist."""
    site = folder / "site"
    site.mkdir()
    text = f"ALLOWED = {(*allowed, *NEEDED_BY_THEM)}\n{HIDE}"
    (site / "sitecustomize.py").write_text(text)
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=folder,
        env={"PYTHONPATH": f"{site}:{ROOT}", "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def image(tmp_path: Path) -> np.ndarray:
    """Bright and dark blobs, not of the size of the input, in a file beside the graph."""
    noise = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    pixels = cv2.resize(noise, (117, 91), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[:, :, ::-1])
    write_bright(tmp_path / "bright.onnx")
    return pixels


def by_torch(image: np.ndarray) -> Instances:
    (found,) = make_finder(Bright(), NAMES, 96, Settings(conf=0.25, imgsz=SIZE))([image])
    assert 0.1 < found.masks.mean() < 0.9
    return found


def test_the_command_finds_what_torch_finds(tmp_path: Path, image: np.ndarray) -> None:
    words = ["-m", "crispmask", "predict", "--weights", "bright.onnx", "--source", "a.png"]
    out = run(COMMAND, tmp_path, *words, "--save-json", "--out", "found")
    assert "1/1 a.png: 1 große Schraube, 1 nut" in out
    assert (tmp_path / "found/a.png").is_file()
    expected = by_torch(image)
    rows = json.loads((tmp_path / "found/predictions.json").read_text())
    assert [row["category_id"] - 1 for row in rows] == expected.labels.tolist()
    np.testing.assert_allclose([row["score"] for row in rows], expected.scores, atol=1e-5)
    x1, y1, x2, y2 = expected.boxes.T
    boxes = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)
    np.testing.assert_allclose([row["bbox"] for row in rows], boxes, atol=0.01)
    masks = decode_masks([row["segmentation"] for row in rows])
    assert (masks != expected.masks).mean() < 1e-3  # the order of a sum decides on the threshold


def test_the_runtime_needs_three_packages_and_is_there_at_once(
    tmp_path: Path, image: np.ndarray
) -> None:
    np.save(tmp_path / "a.npy", image)
    script = (
        "import time\n"
        "import numpy, cv2, onnxruntime\n"
        "others = time.process_time()\n"
        "from crispmask.runtime import OnnxModel\n"
        "model = OnnxModel('bright.onnx')\n"
        "own = time.process_time() - others\n"
        "found = model.predict(numpy.load('a.npy'))[0]\n"
        "numpy.save('masks.npy', found.masks)\n"
        "print(others, own)\n"
    )
    others, own = map(float, run(RUNTIME, tmp_path, "-c", script).split())
    expected = by_torch(image)
    assert (np.load(tmp_path / "masks.npy") != expected.masks).mean() < 1e-3
    # A second, or on a slow machine no longer than the three packages themselves take.
    assert others + own < max(1.0, 2 * others)


def test_torch_cannot_be_had_there(tmp_path: Path) -> None:
    script = (
        "for name in ('torch', 'torchvision', 'timm', 'lightning_fabric', 'matplotlib'):\n"
        "    try:\n"
        "        __import__(name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        assert error.name == name\n"
        "    else:\n"
        "        print(name)\n"
    )
    assert run(COMMAND, tmp_path, "-c", script) == ""
