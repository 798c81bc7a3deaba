"""Runs of a mask straight from its soft mask on a coarse grid, without the pixels in between.

A soft mask is enlarged to the network's input, cut to the image and resized to the file, both
times bilinearly. Each pixel of the file is then a weighted sum of at most three rows and three
columns of the coarse grid. Where all of them are on one side of the threshold, so is the pixel;
only the pixels along the outline are computed.

Letters: h and w size of the coarse grid, H and W of the file, C columns of a part of the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from crispmask.geometry.mask_runs import MaskRuns
from crispmask.types import Size

_SURE = 1e-5
"""Distance from the threshold, relative to the largest value, that no rounding bridges."""

_LARGEST = np.float32(1e4)
"""Logits beyond are cut to it: nobody can tell their probabilities apart."""

_OUT, _IN, _MIXED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Taps:
    """What the pixels along one side of the file are made of.

    Attributes:
        first: (n,) int64, the first of three neighbours on the coarse grid; ascending.
        weights: (3, n) float32, of the neighbours; their sum is 1.
    """

    first: NDArray[np.int64]
    weights: NDArray[np.float32]


@lru_cache(maxsize=64)
def make_taps(coarse: int, stride: int, valid: int, original: int) -> Taps:
    """Enlarging by `stride`, cutting to `valid` and resizing to `original`, as one step.

    Args:
        coarse: points on the coarse grid.
        stride: input pixels between them.
        valid: input pixels of the image.
        original: pixels of the file.
    """
    inner, inner_weight = _linear(coarse, coarse * stride)
    if valid == original:
        outer, outer_weight = np.arange(valid), np.zeros(valid)
    else:
        outer, outer_weight = _linear(valid, original)
    after = np.minimum(outer + 1, valid - 1)
    first = inner[outer]
    weights = np.zeros((4, original))  # the last stays zero, or belongs to no grid point
    place = np.arange(original)
    for pixel, share in ((outer, 1 - outer_weight), (after, outer_weight)):
        for step, part in ((0, 1 - inner_weight[pixel]), (1, inner_weight[pixel])):
            weights[inner[pixel] - first + step, place] += share * part
    return Taps(first.astype(np.int64), weights[:3].astype(np.float32))


def _linear(size: int, new_size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Lower neighbour of each new point, and the weight of the upper one; centres aligned."""
    position = np.maximum((np.arange(new_size) + 0.5) * size / new_size - 0.5, 0)
    lower = np.minimum(position.astype(np.int64), size - 1)
    return lower, np.where(lower < size - 1, position - lower, 0.0)


def runs_of_soft_masks(
    soft_masks: Iterable[NDArray[np.float32]],
    threshold: float,
    stride: int,
    valid: Size,
    original: Size,
) -> MaskRuns:
    """The pixels above the threshold, of each soft mask, at the size of the file.

    Args:
        soft_masks: each (h, w).
        threshold: a pixel above it is inside.
        stride: input pixels per point of the coarse grid.
        valid: (height, width) of the image in the input.
        original: (height, width) of the file.
    """
    spans = []
    for soft in soft_masks:
        rows = make_taps(soft.shape[0], stride, valid[0], original[0])
        columns = make_taps(soft.shape[1], stride, valid[1], original[1])
        spans.append(_spans(soft, np.float32(threshold), rows, columns))
    return MaskRuns(tuple(spans), original)


def dense_mask(
    soft: NDArray[np.float32], threshold: float, stride: int, valid: Size, original: Size
) -> NDArray[np.bool_]:
    """The same mask (H, W), every pixel computed: what the runs are compared with in tests."""
    rows = make_taps(soft.shape[0], stride, valid[0], original[0])
    columns = make_taps(soft.shape[1], stride, valid[1], original[1])
    crossed = _blend(_extended(soft.T), columns, slice(None))  # (W, h + 2)
    return (_blend(crossed.T, rows, slice(None)) > np.float32(threshold)).copy()


