"""Counting the operations of a network without doing them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from crispmask.models.interface import Network


@torch.no_grad()
def count_flops(network: Network[Any], imgsz: int) -> int | None:
    """FLOPs of the forward pass of one square image, a multiply-add counted as 2.

    Convolutions and matrix products are counted. Nothing is computed and no weight is copied:
    the pass is made on tensors that have a shape and no content.

    Args:
        network: on any device; not changed.
        imgsz: side of the image, pixels.

    Returns:
        None if a layer cannot be passed that way.
    """
    empty: dict[int, Any] = {}
    for parameter in network.parameters():
        content = torch.empty_like(parameter, device="meta")
        empty[id(parameter)] = nn.Parameter(content, requires_grad=False)
    for buffer in network.buffers():
        empty[id(buffer)] = torch.empty_like(buffer, device="meta")
    hollow = copy.deepcopy(network, empty).eval()
    images = torch.empty(1, 3, imgsz, imgsz, dtype=torch.uint8, device="meta")
    try:
        with FlopCounterMode(display=False) as counter:
            hollow(images)
    except (RuntimeError, NotImplementedError):  # a layer that asks for values
        return None
    return counter.get_total_flops()
