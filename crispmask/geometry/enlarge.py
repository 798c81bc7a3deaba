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

import numpy as np
from numpy.typing import NDArray

from crispmask.geometry.mask_runs import MaskRuns
from crispmask.geometry.taps import Taps, make_taps
from crispmask.types import Size

_SURE = 1e-5
"""Distance from the threshold, relative to the largest value, that no rounding bridges."""

_LARGEST = np.float32(1e4)
"""Logits beyond are cut to it: nobody can tell their probabilities apart."""

_OUT, _IN, _MIXED = np.uint8(0), np.uint8(1), np.uint8(2)

_CHUNK_PIXELS = 1 << 18
"""Pixels along outlines that are computed at a time."""


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


def _blend_columns(values: NDArray[np.float32], taps: Taps, part: slice) -> NDArray[np.float32]:
    """Columns of `values` blended by threes: (..., n) for a part of n pixels."""
    first, weights = taps.first[part], taps.weights[:, part]
    total = values.take(first, axis=1) * weights[0]
    total += values.take(first + 1, axis=1) * weights[1]
    total += values.take(first + 2, axis=1) * weights[2]
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
    # Only the neighbours of the pixels y1 to y2 are looked at.
    top, bottom = int(rows.first[y1]), int(rows.first[y2 - 1]) + 3
    grid = np.ascontiguousarray(_extended(soft)[top:bottom])  # (h', w + 2)
    blended = _blend_columns(grid, columns, slice(x1, x2))  # (h', C)
    windows, height = _windows(rows, y1, y2), len(rows.first)
    turns = _turns(_states(blended, threshold, windows), blended, threshold, windows, height)
    pairs = (turns + x1 * height + y1).reshape(-1, 2)
    apart = pairs[1:, 0] != pairs[:-1, 1]  # else a run goes on in the next column
    begins = pairs[np.concatenate([[True], apart])[: len(pairs)], 0]
    ends_of_runs = pairs[np.concatenate([apart, [True]])[: len(pairs)], 1]
    return np.stack([begins, ends_of_runs], axis=1)


@dataclass(frozen=True, slots=True)
class Windows:
    """Pixels of a column that have the same neighbours, m of them; most have two.

    Attributes:
        begin: (m + 1,) their first pixel, from the first of the part on; at last its height.
        first: (m,) their first neighbour, from the first of the part on.
        third: (m,) bool, whether the third neighbour counts.
        weights: (3, m, s) float32, of their pixels; shorter ones repeat their last.
    """

    begin: NDArray[np.int64]
    first: NDArray[np.int64]
    third: NDArray[np.bool_]
    weights: NDArray[np.float32]


def _windows(rows: Taps, y1: int, y2: int) -> Windows:
    """Those of the pixels y1 to y2."""
    first, third = rows.first[y1:y2] - rows.first[y1], rows.weights[2, y1:y2] > 0
    begin = np.concatenate([[0], np.flatnonzero(np.diff(2 * first + third)) + 1])
    end = np.append(begin[1:], y2 - y1)
    place = begin[:, None] + np.arange((end - begin).max())
    weights = rows.weights[:, y1 + np.minimum(place, end[:, None] - 1)]
    return Windows(np.append(begin, y2 - y1), first[begin], third[begin], weights)


def _states(
    blended: NDArray[np.float32], threshold: np.float32, windows: Windows
) -> NDArray[np.uint8]:
    """Whether a window is inside, outside or must be looked at: (C, m + 1), the last outside.

    Args:
        blended: (h', C).
        threshold: a pixel above it is inside.
        windows: of a column.
    """
    margin = np.float32(_SURE) * max(np.float32(1), np.abs(blended).max())
    two = ~windows.third[:, None]
    inside, outside = (
        sure[windows.first] & sure[windows.first + 1] & (sure[windows.first + 2] | two)
        for sure in (blended > threshold + margin, blended < threshold - margin)
    )  # (m, C)
    state = np.full((blended.shape[1], len(windows.first) + 1), _OUT, dtype=np.uint8)
    mixed = ~(inside | outside)
    state[:, :-1] = (inside.view(np.uint8) * _IN + mixed.view(np.uint8) * _MIXED).T
    return state


def _turns(
    state: NDArray[np.uint8],
    blended: NDArray[np.float32],
    threshold: np.float32,
    windows: Windows,
    height: int,
) -> NDArray[np.int64]:
    """Where runs begin and end in turn, counted column after column.

    Args:
        state: (C, m + 1).
        blended: (h', C).
        threshold: a pixel above it is inside.
        windows: of a column.
        height: pixels from a column to the next.
    """
    flat = state.ravel()
    # Windows in which something can change; all the pixels of those that are mixed.
    changes = flat == _MIXED
    changes[1:] |= flat[1:] != flat[:-1]
    changes[0] |= flat[0] != _OUT
    events = np.flatnonzero(changes)
    first, second, third = windows.weights
    size, width, values = first.shape[1], blended.shape[1], blended.ravel()
    step = max(1, _CHUNK_PIXELS // size)
    found, before = [np.zeros(0, dtype=np.int64)], False
    for start in range(0, len(events), step):
        some = events[start : start + step]
        column, window = np.divmod(some, state.shape[1])
        inside = np.empty((len(some), 1 + size), dtype=np.bool_)  # at first the pixel before
        inside[:, 1:] = flat[some, None] == _IN
        mixed = np.flatnonzero(flat[some] == _MIXED)
        w = window[mixed]
        place = windows.first[w] * width + column[mixed]
        total = values[place, None] * first.take(w, axis=0)  # (n, s)
        total += values[place + width, None] * second.take(w, axis=0)
        three = np.flatnonzero(windows.third[w])
        total[three] += values[place[three] + 2 * width, None] * third.take(w[three], axis=0)
        inside[mixed, 1:] = total > threshold
        inside[0, 0], inside[1:, 0] = before, inside[:-1, -1]
        before = bool(inside[-1, -1])
        event, offset = np.divmod(np.flatnonzero(inside[:, 1:] != inside[:, :-1]), size)
        found.append(column[event] * height + windows.begin[window[event]] + offset)
    return np.concatenate(found)


def _reach(above: NDArray[np.bool_], taps: Taps) -> tuple[int, int]:
    """The pixels, first and last + 1, with a neighbour above the threshold between them."""
    there = np.flatnonzero(above)
    begin = np.searchsorted(taps.first, there[0] - 2, side="left")
    end = np.searchsorted(taps.first, there[-1], side="right")
    return int(begin), int(end)
