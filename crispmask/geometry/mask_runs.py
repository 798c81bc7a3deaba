"""Masks of large images in little memory: as runs, and whatever needs a mask one at a time.

A hundred masks of 8000 x 8000 pixels are 6.4 GB as bool and some megabytes as runs.

Letters: N instances, H and W image pixels, R runs of one mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.geometry.runs import read_lengths, write_runs
from crispmask.types import Size

Rectangle = tuple[int, int, int, int]
"""x1, y1, x2, y2 in whole pixels."""

DENSE_BYTES = 1 << 28
"""Masks of one image that take more as bool are kept as runs."""


@dataclass(frozen=True, slots=True)
class MaskRuns:
    """Masks of one image.

    Attributes:
        spans: of each mask (R, 2) int64: where a run begins and ends, counted column after
            column as COCO does; ascending, and no two touch.
        size: (height, width) of the image.
    """

    spans: tuple[NDArray[np.int64], ...]
    size: Size

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, index: slice | NDArray[Any] | list[int]) -> MaskRuns:
        chosen = np.arange(len(self))[index].tolist()
        return MaskRuns(tuple(self.spans[i] for i in chosen), self.size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, H, W)."""
        return len(self), *self.size

    def area(self, i: int) -> int:
        """Pixels of a mask."""
        return int((self.spans[i][:, 1] - self.spans[i][:, 0]).sum())

    def extent(self, i: int) -> Rectangle | None:
        """The box around the pixels of a mask; None without any."""
        spans, height = self.spans[i], self.size[0]
        if not len(spans):
            return None
        (left, top), (right, bottom) = divmod(spans[:, 0], height), divmod(spans[:, 1] - 1, height)
        whole = (left != right).any()  # a run that goes on in the next column
        y1, y2 = (0, height) if whole else (int(top.min()), int(bottom.max()) + 1)
        return int(left[0]), y1, int(right[-1]) + 1, y2

    def crop(self, i: int, box: Rectangle) -> NDArray[np.bool_]:
        """The pixels of a mask inside a box, which lies inside the image."""
        x1, y1, x2, y2 = box
        if x1 >= x2 or y1 >= y2:
            return np.zeros((y2 - y1, x2 - x1), dtype=np.bool_)
        columns = self._columns(i, x1, x2)[:, y1:y2]
        # Many times faster than a transposed copy of NumPy, which jumps through memory.
        pixels: NDArray[Any] = cv2.transpose(columns.view(np.uint8))
        return pixels.view(np.bool_)

    def _columns(self, i: int, x1: int, x2: int) -> NDArray[np.bool_]:
        """The columns x1 to x2 of a mask, one after the other: (x2 - x1, H)."""
        height = self.size[0]
        begin, end = x1 * height, x2 * height
        spans = self.spans[i]
        inside = spans[(spans[:, 1] > begin) & (spans[:, 0] < end)].clip(begin, end) - begin
        bounds = np.concatenate([[0], inside.ravel(), [end - begin]])
        flat = np.repeat(np.arange(len(bounds) - 1) % 2 == 1, np.diff(bounds))
        return flat.reshape(x2 - x1, height)

    def dense(self) -> NDArray[np.bool_]:
        """The masks as (N, H, W)."""
        masks = np.zeros(self.shape, dtype=np.bool_)
        for i, mask in enumerate(masks):
            if box := self.extent(i):
                x1, y1, x2, y2 = box
                mask[y1:y2, x1:x2] = self.crop(i, box)
        return masks

    def to_coco(self) -> list[dict[str, Any]]:
        """Compressed COCO RLE of each mask: {"size": [H, W], "counts": text}."""
        height, width = self.size
        rles = []
        for spans in self.spans:
            counts = np.diff(np.concatenate([[0], spans.ravel(), [height * width]]))
            if len(counts) > 1 and counts[-1] == 0:  # the mask ends with the image
                counts = counts[:-1]
            rles.append({"size": [height, width], "counts": write_runs(counts)})
        return rles


