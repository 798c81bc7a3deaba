"""Finds out which model a set of tensors belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from crispmask.models.build import ModelSpec, build_network
from crispmask.models.table import models_of


def find_layout(state: Mapping[str, Tensor], architecture: str, num_classes: int) -> str | None:
    """The model whose tensors have the names and shapes of these, or None."""
    shapes = _shapes(state)
    models = models_of(architecture)
    return next((m for m in models if _shapes_of(architecture, m, num_classes) == shapes), None)


@cache
def _shapes_of(architecture: str, model: str, num_classes: int) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        network = build_network(ModelSpec(architecture, model, num_classes))
    return _shapes(network.state_dict())


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {
        key: tuple(value.shape)
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")  # some files leave these counters out
    }
