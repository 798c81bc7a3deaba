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
    return read_lengths(text).tolist()


def read_lengths(text: str) -> NDArray[np.int64]:
    """`read_runs` as an array.

    Raises:
        ValueError: it is cut or holds other characters.
    """
    bits = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32).astype(np.int64) - 48
    wrong = (bits < 0) | (bits > 63)
    if wrong.any():
        character = text[int(wrong.argmax())]
        raise ValueError(f"{character!r} is not part of a compressed mask")
    if not len(bits):
        return np.zeros(0, dtype=np.int64)
    if bits[-1] & 32:
        raise ValueError("the compressed mask is cut")
    ends = np.flatnonzero((bits & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    groups = ends - starts + 1
    if groups.max() > 7:  # 35 bits: no image is that large
        raise ValueError("a number in the compressed mask is too large")
    place = np.arange(len(bits)) - np.repeat(starts, groups)
    runs = np.add.reduceat((bits & 31) << (5 * place), starts)
    runs -= np.where(bits[ends] & 16, 1 << (5 * groups), 0)
    # Differences from the fourth on, each chain from the second and the third.
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
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
