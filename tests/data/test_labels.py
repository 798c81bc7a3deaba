from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crispmask.data.labels import (
    Labels,
    format_label_line,
    label_path,
    parse_label_file,
    read_labels,
    split_rings,
)
from crispmask.errors import DatasetError
from crispmask.geometry.outline import mask_to_parts
from crispmask.geometry.raster import rasterise
from crispmask.types import Part

TRIANGLE = "0.1 0.1 0.5 0.1 0.3 0.4"


def parse(tmp_path: Path, text: str, num_classes: int = 3) -> Labels:
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode())
    return parse_label_file(path, num_classes)


def rings(text: str) -> list[list[list[float]]]:
    """Rings of a row of points written as letters, each letter its own point."""
    points = {letter: (i, i * i % 7) for i, letter in enumerate(sorted(set(text)))}
    found = split_rings(np.array([points[letter] for letter in text], dtype=np.float64))
    letters = {point: letter for letter, point in points.items()}
    return ["".join(letters[tuple(map(int, p))] for p in ring) for ring in found]


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("data/images/train/a.jpg", "data/labels/train/a.txt"),
        ("images/set/images/a.b.PNG", "images/set/labels/a.b.txt"),
        ("data/photos/a.jpg", "data/photos/a.txt"),
        ("my_images/images.jpg", "my_images/images.txt"),
        ("/x/train/images/deep/a.jpeg", "/x/train/labels/deep/a.txt"),
    ],
)
def test_label_path(image: str, label: str) -> None:
    assert label_path(Path(image)) == Path(label)


def test_rows_become_polygons(tmp_path: Path) -> None:
    labels = parse(tmp_path, f"2 {TRIANGLE}\n0 0 0 1 0 1 1 0 1\n")
    assert labels.labels.tolist() == [2, 0]
    assert labels.labels.dtype == np.int64
    assert labels.points.dtype == np.float32
    (triangle,), (square,) = labels.polygons((100, 200))
    np.testing.assert_allclose(triangle, [[20, 10], [100, 10], [60, 40]], rtol=1e-6)
    assert square.tolist() == [[0, 0], [200, 0], [200, 100], [0, 100]]


@pytest.mark.parametrize("text", ["", "\n \n", "\ufeff", "# nothing here\n"])
def test_no_instances(tmp_path: Path, text: str) -> None:
    labels = parse(tmp_path, text)
    assert len(labels) == 0
    assert labels.points.shape == (0, 2)
    assert labels.polygons((10, 10)) == ()


def test_missing_file_has_no_instances(tmp_path: Path) -> None:
    assert len(parse_label_file(tmp_path / "gone.txt", 1)) == 0


def test_untidy_text_is_read(tmp_path: Path) -> None:
    text = (
        f"\ufeff0 {TRIANGLE}\r\n\r\n# comment\r\n\t1.0\t{TRIANGLE.replace(' ', chr(9))} # why\r\n"
    )
    labels = parse(tmp_path, text)
    assert labels.labels.tolist() == [0, 1]
    np.testing.assert_array_equal(labels.points[:3], labels.points[3:])


def test_repeated_rows_count_once(tmp_path: Path) -> None:
    text = (
        f"0 {TRIANGLE}\n1 {TRIANGLE}\n0 {TRIANGLE.replace('0.10', '0.1')}\n0 {TRIANGLE} 0.2 0.2\n"
    )
    assert parse(tmp_path, text).labels.tolist() == [0, 1, 0]


def test_slightly_outside_is_clipped(tmp_path: Path) -> None:
    labels = parse(tmp_path, "0 -0.01 0 1.01 0 0.5 1.005")
    np.testing.assert_array_equal(labels.points, np.array([[0, 0], [1, 0], [0.5, 1]], np.float32))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (f"cat {TRIANGLE}", "'cat' is not a number"),
        ("0,0.1,0.1,0.5,0.1,0.3,0.4", "is not a number"),
        (f"1.5 {TRIANGLE}", "class '1.5' is not a whole number"),
        (f"-1 {TRIANGLE}", "class '-1' is not a whole number"),
        (f"nan {TRIANGLE}", "class 'nan' is not a whole number"),
        (f"inf {TRIANGLE}", "class 'inf' is not a whole number"),
        (f"3 {TRIANGLE}", "class 3 but data.yaml has 3 (0 to 2)"),
        ("0 0.5 0.5 0.2 0.2", "a box, not a polygon; segmentation needs polygons"),
        (f"0 {TRIANGLE} 0.5", "7 coordinates, an odd number"),
        ("0", "0 points, fewer than 3"),
        ("0 0.1 0.1", "1 points, fewer than 3"),
        ("0 0.1 0.1 0.2 nan 0.3 0.3", "not finite"),
        ("0 0.1 0.1 0.2 inf 0.3 0.3", "not finite"),
        ("0 0.1 0.1 0.2 0.2 0.3 1.02", "coordinate 1.02 is outside 0 to 1"),
        ("0 0.1 0.1 0.2 0.2 0.3 -0.02", "coordinate -0.02 is outside 0 to 1"),
    ],
)
def test_bad_rows_name_file_and_line(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(DatasetError) as caught:
        parse(tmp_path, f"\n0 {TRIANGLE}\n{row}\n")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'a.txt'}:3: ")
    assert words in message
    assert "\n" not in message


def test_all_problems_are_found_and_good_rows_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"x\n0 {TRIANGLE}\n0 1\n9 {TRIANGLE}\n")
    labels, problems = read_labels(path, 1)
    assert len(labels) == 1
    assert [problem.split(":")[1] for problem in problems] == ["1", "3", "4"]
    with pytest.raises(DatasetError, match=r"a\.txt:1: .* \(and 2 more\)$"):
        parse_label_file(path, 1)


def test_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"0 0.1 \xff\xfe")
    with pytest.raises(DatasetError, match=r"a\.txt: not UTF-8 text"):
        parse_label_file(path, 1)
    with pytest.raises(DatasetError, match="make it readable"):
        parse_label_file(tmp_path, 1)


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


def reread(line: str, size: tuple[int, int], tmp_path: Path) -> tuple[Part, ...]:
    labels = parse(tmp_path, line)
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


def test_points_outside_are_moved_inside(tmp_path: Path) -> None:
    part = np.array([[-5, 0], [50, 0], [50, 999]], dtype=np.float32)
    read = reread(format_label_line(0, (part,), (100, 200)), (100, 200), tmp_path)
    np.testing.assert_allclose(read[0], [[0, 0], [50, 0], [50, 100]])


def test_ring_that_passes_its_first_point_again_stays_whole(tmp_path: Path) -> None:
    outline = np.array([[4, 0], [6, 4], [2, 4], [4, 0], [2, 8], [9, 8]], dtype=np.float32)
    hole = np.array([[4, 2], [4.5, 3], [3.5, 3]], dtype=np.float32)
    read = reread(format_label_line(0, (outline, hole), (10, 10)), (10, 10), tmp_path)
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
