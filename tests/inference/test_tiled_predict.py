from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from crispmask.geometry.mask_runs import Rectangle, runs_of, spans_of, union_spans
from crispmask.inference.tiles import find_in_tiles, tile_places
from crispmask.types import Instances

Find = Callable[[Sequence[NDArray[np.uint8]]], list[Instances]]


@pytest.mark.parametrize(
    ("size", "tile", "overlap"),
    [((100, 300), 64, 0.2), ((64, 64), 64, 0.5), ((30, 500), 64, 0.0), ((257, 129), 128, 0.9)],
)
def test_tiles_cover_the_image_and_overlap(
    size: tuple[int, int], tile: int, overlap: float
) -> None:
    places = tile_places(size, tile, overlap)
    seen = np.zeros(size, dtype=int)
    for x1, y1, x2, y2 in places:
        assert (x2 - x1, y2 - y1) == (min(tile, size[1]), min(tile, size[0]))
        seen[y1:y2, x1:x2] += 1
    assert seen.min() >= 1
    for axis, length in ((0, size[1]), (1, size[0])):
        begins = sorted({place[axis] for place in places})
        assert begins[0] == 0
        assert begins[-1] == max(0, length - tile)
        assert all(b - a <= tile * (1 - overlap) + 0.5 for a, b in pairwise(begins))


def test_a_small_image_is_one_tile() -> None:
    assert tile_places((50, 40), 64, 0.2) == [(0, 0, 40, 50)]


def painted(masks: NDArray[np.bool_], labels: Sequence[int]) -> NDArray[np.uint8]:
    """An image whose pixels say which object they are of: number in red, label in green."""
    image = np.zeros((*masks.shape[1:], 3), dtype=np.uint8)
    for number, (mask, label) in enumerate(zip(masks, labels, strict=True), 1):
        image[mask] = (number, label, 0)
    return image


def see(images: Sequence[NDArray[np.uint8]]) -> list[Instances]:
    """A perfect model: finds each object as far as it is in the image, the larger the surer."""
    results = []
    for image in images:
        numbers = [int(n) for n in np.unique(image[:, :, 0]) if n]
        masks = np.array([image[:, :, 0] == n for n in numbers], dtype=np.bool_)
        masks = masks.reshape(-1, *image.shape[:2])
        order = np.argsort([-mask.sum() for mask in masks], kind="stable")
        scores = [min(0.99, 0.3 + mask.sum() / 3000) for mask in masks]
        results.append(
            Instances(
                scores=np.array(scores, dtype=np.float32)[order],
                labels=np.array([image[mask][0, 1] for mask in masks], dtype=np.int64)[order],
                boxes=np.array([box_of(mask) for mask in masks], dtype=np.float32).reshape(-1, 4)[
                    order
                ],
                masks=masks[order],
                names=("a", "b", "c"),
            )
        )
    return results


