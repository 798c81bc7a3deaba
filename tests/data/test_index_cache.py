from __future__ import annotations

import multiprocessing
import os
import pickle
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from crispmask.data import index_cache, scan
from crispmask.data.index import ARRAYS, DatasetIndex, index_of, join_indexes, take_images
from crispmask.data.labels import Labels
from crispmask.data.paths import label_path
from crispmask.data.scan import build_index, scan_dataset
from crispmask.data.spec import read_spec
from crispmask.errors import DatasetError


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder for every index, however fast it was read and however new its files are."""
    monkeypatch.setenv("CRISPMASK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(scan, "_QUICK", -1.0)
    monkeypatch.setattr(index_cache, "_TICK", 0)
    return tmp_path / "cache" / "index"


@pytest.fixture
def images(yolo_dataset) -> tuple[Path, ...]:
    return tuple(read_spec(yolo_dataset(num_train=6)).train)


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that were read."""
    names: list[str] = []

    def scan_files(job: tuple[tuple[str, ...], int]) -> tuple[DatasetIndex, list[str]]:
        names.extend(Path(path).name for path in job[0])
        return original(job)

    original = scan.scan_files
    monkeypatch.setattr(scan, "scan_files", scan_files)
    return names


def assert_same(actual: DatasetIndex, expected: DatasetIndex) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name))
        assert getattr(actual, name).dtype == getattr(expected, name).dtype


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_index_is_read_once(images: tuple[Path, ...], kept: Path, scanned: list[str]) -> None:
    expected, _ = scan_dataset(images, 3)
    scanned.clear()
    first, second = build_index(images, 3), build_index(images, 3)
    assert len(scanned) == 6
    assert len(files(kept)) == 1
    for index in (first, second):
        assert_same(index, expected)
        assert index.file is not None
        for i in range(6):
            assert index.path(i) == images[i] == Path(index.paths()[i])
            polygons, labels = index.annotation(i, (96, 128))
            wanted, wanted_labels = expected.annotation(i, (96, 128))
            np.testing.assert_array_equal(labels, wanted_labels)
            for parts, others in zip(polygons, wanted, strict=True):
                np.testing.assert_array_equal(parts[0], others[0])


