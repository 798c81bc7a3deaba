from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crispmask.data.labels import (
    Labels,
    parse_label_file,
    read_labels,
)
from crispmask.data.rows import parse_rows
from crispmask.errors import DatasetError

TRIANGLE = "0.1 0.1 0.5 0.1 0.3 0.4"


def parse(tmp_path: Path, text: str, num_classes: int = 3) -> Labels:
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode())
    return parse_label_file(path, num_classes)


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
        ("0 0.1 nan 0.2 0.2", "not finite"),  # would else be a box
        ("0 0.1 0.1 inf 0.2", "not finite"),
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


def test_problems_carry_what_could_be_read() -> None:
    text = f"x\n\n0 {TRIANGLE}\n9 {TRIANGLE}\n0 0.5 0.5 0.2 0.2\n1 0 0 1 0 1 7\n0 1 2 3\n"
    rows, problems = parse_rows(text, 2)
    assert [(row.line, row.label) for row in rows] == [(3, 0)]
    assert [(p.line, p.kind) for p in problems] == [
        (1, "number"),
        (4, "class"),
        (5, "box"),
        (6, "range"),
        (7, "points"),
    ]
    assert [p.row.label if p.row else None for p in problems] == [None, 9, 0, 1, None]
    assert problems[2].row is not None
    assert problems[2].row.points.tolist() == [
        [0.5, 0.5],
        [0.2, 0.2],
    ]
    assert problems[3].row is not None
    assert problems[3].row.points.max() == 7
