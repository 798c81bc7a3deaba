"""Run-length encoded masks as COCO files hold them.

Lengths of runs alternate, first of pixels outside, column after column. They are a list, or text:
each number in groups of five bits, lowest first, one character from "0" on per group, whose
highest bit says that more follow; from the third number on the difference to the one two before.
Source: the mask API of COCO, cocodataset/cocoapi, common/maskApi.h.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crispmask.types import Size


def read_runs(text: str) -> list[int]:
    """The lengths that a compressed text stands for.

    Raises:
        ValueError: it is cut or holds other characters.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{character!r} is not part of a compressed mask")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("the compressed mask is cut")
    return runs


def write_runs(runs: Sequence[int] | NDArray[np.int64]) -> str:
    """The compressed text of these lengths, the inverse of `read_runs`."""
    lengths = np.asarray(runs, dtype=np.int64)
    x = lengths.copy()
    x[3:] -= lengths[1:-2]
    columns, more = [], np.ones(len(x), dtype=np.bool_)
    while more.any():
        group = x & 31
        x >>= 5
        unfinished = np.where(group & 16, x != -1, x != 0)
        columns.append(np.where(more, group + 48 + (unfinished << 5), 0))
        more &= unfinished
    characters = np.stack(columns, axis=1).ravel() if columns else np.zeros(0, dtype=np.int64)
    return characters[characters > 0].astype(np.uint8).tobytes().decode("ascii")


def mask_of_runs(runs: Sequence[int], size: Size) -> NDArray[np.bool_]:
    """The mask (H, W) of these lengths.

    Raises:
        ValueError: they do not fill a mask of this size.
    """
    height, width = size
    lengths = np.asarray(runs, dtype=np.int64)
    if (lengths < 0).any() or lengths.sum() != height * width:
        raise ValueError(f"the runs do not fill {width} x {height} pixels")
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(width, height).T