def test_other_processes_are_told_only_the_file(images: tuple[Path, ...], kept: Path) -> None:
    index = build_index(images, 3)
    assert index.file is not None
    data = pickle.dumps(index)
    assert len(data) < 400
    copy = pickle.loads(data)
    assert_same(copy, index)
    assert copy.file == index.file
    for method in ("spawn", "fork"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.apply(len, (index,)) == 6


def test_what_changes_is_read_again(
    images: tuple[Path, ...], kept: Path, scanned: list[str]
) -> None:
    build_index(images, 3)

    def again() -> list[str]:
        scanned.clear()
        index = build_index(images, 3)
        assert_same(index, scan_dataset(images, 3)[0])
        return scanned[: len(scanned) - 6]

    label = label_path(images[2])
    label.write_text(label.read_text().splitlines()[0])
    assert again() == ["002.jpg"]
    assert again() == []
    label.unlink()
    assert again() == ["002.jpg"]
    label_path(images[5]).write_text("2 0 0 1 0 1 1")  # it had none
    assert again() == ["005.jpg"]
    cv2.imwrite(str(images[4]), np.zeros((7, 9, 3), dtype=np.uint8))
    assert again() == ["004.jpg"]
    os.utime(images[0])
    assert again() == ["000.jpg"]
    assert build_index(images, 3).size(4) == (7, 9)


def test_other_images_and_classes(images: tuple[Path, ...], kept: Path, scanned: list[str]) -> None:
    build_index(images, 3)
    scanned.clear()
    fewer = build_index([images[4], images[1]], 3)
    assert scanned == []
    assert_same(fewer, scan_dataset([images[4], images[1]], 3, 0)[0])
    scanned.clear()
    build_index(images, 4)
    assert len(scanned) == 6
    with pytest.raises(DatasetError, match="only 0"):
        build_index(images, 1)


def test_a_damaged_file_is_made_again(
    images: tuple[Path, ...], kept: Path, scanned: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    expected = build_index(images, 3)
    assert expected.file is not None
    path = expected.file[0]
    content = path.read_bytes()
    for damaged in (content[:-5], content[:20], b"", content[:-1] + b"\x00\x01", b"x" * 500):
        path.unlink()  # `expected` still has the old one
        path.write_bytes(damaged)
        scanned.clear()
        caplog.clear()
        assert_same(build_index(images, 3), expected)
        assert len(scanned) == 6
        assert str(path) in caplog.text
        assert path.read_bytes() == content


def test_a_folder_that_cannot_be_written(
    images: tuple[Path, ...],
    kept: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept.parent.mkdir()
    kept.write_text("a file where the folder should be")
    index = build_index(images, 3)
    assert_same(index, scan_dataset(images, 3)[0])
    assert index.file is None
    assert caplog.text.count("CRISPMASK_CACHE") == 1
    kept.unlink()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    caplog.clear()
    assert build_index(images, 3).file is None
    assert "No space left" in caplog.text
    assert files(kept) == []


def test_what_was_read_fast_or_written_just_now_is_not_kept(
    images: tuple[Path, ...], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "_QUICK", 100.0)
    assert build_index(images, 3).file is None
    monkeypatch.setattr(scan, "_QUICK", -1.0)
    monkeypatch.setattr(index_cache, "_TICK", 10**12)
    assert build_index(images, 3).file is None
    assert not kept.exists()


def test_problems_are_not_kept(images: tuple[Path, ...], kept: Path) -> None:
    label_path(images[0]).write_text("0 1 2")
    for _ in range(2):
        with pytest.raises(DatasetError, match=r"000\.txt:1: "):
            build_index(images, 3)
    assert not kept.exists()


def test_nothing_changes_in_the_dataset(images: tuple[Path, ...], kept: Path) -> None:
    folder = images[0].parents[2]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    build_index(images, 3)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_many_at_once(images: tuple[Path, ...], kept: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.starmap(build_index, [(images, 3)] * 8)
    for index in found:
        assert_same(index, found[0])
        assert index.file is not None
    assert len(files(kept)) == 1


def test_old_indexes_are_removed(images: tuple[Path, ...], kept: Path) -> None:
    for i in range(7):
        os.utime(images[0], (i, i))
        build_index(images, 3)
        time.sleep(0.01)  # their order is that of their times
    assert len(files(kept)) == 4
    assert index_cache.find_index(index_cache.look_at(list(map(str, images)), 3)) is not None
    stale = [kept / "other.index", kept / ".x.index.1.partial"]
    for path in (*stale, kept / "used.index"):
        path.write_text("")
    month_ago = time.time() - 40 * 86400
    for path in stale:
        os.utime(path, (month_ago, month_ago))
    build_index(images[:3], 3)
    assert (kept / "used.index").exists()
    assert not any(path.exists() for path in stale)


def some_labels(rng: np.random.Generator) -> Labels:
    """Up to two instances of one or two parts."""
    parts = rng.integers(1, 3, rng.integers(3))
    counts = rng.integers(3, 6, parts.sum())
    return Labels(
        labels=rng.integers(5, size=len(parts)),
        crowd=rng.random(len(parts)) < 0.5,
        part_offsets=np.concatenate([[0], np.cumsum(parts)]).astype(np.int64),
        point_offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        points=rng.random((counts.sum(), 2), dtype=np.float32),
    )


@pytest.mark.parametrize("seed", range(5))
def test_joined_and_taken_indexes_are_as_if_read_in_this_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num = 9
    paths = ["ä" * rng.integers(1, 5) + str(i) for i in range(num)]
    sizes = [(int(h), int(w)) for h, w in rng.integers(1, 99, (num, 2))]
    labels = [some_labels(rng) for _ in range(num)]

    def of(order: list[int]) -> DatasetIndex:
        return index_of(
            [paths[i] for i in order], [sizes[i] for i in order], [labels[i] for i in order]
        )

    whole = join_indexes([of([0, 1]), of([]), of(list(range(2, num)))])
    assert_same(whole, of(list(range(num))))
    for order in (rng.permutation(num), rng.integers(num, size=4), np.zeros(0, dtype=np.int64)):
        assert_same(take_images(whole, order), of(order.tolist()))


def test_an_index_of_other_code_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.append(path), original(path))[1])
    index_cache._code.__wrapped__()
    rooms = {path.parent.name for path in read}
    assert rooms == {"data", "geometry"}  # rows, and the outlines and areas they go through
