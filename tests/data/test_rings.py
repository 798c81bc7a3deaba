from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from crispmask.data.labels import labels_of_rows
from crispmask.data.rings import format_label_line, split_rings
from crispmask.data.rows import parse_rows
from crispmask.geometry.outline import mask_to_parts
from crispmask.geometry.raster import rasterise
from crispmask.types import Part


def rings(text: str) -> list[list[list[float]]]:
    """Rings of a row of points written as letters, each letter its own point."""
    points = {letter: (i, i * i % 7) for i, letter in enumerate(sorted(set(text)))}
    found = split_rings(np.array([points[letter] for letter in text], dtype=np.float64))
    letters = {point: letter for letter, point in points.items()}
    return ["".join(letters[tuple(map(int, p))] for p in ring) for ring in found]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("abc", ["abc"]),
        ("abca", ["abc"]),  # closed
        ("abcadefd", ["abc", "def"]),
        ("abcadefda", ["abc", "def"]),  # as we write it
        ("abcadefdaghijga", ["abc", "def", "ghij"]),
        ("abcadefdghijg", ["abc", "def", "ghij"]),  # without the ways back
        ("abcade", ["abcade"]),  # an outline that passes its first point again
        ("abcad", ["abcad"]),  # a spike
        ("abcaefga", ["abcaefg"]),
        ("abcadefdgh", ["abcadefdgh"]),  # not all of it is closed rings
        ("abcaaefaa", ["abc", "aef"]),  # rings that share their first point
        ("abacda", ["abacd"]),  # too few points for a ring before the first return
        ("aabca", ["aabc"]),
        ("abbabc", ["abbabc"]),
        ("aaa", ["aaa"]),
    ],
)
def test_rings_of_a_row(row: str, expected: list[str]) -> None:
    assert rings(row) == expected


def reread(line: str, size: tuple[int, int]) -> tuple[Part, ...]:
    labels = labels_of_rows(parse_rows(line, 10)[0])
    assert len(labels) == 1
    return labels.polygons(size)[0]


def test_row_of_one_part_is_plain() -> None:
    part = np.array([[0, 0], [50, 0], [50, 100]], dtype=np.float32)
    assert format_label_line(7, (part,), (200, 100)) == "7 0.0 0.0 0.5 0.0 0.5 0.5"


def test_row_of_several_parts_returns_to_the_first_point() -> None:
    first = np.array([[0, 0], [4, 0], [4, 4]], dtype=np.float32)
    second = np.array([[1, 0.5], [2, 0.5], [2, 1]], dtype=np.float32)
    line = format_label_line(0, (first, second), (4, 4))
    assert line == (
        "0 0.0 0.0 1.0 0.0 1.0 1.0 0.0 0.0 0.25 0.125 0.5 0.125 0.5 0.25 0.25 0.125 0.0 0.0"
    )


def test_row_of_nothing_is_empty() -> None:
    assert format_label_line(0, (), (4, 4)) == ""
    assert format_label_line(0, (np.zeros((2, 2), np.float32),), (4, 4)) == ""
    assert format_label_line(0, (np.zeros((9, 2), np.float32),), (4, 4)) == ""


def test_points_outside_are_moved_inside() -> None:
    part = np.array([[-5, 0], [50, 0], [50, 999]], dtype=np.float32)
    read = reread(format_label_line(0, (part,), (100, 200)), (100, 200))
    np.testing.assert_allclose(read[0], [[0, 0], [50, 0], [50, 100]])


def test_ring_that_passes_its_first_point_again_stays_whole() -> None:
    outline = np.array([[4, 0], [6, 4], [2, 4], [4, 0], [2, 8], [9, 8]], dtype=np.float32)
    hole = np.array([[4, 2], [4.5, 3], [3.5, 3]], dtype=np.float32)
    read = reread(format_label_line(0, (hole, outline), (10, 10)), (10, 10))
    assert edges(read) == edges((outline, hole))
    assert [len(ring) for ring in read] == [6, 3]


def test_bridges_are_short() -> None:
    outer = np.array([[0, 0], [90, 0], [90, 90], [0, 90]], dtype=np.float32)
    hole = np.array([[40, 40], [80, 40], [80, 85], [40, 85]], dtype=np.float32)
    line = format_label_line(0, (hole, outer), (100, 100))
    points = np.array(line.split()[1:], dtype=np.float64).reshape(-1, 2) * 100
    steps = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
    assert steps.sum() == pytest.approx(4 * 90 + 2 * 40 + 2 * 45 + 2 * np.hypot(10, 5))


