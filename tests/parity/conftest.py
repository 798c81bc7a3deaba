"""Networks filled with the deterministic weights the reference data was recorded with."""

from __future__ import annotations

import copy
import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
import reference_images
import reference_weights

from crispmask.models.build import ModelSpec, build_network
from crispmask.models.interface import Network
from crispmask.models.mmdet import convert_state
from crispmask.types import Targets

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Case:
    name: str
    architecture: str
    model: str
    num_classes: int

    def state(self) -> dict[str, Tensor]:
        arrays = reference_weights.make_state(DATA / "keys" / f"{self.name}.json")
        return {key: torch.from_numpy(np.asarray(value)) for key, value in arrays.items()}

    def network(self) -> Network[Any]:
        return copy.deepcopy(filled_network(self))

    def goldens(self) -> Mapping[str, Any]:
        return goldens(self.name)


CASES = (
    Case("proj_solov2_nano", "solov2", "nano", 3),
    Case("solov2_light_r18", "solov2", "light-r18", 80),
    Case("proj_rtmdet_ins_tiny", "rtmdet-ins", "tiny", 3),
    Case("rtmdet-ins_tiny", "rtmdet-ins", "tiny", 80),
)


@cache
def filled_network(case: Case) -> Network[Any]:
    """Made once: to draw the weights of a case takes longer than most of its tests."""
    network = build_network(ModelSpec(case.architecture, case.model, case.num_classes))
    network.load_state_dict(convert_state(case.state(), case.architecture))
    return network.eval()


MEASURED: dict[str, dict[str, float]] = defaultdict(dict)
"""Largest difference of each quantity by configuration, filled while the tests run."""

COLUMNS = {
    "features": "features / std",
    "outputs": "raw outputs / std",
    "scores": "scores",
    "boxes": "boxes, px",
    "1 - IoU": "masks, 1 - IoU",
    "losses": "losses, relative",
    "module gradients": "gradient norms of modules, relative",
    "parameter gradients": "of parameters, relative",
    "norm statistics": "norm statistics / std",
    "targets": "targets and assignments that differ",
}


def measure(case: Case, quantity: str, difference: float) -> float:
    """Notes a difference for the table at the end of the run; returns it."""
    row = MEASURED[case.name]
    row[quantity] = max(float(difference), row.get(quantity, 0.0))
    return float(difference)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what `-m parity` measured, the table of benchmarks/parity.md."""
    if not MEASURED or terminalreporter.config.option.markexpr != "parity":
        return
    terminalreporter.write_line("")
    for row in [
        ["configuration", *COLUMNS.values()],
        ["---"] * (len(COLUMNS) + 1),
        *([name, *(_cell(row.get(key)) for key in COLUMNS)] for name, row in MEASURED.items()),
    ]:
        terminalreporter.write_line(f"| {' | '.join(row)} |")


def _cell(value: float | None) -> str:
    return "-" if value is None else "0" if value == 0 else f"{value:.1e}"


@cache
def goldens(name: str) -> Mapping[str, Any]:
    with np.load(DATA / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


@pytest.fixture(params=CASES, ids=lambda case: case.name, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def rgb(height: int, width: int, seed: int) -> Tensor:
    """The reference image as (3, H, W) uint8 RGB."""
    image = reference_images.image(height, width, seed)[..., ::-1]
    return torch.from_numpy(image.copy()).permute(2, 0, 1)


def train_batch(name: str, num_classes: int, empty: tuple[int, ...] = ()) -> tuple[Tensor, Targets]:
    """Images (2, 3, 320, 320), padded with the mean pixel, and full-resolution targets."""
    images = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1).repeat(2, 1, 320, 320)
    labels, boxes, masks, counts, sizes = [], [], [], [], []
    for i, (h, w, seed) in enumerate(reference_images.TRAIN_BATCHES[name]):
        images[i, :, :h, :w] = rgb(h, w, seed)
        truth = reference_images.instances(h, w, seed, num_classes=num_classes)
        n = 0 if i in empty else len(truth["labels"])
        padded = np.zeros((n, 320, 320), dtype=bool)
        padded[:, :h, :w] = truth["masks"][:n]
        labels.append(torch.from_numpy(truth["labels"][:n]))
        boxes.append(torch.from_numpy(truth["bboxes"][:n]))
        masks.append(torch.from_numpy(padded))
        counts.append(n)
        sizes.append((h, w))
    targets = Targets(
        torch.cat(labels), torch.cat(boxes), torch.cat(masks), tuple(counts), tuple(sizes), 1
    )
    return images, targets


def reference_json(value: Any) -> Any:
    return json.loads(str(value))