def box_of(mask: NDArray[np.bool_]) -> Rectangle:
    ys, xs = np.nonzero(mask)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def scene(seed: int, size: tuple[int, int] = (180, 260)) -> tuple[NDArray[np.bool_], list[int]]:
    """Disks and long bars that do not touch, two of them cut by every border."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    masks: list[NDArray[np.bool_]] = []
    taken = np.zeros(size, dtype=bool)
    for _ in range(200):
        cx, cy, a, b = (*rng.uniform(0, size[::-1]), *rng.uniform(4, 45, 2))
        angle = rng.uniform(0, np.pi)
        u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        mask = (u / a) ** 2 + (v / b) ** 2 < 1
        if mask.sum() > 60 and not (mask & taken).any():
            masks.append(mask)
            taken |= mask
    return np.array(masks), rng.integers(0, 3, len(masks)).tolist()


@pytest.mark.parametrize("seed", range(6))
def test_every_object_comes_back_whole_and_once(seed: int) -> None:
    masks, labels = scene(seed)
    found = find_in_tiles(see, painted(masks, labels), 96, 0.3, 100)
    assert len(found) == len(masks)
    for mask, label in zip(masks, labels, strict=True):
        same = [i for i in range(len(found)) if np.array_equal(found.masks[i], mask)]
        assert len(same) == 1
        assert found.labels[same[0]] == label
        assert found.boxes[same[0]].tolist() == list(box_of(mask))
    assert (np.diff(found.scores) <= 0).all()
    assert found.names == ("a", "b", "c")


def rough(seed: int) -> Find:
    """Sees each object with a ragged edge, differently in each tile."""
    rng = np.random.default_rng(seed)

    def find(images: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        results = []
        for found in see(images):
            masks = found.masks.copy()
            for mask in masks:
                shift = rng.integers(-1, 2, 2)
                mask[:] = np.roll(mask, shift, (0, 1)) & mask
            scores = found.scores - rng.uniform(0, 0.2, len(found)).astype(np.float32)
            order = np.argsort(-scores, kind="stable")
            results.append(Instances(scores, found.labels, found.boxes, masks, found.names)[order])
        return results

    return find


def slow_join(
    found: Sequence[Instances], tiles: Sequence[Rectangle], size: tuple[int, int]
) -> list[tuple[float, int, NDArray[np.bool_]]]:
    """The rule, with whole masks and loops."""
    pieces: list[tuple[int, float, int, NDArray[np.bool_]]] = []
    for number, (instances, (x1, y1, x2, y2)) in enumerate(zip(found, tiles, strict=True)):
        for one in instances:
            if one.masks.any():
                whole = np.zeros(size, dtype=bool)
                whole[y1:y2, x1:x2] = one.masks[0]
                pieces.append((number, float(one.scores[0]), int(one.labels[0]), whole))
    pairs = []
    for i, (tile_i, _, label_i, mask_i) in enumerate(pieces):
        for j, (tile_j, _, label_j, mask_j) in enumerate(pieces):
            if tile_i >= tile_j or label_i != label_j:
                continue
            in_i, in_j = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
            for inside, tile in ((in_i, tile_i), (in_j, tile_j)):
                x1, y1, x2, y2 = tiles[tile]
                inside[y1:y2, x1:x2] = True
            a, b = mask_i & in_i & in_j, mask_j & in_i & in_j
            both, either = (a & b).sum(), (a | b).sum()
            if both == 0:
                continue
            joined = both / either >= 0.5
            for piece, mask, tile in ((a, mask_i, tile_i), (b, mask_j, tile_j)):
                x1, y1, x2, y2 = tiles[tile]
                rim = np.zeros(size, dtype=bool)
                rim[y1:y2, x1 : x1 + 2] |= x1 > 0
                rim[y1:y2, x2 - 2 : x2] |= x2 < size[1]
                rim[y1 : y1 + 2, x1:x2] |= y1 > 0
                rim[y2 - 2 : y2, x1:x2] |= y2 < size[0]
                joined |= bool((mask & rim).any()) and both / piece.sum() >= 0.8
            if joined:
                pairs.append((both / either, i, j))
    groups = [{i} for i in range(len(pieces))]
    for _, i, j in sorted(pairs, reverse=True):
        a_group = next(g for g in groups if i in g)
        b_group = next(g for g in groups if j in g)
        if a_group is b_group or {pieces[k][0] for k in a_group} & {pieces[k][0] for k in b_group}:
            continue
        groups.remove(b_group)
        a_group |= b_group
    return [
        (
            max(pieces[k][1] for k in group),
            pieces[min(group)][2],
            np.any([pieces[k][3] for k in group], axis=0),
        )
        for group in groups
    ]


@pytest.mark.parametrize("seed", range(4))
def test_joins_as_the_rule_says(seed: int) -> None:
    masks, labels = scene(seed + 10, (150, 200))
    image = painted(masks, labels)
    tiles = tile_places((150, 200), 80, 0.25)
    seen = rough(seed)([image[y1:y2, x1:x2] for x1, y1, x2, y2 in tiles])
    found = find_in_tiles(rough(seed), image, 80, 0.25, 100, batch=2)
    expected = slow_join(seen, tiles, (150, 200))
    assert len(found) == len(expected)
    left = list(range(len(found)))
    for score, label, mask in expected:
        same = [
            i
            for i in left
            if found.labels[i] == label
            and abs(found.scores[i] - score) < 1e-6
            and np.array_equal(found.masks[i], mask)
        ]
        assert len(same) == 1
        left.remove(same[0])


def test_neighbours_of_one_class_stay_apart() -> None:
    masks = np.zeros((2, 100, 160), dtype=np.bool_)
    masks[0, 10:48, 20:140] = True  # both go through every tile
    masks[1, 52:90, 20:140] = True
    found = find_in_tiles(see, painted(masks, [1, 1]), 96, 0.3, 100)
    assert len(found) == 2
    assert {tuple(box) for box in found.boxes.tolist()} == {(20, 10, 140, 48), (20, 52, 140, 90)}


def test_classes_are_not_joined() -> None:
    image = painted(np.ones((1, 64, 160), dtype=np.bool_), [1])

    def by_tile(images: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        by_tile.calls += 1  # type: ignore[attr-defined]  # of a function
        label = by_tile.calls % 2  # type: ignore[attr-defined]  # likewise
        (found,) = see(images)
        return [Instances(found.scores, found.labels * 0 + label, found.boxes, found.masks)]

    by_tile.calls = 0  # type: ignore[attr-defined]  # likewise
    found = find_in_tiles(by_tile, image, 100, 0.3, 100)
    assert sorted(found.labels.tolist()) == [0, 1]


def test_nothing_and_too_many() -> None:
    empty = find_in_tiles(see, np.zeros((90, 200, 3), dtype=np.uint8), 64, 0.2, 100)
    assert (len(empty), empty.masks.shape, empty.boxes.shape) == (0, (0, 90, 200), (0, 4))
    masks, labels = scene(0)
    every = find_in_tiles(see, painted(masks, labels), 96, 0.3, 100)
    some = find_in_tiles(see, painted(masks, labels), 96, 0.3, 3)
    np.testing.assert_array_equal(some.scores, every.scores[:3])


def test_union_of_runs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        masks = rng.random((int(rng.integers(1, 5)), 9, 7)) < rng.uniform(0, 1)
        union = union_spans(list(runs_of(masks, (9, 7)).spans))
        np.testing.assert_array_equal(union, spans_of(masks.any(0), (9, 7)))