def read_rles(rles: Sequence[Mapping[str, Any]]) -> MaskRuns:
    """The runs of compressed RLE of masks of one image, at least one."""
    spans = []
    for rle in rles:
        counts = rle["counts"]
        text = counts.decode("ascii") if isinstance(counts, bytes) else counts
        ends = np.cumsum(read_lengths(text))
        if len(ends) % 2:  # the last run is outside
            ends = ends[:-1]
        pairs = ends.reshape(-1, 2)
        spans.append(pairs[pairs[:, 1] > pairs[:, 0]])
    height, width = rles[0]["size"]
    return MaskRuns(tuple(spans), (height, width))


def runs_of(masks: Iterable[NDArray[np.bool_]], size: Size) -> MaskRuns:
    """The runs of masks (H, W); only one of them is looked at at a time."""
    return MaskRuns(tuple(spans_of(mask, size) for mask in masks), size)


def spans_of(
    mask: NDArray[np.bool_], size: Size, corner: tuple[int, int] = (0, 0)
) -> NDArray[np.int64]:
    """The runs (R, 2) of one mask as `MaskRuns` holds them.

    Args:
        mask: (h, w), a part of the image; outside there is nothing.
        size: (height, width) of the image.
        corner: x and y of the part.
    """
    box = extent_of(mask)
    if box is None:
        return np.zeros((0, 2), dtype=np.int64)
    x1, y1, x2, y2 = box
    padded = np.zeros((x2 - x1, y2 - y1 + 2), dtype=np.bool_)  # a column is a row here
    padded[:, 1:-1] = mask[y1:y2, x1:x2].T
    changes = np.flatnonzero(padded[:, 1:] != padded[:, :-1])  # begin, end, begin, end ...
    column, row = divmod(changes, y2 - y1 + 1)
    flat = (column + x1 + corner[0]) * size[0] + row + y1 + corner[1]
    spans = flat.reshape(-1, 2).astype(np.int64)
    touching = spans[1:, 0] == spans[:-1, 1]
    begins = spans[np.concatenate([[True], ~touching]), 0]
    ends = spans[np.concatenate([~touching, [True]]), 1]
    return np.stack([begins, ends], axis=1)


def union_spans(several: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The runs (R, 2) of the union of masks given by theirs."""
    if len(several) == 1:
        return several[0]
    spans = np.concatenate(several)
    if not len(spans):
        return spans
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    reach = np.maximum.accumulate(spans[:, 1])  # where what began so far ends
    first = np.concatenate([[True], spans[1:, 0] > reach[:-1]])
    last = np.concatenate([first[1:], [True]])
    return np.stack([spans[first, 0], reach[last]], axis=1)


def array_if_small(masks: MaskRuns) -> NDArray[np.bool_] | MaskRuns:
    """The masks as an array, or as they are if that would be large."""
    num, height, width = masks.shape
    return masks if num * height * width > DENSE_BYTES else masks.dense()


def extent_of(mask: NDArray[np.bool_]) -> Rectangle | None:
    """The box around the pixels of a mask (H, W); None without any."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def mask_extent(masks: NDArray[np.bool_] | MaskRuns, i: int) -> Rectangle | None:
    """The box around the pixels of mask i of either form."""
    return masks.extent(i) if isinstance(masks, MaskRuns) else extent_of(masks[i])


def mask_crop(masks: NDArray[np.bool_] | MaskRuns, i: int, box: Rectangle) -> NDArray[np.bool_]:
    """The pixels of mask i of either form inside a box."""
    if isinstance(masks, MaskRuns):
        return masks.crop(i, box)
    x1, y1, x2, y2 = box
    return masks[i, y1:y2, x1:x2]


def mask_area(masks: NDArray[np.bool_] | MaskRuns, i: int) -> int:
    """Pixels of mask i of either form."""
    return masks.area(i) if isinstance(masks, MaskRuns) else int(np.count_nonzero(masks[i]))


def coco_rles(masks: NDArray[np.bool_] | MaskRuns) -> list[dict[str, Any]]:
    """Compressed COCO RLE of masks of either form."""
    if not isinstance(masks, MaskRuns):
        masks = runs_of(masks, (masks.shape[1], masks.shape[2]))
    return masks.to_coco()
