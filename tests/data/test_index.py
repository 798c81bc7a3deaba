from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crispmask.data import chunks
from crispmask.data.index import ARRAYS
from crispmask.data.labels import parse_label_file
from crispmask.data.paths import label_path
from crispmask.data.processes import ProcessDiedError
from crispmask.data.scan import build_index, scan_dataset
from crispmask.data.spec import read_spec
from crispmask.errors import DatasetError


def write_image(path: Path, width: int, height: int, rows: str | None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height)).save(path)
    if rows is not None:
        label_path(path).parent.mkdir(parents=True, exist_ok=True)
        label_path(path).write_text(rows)
    return path


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Two instances (one of two parts), none, missing file, one."""
    folder = tmp_path / "images" / "ä"
    two = "1 0 0 1 0 1 1 0 0 0.1 0.05 0.2 0.05 0.2 0.1 0.1 0.05 0 0\n0 0 0 0.5 0 0.5 0.5\n"
    return [
        write_image(folder / "a.png", 20, 10, two),
        write_image(folder / "b.png", 30, 40, ""),
        write_image(folder / "c.png", 5, 5, None),
        write_image(folder / "d.png", 8, 8, "2 0 0 0.5 0 0.5 0.5 0 0.5"),
    ]


@pytest.mark.parametrize("workers", [0, 1, 3, None])
def test_index_has_what_the_files_have(images: list[Path], workers: int | None) -> None:
    index = build_index(iter(images), 3, workers)
    assert len(index) == 4
    assert [index.path(i) for i in range(4)] == images
    assert [index.size(i) for i in range(4)] == [(10, 20), (40, 30), (5, 5), (8, 8)]
    assert index.labels.tolist() == [1, 0, 2]
    assert index.image_offsets.tolist() == [0, 2, 2, 2, 3]
    assert index.part_offsets.tolist() == [0, 2, 3, 4]
    assert index.point_offsets.tolist() == [0, 3, 6, 9, 13]
    for i, path in enumerate(images):
        size = (index.size(i)[0] * 2, index.size(i)[1] * 3)
        polygons, labels = index.annotation(i, size)
        expected = parse_label_file(label_path(path), 3)
        np.testing.assert_array_equal(labels, expected.labels)
        for parts, others in zip(polygons, expected.polygons(size), strict=True):
            for part, other in zip(parts, others, strict=True):
                np.testing.assert_array_equal(part, other)


def test_processes_read_what_this_one_reads(
    images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    label_path(images[1]).write_text("0 1 2\n")
    images[3].unlink()
    expected, problems = scan_dataset(images * 3, 3, workers=0)
    monkeypatch.setattr(chunks, "_FEW", 0)
    monkeypatch.setattr(chunks, "CHUNK", 5)
    calls: list[int] = []
    index, found = scan_dataset(images * 3, 3, 2, calls.append)
    assert found == problems
    assert len(found) == 6
    assert calls == [5, 10, 12]
    for name in ARRAYS:
        actual, wanted = getattr(index, name), getattr(expected, name)
        np.testing.assert_array_equal(actual, wanted)
        assert actual.dtype == wanted.dtype


def test_a_process_that_dies_names_the_images(
    images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> Iterator[None]:
        raise ProcessDiedError(-9)
        yield

    monkeypatch.setattr(chunks, "map_in_processes", die)
    with pytest.raises(DatasetError, match="ended with code -9") as caught:
        build_index(images, 3)
    assert str(caught.value).startswith(f"{images[0]}: ")
    assert str(images[3]) in str(caught.value)


def test_annotation_is_in_pixels_of_the_size_asked_for(images: list[Path]) -> None:
    polygons, labels = build_index(images, 3).annotation(3, (100, 200))
    assert labels.tolist() == [2]
    assert polygons[0][0].tolist() == [[0, 0], [100, 0], [100, 50], [0, 50]]


def test_annotation_can_be_changed_without_harm(images: list[Path]) -> None:
    index = build_index(images, 3)
    polygons, labels = index.annotation(0, (1, 1))
    labels[:] = 9
    polygons[0][0][:] = 9
    assert index.labels.max() < 9
    assert index.points.max() <= 1


def test_pickles_as_a_few_arrays(images: list[Path]) -> None:
    index = build_index(images, 3)
    data = pickle.dumps(index)
    copy = pickle.loads(data)
    assert copy.path(0) == index.path(0)
    np.testing.assert_array_equal(copy.points, index.points)
    many = build_index(images * 50, 3)
    assert data.count(b"ndarray") == pickle.dumps(many).count(b"ndarray")


def test_no_images() -> None:
    index = build_index([], 3)
    assert len(index) == 0
    assert index.points.shape == (0, 2)
    assert index.sizes.shape == (0, 2)
    assert index.image_offsets.tolist() == [0]


def test_one_image_without_instances(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_image(tmp_path / "a.png", 4, 6, None)
    with caplog.at_level(logging.WARNING):
        index = build_index([path], 1)
    assert index.annotation(0, (6, 4))[0] == ()
    assert index.annotation(0, (6, 4))[1].dtype == np.int64
    assert "no instances in 1 images" in caplog.text
    assert str(tmp_path / "a.txt") in caplog.text


def test_problems_of_all_files_in_one_line(images: list[Path]) -> None:
    bad = label_path(images[1])
    bad.write_text("0 1 2\n7 0 0 1 0 1 1\n")
    images[2].write_bytes(b"")
    images[3].unlink()
    with pytest.raises(DatasetError) as caught:
        build_index(images, 3)
    message = str(caught.value)
    assert message.startswith(f"{bad}:1: ")
    assert message.endswith("(and 3 more)")
    assert "\n" not in message
    index, problems = scan_dataset(images, 3)
    assert [problem.split(": ")[0] for problem in problems] == [
        f"{bad}:1",
        f"{bad}:2",
        str(images[2]),
        str(images[3]),
    ]
    assert index.size(2) == (0, 0)
    assert index.labels.tolist() == [1, 0, 2]


def test_generated_dataset(yolo_dataset) -> None:
    spec = read_spec(yolo_dataset(num_train=5, num_val=2, classes=4))
    index = build_index(spec.train, 4)
    assert np.diff(index.image_offsets).tolist() == [3, 3, 3, 3, 0]
    assert len(build_index(spec.val, 4).labels) == 3
