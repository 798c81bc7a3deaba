"""Whether the tensors of a file can be the weights of a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crispmask.errors import WeightsError


def check_tensors(path: Path, tensors: Mapping[Any, Any]) -> None:
    """Raises WeightsError at the first entry of a state dict that is no tensor of usable numbers.

    Numbers that are not finite would make every prediction of a network NaN, and say nothing.
    Whole numbers, such as the batches a norm has counted, always are.

    Args:
        path: of the file, for messages.
        tensors: by name.
    """
    for key, value in tensors.items():
        if not isinstance(key, str):
            raise WeightsError(f"{path}: {key!r} is no name of a tensor")
        name = key if key.isprintable() else repr(key)
        if not isinstance(value, Tensor):
            raise WeightsError(f"{path}: {name} is no tensor but {type(value).__name__}")
        if (kind := _unusual(value)) is not None:
            raise WeightsError(
                f"{path}: {name} is {kind}; only dense tensors of numbers can be read"
            )
        # As float32, which networks have: a float64 may be too large for it.
        if value.is_floating_point() and not (finite := value.float().isfinite()).all():
            raise WeightsError(
                f"{path}: {name} has {int((~finite).sum())} of {value.numel()} values that are NaN "
                "or infinite; its training went wrong: take another checkpoint"
            )


def _unusual(tensor: Tensor) -> str | None:
    """What a tensor is, if it is not one of plain numbers."""
    if tensor.layout != torch.strided:
        return "sparse"
    if tensor.is_meta:
        return "without numbers"
    if tensor.is_quantized:
        return "quantized"
    return "complex" if tensor.is_complex() else None
