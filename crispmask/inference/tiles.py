"""Large images piece by piece, at full resolution.

An image is cut into square tiles that overlap. A tile sees an object that its border cuts only in
part; the neighbour sees the rest, and both see the strip they share. Two pieces are one object if
their masks agree there.

Letters: H and W image pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crispmask.geometry.mask_runs import (
    MaskRuns,
    Rectangle,
    mask_crop,
    mask_extent,
    spans_of,
    union_spans,
)
from crispmask.types import Instances, Size

SAME_IOU = 0.5
"""IoU, counted in the shared strip, from which two masks are of one object."""

INSIDE = 0.8
"""Share of a piece that is cut, counted in the shared strip, which makes it a part of another."""

RIM = 2
"""Pixels from the border of its tile within which a mask counts as cut by it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """An instance as one tile sees it, in pixels of the whole image.

    Attributes:
        tile: number of the tile.
        score: of the instance.
        label: of the instance.
        box: (4,) float32 xyxy.
        spans: its mask, as `MaskRuns` holds it.
    """

    tile: int
    score: float
    label: int
    box: NDArray[np.float32]
    spans: NDArray[np.int64]


def tile_places(size: Size, tile: int, overlap: float) -> list[Rectangle]:
    """Where the tiles of an image are, row by row.

    As few as overlap by at least the given share, spread evenly: the first begins and the last
    ends with the image. A side shorter than a tile has one that is as long.

    Args:
        size: (height, width) of the image.
        tile: side of a tile, pixels.
        overlap: share of a tile, at least, that the next one sees as well.
    """
    ys, xs = (_begins(length, tile, overlap) for length in size)
    height, width = min(tile, size[0]), min(tile, size[1])
    return [(x, y, x + width, y + height) for y in ys for x in xs]