def _extended(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Two more rows and columns, so that there are always three neighbours; their weight is 0."""
    finite = values.astype(np.float32).clip(-_LARGEST, _LARGEST)  # infinity times 0 is no number
    return np.pad(finite, ((0, 2), (0, 2)), mode="edge")


def _blend(values: NDArray[np.float32], taps: Taps, part: slice) -> NDArray[np.float32]:
    """Rows of `values` blended by threes: (n, ...) for a part of n pixels."""
    first, weights = taps.first[part], taps.weights[:, part, None]
    total = values[first] * weights[0]
    total += values[first + 1] * weights[1]
    total += values[first + 2] * weights[2]
    return total


def _spans(
    soft: NDArray[np.float32], threshold: np.float32, rows: Taps, columns: Taps
) -> NDArray[np.int64]:
    """The runs (R, 2) of one mask as `MaskRuns` holds them."""
    above = soft > threshold
    across, down = np.asarray(above.any(axis=0)), np.asarray(above.any(axis=1))
    if not down.any():
        return np.zeros((0, 2), dtype=np.int64)
    x1, x2 = _reach(across, columns)
    y1, y2 = _reach(down, rows)
    if x1 >= x2 or y1 >= y2:  # it lies in the padding
        return np.zeros((0, 2), dtype=np.int64)
    height = len(rows.first)
    # Only the neighbours of the pixels y1 to y2 are looked at.
    top = int(rows.first[y1])
    bottom = int(rows.first[y2 - 1]) + 3
    grid = _extended(soft.T)[:, top:bottom]  # (w + 2, h')
    blended = _blend(grid, columns, slice(x1, x2))  # (C, h')
    # Pixels of a column that have the same neighbours form a window; most have two of them.
    first = rows.first[y1:y2] - top
    has_third = rows.weights[2, y1:y2] > 0
    starts = np.concatenate([[0], np.flatnonzero(np.diff(2 * first + has_third)) + 1])
    windows, third = first[starts], has_third[starts]
    ends = np.append(starts[1:], y2 - y1)
    margin = np.float32(_SURE) * max(np.float32(1), np.abs(blended).max())
    inside, outside = blended > threshold + margin, blended < threshold - margin
    state = np.full((x2 - x1, len(windows) + 1), _MIXED, dtype=np.uint8)
    for sure, value in ((inside, _IN), (outside, _OUT)):
        near = sure[:, windows] & sure[:, windows + 1]
        near &= sure[:, windows + 2] | ~third
        state[:, :-1][near] = value
    state[:, -1] = _OUT  # below the part there is nothing
    flat = state.ravel()
    # Windows in which something can change; all the pixels of those that are mixed.
    changes = flat == _MIXED
    changes[1:] |= flat[1:] != flat[:-1]
    changes[0] |= flat[0] != _OUT
    events = np.flatnonzero(changes)
    column, window = np.divmod(events, len(windows) + 1)
    mixed = flat[events] == _MIXED
    sizes = np.where(mixed, np.append(ends - starts, 1)[window], 1)
    owner = np.repeat(np.arange(len(events)), sizes)
    offset = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    column = column[owner]
    row = np.append(starts, y2 - y1)[window[owner]] + offset
    inner = flat[events][owner] == _IN
    todo = np.flatnonzero(mixed[owner])
    c, r = column[todo], row[todo]
    k, weights = first[r], rows.weights[:, y1 + r]
    total = blended[c, k] * weights[0]
    total += blended[c, k + 1] * weights[1]
    total += blended[c, k + 2] * weights[2]
    inner[todo] = total > threshold
    turns = np.flatnonzero(np.diff(inner, prepend=False))  # begin, end, begin, end ...
    pairs = ((column[turns] + x1) * height + row[turns] + y1).reshape(-1, 2)
    apart = pairs[1:, 0] != pairs[:-1, 1]  # else a run goes on in the next column
    begins = pairs[np.concatenate([[True], apart])[: len(pairs)], 0]
    ends_of_runs = pairs[np.concatenate([apart, [True]])[: len(pairs)], 1]
    return np.stack([begins, ends_of_runs], axis=1)


def _reach(above: NDArray[np.bool_], taps: Taps) -> tuple[int, int]:
    """The pixels, first and last + 1, with a neighbour above the threshold between them."""
    there = np.flatnonzero(above)
    begin = np.searchsorted(taps.first, there[0] - 2, side="left")
    end = np.searchsorted(taps.first, there[-1], side="right")
    return int(begin), int(end)
