"""The size of a network in a comparison."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crispmask.compare.run import size_of


class Small(nn.Module):
    def __init__(self, asks_for_values: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1, bias=False)
        self.asks_for_values = asks_for_values

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scale = images.max().item() if self.asks_for_values else 255
        return self.conv(images.float() / scale)


def test_parameters_and_flops() -> None:
    found = size_of(Small(asks_for_values=False))
    assert found == pytest.approx({"parameters": 12e-6, "gflops": 2 * 12 * 640 * 640 / 1e9})


def test_flops_that_cannot_be_counted_are_left_out() -> None:
    assert size_of(Small(asks_for_values=True)) == pytest.approx({"parameters": 12e-6})