def _begins(length: int, tile: int, overlap: float) -> list[int]:
    if length <= tile:
        return [0]
    step = max(1, int(tile * (1 - overlap)))
    num = 1 + -(-(length - tile) // step)
    return [round(x) for x in np.linspace(0, length - tile, num).tolist()]


def find_in_tiles(
    find: Callable[[Sequence[NDArray[np.uint8]]], list[Instances]],
    image: NDArray[np.uint8],
    tile: int,
    overlap: float,
    max_det: int,
    batch: int = 1,
) -> Instances:
    """The instances of an image, looked for tile by tile and joined.

    Masks are runs all the time: memory follows one tile, not the image.

    Args:
        find: the instances of each of some tiles, in its pixels.
        image: (H, W, 3) uint8 RGB.
        tile: side of a tile, image pixels.
        overlap: share of a tile that the next one sees as well.
        max_det: most instances that are returned.
        batch: tiles that are looked at together.
    """
    size = (image.shape[0], image.shape[1])
    tiles = tile_places(size, tile, overlap)
    pieces: list[Piece] = []
    names: tuple[str, ...] = ()
    for start in range(0, len(tiles), batch):
        some = tiles[start : start + batch]
        parts = [np.ascontiguousarray(image[y1:y2, x1:x2]) for x1, y1, x2, y2 in some]
        for number, (box, found) in enumerate(zip(some, find(parts), strict=True), start):
            names = found.names
            pieces += _pieces(found, number, (box[0], box[1]), size)
    return join(pieces, tiles, size, names, max_det)


def _pieces(found: Instances, tile: int, corner: tuple[int, int], size: Size) -> Iterable[Piece]:
    masks, offset = found.compact_masks, np.array([*corner, *corner], dtype=np.float32)
    for i in range(len(found)):
        if (extent := mask_extent(masks, i)) is None:
            continue  # nothing that could be joined or shown
        x, y = corner[0] + extent[0], corner[1] + extent[1]
        spans = spans_of(mask_crop(masks, i, extent), size, (x, y))
        score, label = float(found.scores[i]), int(found.labels[i])
        yield Piece(tile, score, label, found.boxes[i] + offset, spans)


def join(
    pieces: Sequence[Piece],
    tiles: Sequence[Rectangle],
    size: Size,
    names: tuple[str, ...],
    max_det: int,
) -> Instances:
    """One instance of all pieces of an object: the union of its masks with the best score.

    Pieces of two tiles belong together if they have one label and, in the strip both tiles see,
    the IoU of their masks is `SAME_IOU`, or one of them is cut by the border of its tile and lies
    by `INSIDE` in the other. The best pairs come first, and no object takes two pieces of a tile.

    Args:
        pieces: of all tiles.
        tiles: their places.
        size: (height, width) of the image.
        names: class names by label.
        max_det: most instances that are returned.
    """
    masks = MaskRuns(tuple(piece.spans for piece in pieces), size)
    group = list(range(len(pieces)))  # of each piece the number of its object
    members = [[i] for i in group]
    for _, i, j in sorted(_pairs(pieces, masks, tiles), reverse=True):
        a, b = members[group[i]], members[group[j]]
        if a is b or {pieces[k].tile for k in a} & {pieces[k].tile for k in b}:
            continue
        a += b
        for k in b:
            group[k] = group[i]
    objects = [members[number] for number in sorted(set(group))]
    objects.sort(key=lambda object_: -max(pieces[k].score for k in object_))
    return _instances([[pieces[k] for k in o] for o in objects[:max_det]], size, names)


def _instances(objects: Sequence[Sequence[Piece]], size: Size, names: tuple[str, ...]) -> Instances:
    boxes = [np.stack([piece.box for piece in pieces]) for pieces in objects]
    return Instances(
        scores=np.array([max(p.score for p in pieces) for pieces in objects], dtype=np.float32),
        labels=np.array([pieces[0].label for pieces in objects], dtype=np.int64),
        boxes=np.array(
            [[*box[:, :2].min(0), *box[:, 2:].max(0)] for box in boxes], dtype=np.float32
        ).reshape(-1, 4),
        masks=MaskRuns(
            tuple(union_spans([piece.spans for piece in pieces]) for pieces in objects), size
        ),
        names=names,
    )


def _pairs(
    pieces: Sequence[Piece], masks: MaskRuns, tiles: Sequence[Rectangle]
) -> Iterable[tuple[float, int, int]]:
    """IoU in the strip, and numbers, of each two pieces that are of one object."""
    extents = [masks.extent(i) for i in range(len(pieces))]
    cut = [
        extent is not None and _is_cut(extent, tiles[piece.tile], masks.size)
        for piece, extent in zip(pieces, extents, strict=True)
    ]
    by_tile: dict[int, list[int]] = {}
    for i, piece in enumerate(pieces):
        by_tile.setdefault(piece.tile, []).append(i)
    for a, mine in by_tile.items():
        for b, others in by_tile.items():
            strip = _overlap(tiles[a], tiles[b])
            if b <= a or strip is None:
                continue
            for i in mine:
                for j in others:
                    if pieces[i].label != pieces[j].label:
                        continue
                    iou, first, second = _agreement(masks, i, j, extents, strip)
                    inside = (cut[i] and first >= INSIDE) or (cut[j] and second >= INSIDE)
                    if iou >= SAME_IOU or inside:
                        yield iou, i, j


def _agreement(
    masks: MaskRuns, i: int, j: int, extents: Sequence[Rectangle | None], strip: Rectangle
) -> tuple[float, float, float]:
    """Inside a strip: IoU of two masks, and the share of each that lies in the other."""
    a, b = extents[i], extents[j]
    if a is None or b is None or _overlap(a, b) is None:
        return 0.0, 0.0, 0.0
    a, b = _overlap(a, strip), _overlap(b, strip)
    if a is None or b is None:
        return 0.0, 0.0, 0.0
    around = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
    first, second = masks.crop(i, around), masks.crop(j, around)
    both = int(np.count_nonzero(first & second))
    in_first, in_second = int(np.count_nonzero(first)), int(np.count_nonzero(second))
    either = max(1, in_first + in_second - both)
    return both / either, both / max(1, in_first), both / max(1, in_second)


def _is_cut(extent: Rectangle, tile: Rectangle, size: Size) -> bool:
    """Whether a mask reaches a border of its tile that is none of the image."""
    (x1, y1, x2, y2), (left, top, right, bottom) = extent, tile
    return (
        (left > 0 and x1 < left + RIM)
        or (top > 0 and y1 < top + RIM)
        or (right < size[1] and x2 > right - RIM)
        or (bottom < size[0] and y2 > bottom - RIM)
    )


def _overlap(a: Rectangle, b: Rectangle) -> Rectangle | None:
    x1, y1, x2, y2 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None
