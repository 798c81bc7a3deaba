"""Every kind of starting weights sees the channels in the order it was trained with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import crispmask
from crispmask.models.interface import Network

KEYS = Path(__file__).parents[1] / "parity" / "data" / "keys"
MEAN, STD = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
IMAGES = torch.randint(0, 256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(0))

FILES = {
    "rtmdet-ins": ("proj_rtmdet_ins_tiny", "tiny", "backbone.stem.0.conv.weight"),
    "solov2": ("proj_solov2_nano", "nano", "backbone.conv1.weight"),
}


def write_official(path: Path, architecture: str) -> Tensor:
    """A file of MMDetection with random weights; returns those of the first convolution."""
    name, _, first = FILES[architecture]
    g = torch.Generator().manual_seed(1)
    shapes = json.loads((KEYS / f"{name}.json").read_text())["state_dict"]
    state = {key: torch.zeros(shape) for key, (shape, _) in shapes.items()}
    state[first] = torch.rand(state[first].shape, generator=g)
    torch.save({"state_dict": state}, path)
    return state[first]


def normalised(order: str) -> Tensor:
    """The pixels as the training of MMDetection or timm gave them to the first convolution."""
    rgb = (IMAGES - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)
    return rgb if order == "RGB" else rgb.flip(1)


def first_output(network: Network) -> Tensor:
    """What the first convolution gives for RGB pixels."""
    outputs: list[Tensor] = []
    conv = next(m for m in network.backbone.modules() if isinstance(m, torch.nn.Conv2d))
    handle = conv.register_forward_hook(lambda module, args, output: outputs.append(output))
    with torch.no_grad():
        network.eval()(IMAGES)
    handle.remove()
    return outputs[0]


@pytest.mark.parametrize(("architecture", "order"), [("rtmdet-ins", "BGR"), ("solov2", "RGB")])
def test_files_of_mmdetection(architecture: str, order: str, tmp_path: Path) -> None:
    path, again = tmp_path / "a.pth", tmp_path / "again.pt"
    model = FILES[architecture][1]
    weight = write_official(path, architecture)
    padding = weight.shape[-1] // 2
    expected = F.conv2d(normalised(order), weight, stride=2, padding=padding)
    assert not torch.allclose(
        F.conv2d(normalised(order).flip(1), weight, stride=2, padding=padding), expected
    )

    loaded = crispmask.load(path, architecture, model)
    torch.testing.assert_close(first_output(loaded.network), expected)
    started = crispmask.build(architecture, model, num_classes=2, weights=str(path))
    torch.testing.assert_close(first_output(started.network), expected)
    # Our own checkpoint of it is not turned round a second time, in neither way.
    started.save(again)
    torch.testing.assert_close(first_output(crispmask.load(again).network), expected)
    tuned = crispmask.build(architecture, model, num_classes=5, weights=str(again))
    torch.testing.assert_close(first_output(tuned.network), expected)