def test_thousands_of_points_are_joined_in_little_memory() -> None:
    angle = np.linspace(0, 2 * np.pi, 6000, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    parts = (100 + 90 * ring, 100 + 80 * ring)
    tracemalloc.start()
    read = reread(format_label_line(0, parts, (200, 200)), (200, 200))
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()
    assert [len(part) for part in read] == [6000, 6000]


def edges(parts: Iterable[NDArray[Any]]) -> Counter[frozenset[tuple[float, float]]]:
    """How often each edge is walked, in either direction; without those of no length."""
    found: Counter[frozenset[tuple[float, float]]] = Counter()
    for part in parts:
        points = [tuple(point) for point in np.round(part, 4).tolist()]
        found.update(map(frozenset, zip(points, [*points[1:], points[0]], strict=True)))
    return Counter({edge: times for edge, times in found.items() if len(edge) == 2})


def joined_in_a_chain(rings: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """One outline of rings as the COCO converter of Ultralytics makes it.

    Each ring is joined to the next where the two are nearest. On the way out the first and the
    last ring are walked whole and those between only as far as the bridge to the next; on the
    way back the rest of these. Its last point is joined to its first one by being a ring.
    """
    bridges = []
    for a, b in pairwise(rings):
        distances = np.linalg.norm(a[:, None] - b[None], axis=2)
        bridges.append(np.unravel_index(distances.argmin(), distances.shape))
    out, back = [], []
    for i, ring in enumerate(rings):
        enters = int(bridges[i - 1][1]) if i else int(bridges[0][0])
        walk = np.concatenate([np.roll(ring, -enters, axis=0), ring[[enters]]])
        if i in (0, len(rings) - 1):
            out.append(walk)
        else:
            leaves = (int(bridges[i][0]) - enters) % len(ring)
            out.append(walk[: leaves + 1])
            back.insert(0, walk[leaves:])
    return np.concatenate(out + back)


def random_rings(rng: np.random.Generator, size: int) -> list[NDArray[np.float64]]:
    """Outlines of a random mask as normalised coordinates: parts, holes, nested, touching."""
    mask = rng.random((size, size)) < rng.uniform(0.3, 0.8)
    if rng.random() < 0.5:  # rings in rings
        for i in range(size // 2):
            mask[i : size - i, i : size - i] = (i % 2) ^ (rng.random() < 0.2)
    parts = [part / size for part in mask_to_parts(mask)]
    return [part[::-1] if rng.random() < 0.5 else part for part in parts]


@example(137)  # pieces of the chain return to their first points by chance
@given(st.integers(0, 2**32 - 1))
def test_chains_of_rings_are_taken_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rings_in = [ring.astype(np.float64) for ring in random_rings(rng, 9)]
    if len(rings_in) < 2:
        return
    rings_in = [rings_in[i] for i in rng.permutation(len(rings_in))[:6]]
    outline = joined_in_a_chain(rings_in)
    found = split_rings(outline)
    size = (63, 63)

    def mask(rings: Sequence[NDArray[np.float64]]) -> NDArray[np.bool_]:
        return rasterise((tuple((r * 63).astype(np.float32) for r in rings),), size)[0]

    np.testing.assert_array_equal(mask(found), mask([outline]))
    np.testing.assert_array_equal(mask(found), mask(rings_in))
    # Edges that rings share vanish with the bridges, all others are there.
    odd = {edge for edge, times in edges(rings_in).items() if times % 2}
    assert {edge for edge, times in edges(found).items() if times % 2} == odd


def test_chain_of_three_rings() -> None:
    """As published for three parts: the middle one is walked half on the way out."""
    left, middle, right = (np.array([[x, 0.0], [x + 2, 0], [x + 1, 2]]) for x in (0, 4, 8))
    outline = joined_in_a_chain([left, middle, right])
    assert outline.tolist() == [
        *[[2, 0], [1, 2], [0, 0], [2, 0]],
        *[[4, 0], [6, 0]],
        *[[8, 0], [10, 0], [9, 2], [8, 0]],
        *[[6, 0], [5, 2], [4, 0]],
    ]
    found = split_rings(outline)
    assert sorted(len(ring) for ring in found) == [3, 3, 3]
    assert edges(found) == edges([left, middle, right])


@given(st.integers(0, 2**32 - 1))
def test_masks_survive_the_label_file(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 9, 2))
    mask = rng.random((height, width)) < rng.uniform(0.2, 0.9)
    parts = mask_to_parts(mask)
    line = format_label_line(0, parts, mask.shape)
    if not mask.any():
        assert line == ""
        return
    points = np.array(line.split()[1:], dtype=np.float64).reshape(-1, 2)
    found = [ring * (width, height) for ring in split_rings(points)]
    assert edges(found) == edges(parts)
    assert len(found) == len(parts)
    read = tuple(ring.astype(np.float32) for ring in found)
    np.testing.assert_array_equal(rasterise((read,), mask.shape)[0], mask)
    # A reader that knows nothing of parts sees the same.
    outline = (points * (width, height)).astype(np.float32)
    np.testing.assert_array_equal(rasterise(((outline,),), mask.shape)[0], mask)
