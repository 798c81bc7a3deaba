"""Finds out which model a set of tensors belongs to."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from crispmask.models.build import ModelSpec, build_network
from crispmask.models.rtmdet_ins import config as rtmdet_ins
from crispmask.models.solov2 import config as solov2
from crispmask.models.table import canonical_model


def layouts(architecture: str) -> tuple[str, ...]:
    """Models of an architecture that differ: its sizes, then the official layouts beyond."""
    tables = {"solov2": solov2, "rtmdet-ins": rtmdet_ins}[architecture]
    beyond = (name for name, row in tables.LAYOUTS.items() if row not in tables.SIZES.values())
    return (*tables.SIZES, *beyond)


def backbone_of(architecture: str, model: str) -> str:
    """The timm name of the backbone a model has if no other one is asked for."""
    tables = {"solov2": solov2, "rtmdet-ins": rtmdet_ins}[architecture]
    return {**tables.SIZES, **tables.LAYOUTS}[canonical_model(architecture, model)].backbone


def find_layout(state: Mapping[str, Tensor], architecture: str, num_classes: int) -> str | None:
    """The model whose tensors have the names and shapes of these, or None."""
    shapes = _shapes(state)
    for model in layouts(architecture):
        with torch.device("meta"):
            network = build_network(ModelSpec(architecture, model, num_classes))
        if _shapes(network.state_dict()) == shapes:
            return model
    return None


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {
        key: tuple(value.shape)
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")  # some files leave these counters out
    }
