from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        ("abcade", ["abc", "ade"]),  # what a reader without parts sees
        ("abcad", ["abc"]),  # a spike has no area
        ("abcaefga", ["abc", "aefga"]),
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
    read = reread(format_label_line(0, (outline, hole), (10, 10)), (10, 10))
    assert len(read) == 2
    np.testing.assert_allclose(read[0], np.roll(outline, -1, axis=0), rtol=1e-6)
    np.testing.assert_allclose(read[1], hole, rtol=1e-6)


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
    found = split_rings(points)
    assert len(found) == len(parts)
    for ring, part in zip(found, parts, strict=True):
        np.testing.assert_allclose(ring * (width, height), part, rtol=1e-6)
    read = tuple((ring * (width, height)).astype(np.float32) for ring in found)
    np.testing.assert_array_equal(rasterise((read,), mask.shape)[0], mask)
    # A reader that knows nothing of parts sees the same.
    outline = (points * (width, height)).astype(np.float32)
    np.testing.assert_array_equal(rasterise(((outline,),), mask.shape)[0], mask)
