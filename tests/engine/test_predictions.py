"""Predictions on the disk are those that were added, and memory does not grow with them."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crispmask.engine.evaluate import evaluate_fully
from crispmask.engine.predictions import Predictions
from crispmask.errors import OutputError
from crispmask.geometry.rle import encode_masks

SIZE = (48, 64)


def row(image_id: int, score: float) -> dict[str, Any]:
    rle = {"size": [4, 4], "counts": "04L0"}
    return {"image_id": image_id, "category_id": 1, "score": score, "segmentation": rle}


def filled(folder: Path | None, counts: list[int]) -> tuple[Predictions, list[dict[str, Any]]]:
    """Images 1, 2 ... with so many rows each, and the rows."""
    store, rows = Predictions(folder), []
    for image_id, count in enumerate(counts, start=1):
        mine = [row(image_id, 1 / (k + 3)) for k in range(count)]
        store.add(image_id, mine)
        rows += mine
    return store, rows


def test_they_are_the_sequence_that_was_added(tmp_path: Path) -> None:
    store, rows = filled(tmp_path, [2, 0, 1, 3])
    assert list(store) == rows
    assert len(store) == 6
    assert [store[i] for i in range(-6, 6)] == rows * 2
    assert store[1:5:2] == rows[1:5:2]
    assert [image_id for image_id, _ in store.images()] == [1, 3, 4]
    assert [len(store.of_image(image_id)) for image_id in (1, 2, 3, 4, 9)] == [2, 0, 1, 3, 0]
    store.add(7, [row(7, 0.5)])  # after reading
    assert store[-1] == row(7, 0.5)
    with pytest.raises(IndexError):
        store[7]


@pytest.mark.parametrize("counts", [[], [0], [1], [2, 0, 3]])
def test_the_file_is_that_of_json(tmp_path: Path, counts: list[int]) -> None:
    store, rows = filled(tmp_path, counts)
    assert not any(tmp_path.iterdir())  # nothing an interruption could leave behind
    store.save(tmp_path / "predictions.json")
    assert (tmp_path / "predictions.json").read_text() == json.dumps(rows)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.json"]


def test_a_folder_that_cannot_be_written_to_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="gone: predictions cannot be written"):
        filled(tmp_path / "gone", [1])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_is_told_in_words() -> None:
    store = Predictions()
    store._file = Path("/dev/full").open("r+b", buffering=0)  # noqa: SIM115  # closed below
    with store._file, pytest.raises(OutputError, match="No space left on device"):
        store.add(1, [row(1, 0.5)])


def truth_of(num_images: int, rles: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "images": [{"id": i + 1, "height": SIZE[0], "width": SIZE[1]} for i in range(num_images)],
        "annotations": [
            {
                "image_id": i + 1,
                "category_id": 1,
                "segmentation": rles[i % len(rles)],
                "bbox": [8.0, 8.0, 24.0, 20.0],
                "area": 480.0,
                "iscrowd": 0,
            }
            for i in range(num_images)
        ],
    }


def found_in(num_images: int, per_image: int, text: str) -> Iterator[tuple[int, list[Any]]]:
    """Rows as a network makes them: every one with a text of its own."""
    rng = np.random.default_rng(0)
    for i in range(num_images):
        yield (
            i + 1,
            [
                {
                    "image_id": i + 1,
                    "category_id": 1,
                    "score": float(rng.random()),
                    "bbox": [8.0, 8.0, 24.0 + k, 20.0],
                    "segmentation": {"size": list(SIZE), "counts": (text + " ")[:-1]},
                }
                for k in range(per_image)
            ],
        )


def peak(num_images: int, folder: Path, rles: list[dict[str, Any]]) -> int:
    """Bytes at most while a split is evaluated, beyond its ground truth."""
    truth = truth_of(num_images, rles[1:])
    found = found_in(num_images, 10, rles[0]["counts"])
    tracemalloc.start()
    evaluation = evaluate_fully(found, ("a",), truth, 64, folder)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(evaluation.predictions) == 10 * num_images
    return most


def test_memory_grows_by_a_few_numbers_per_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crispmask.metrics.average_precision._CHUNK", 100)
    rng = np.random.default_rng(1)
    rles = encode_masks(rng.random((4, *SIZE)) < 0.5)  # noise: the longest texts there are
    assert len(rles[0]["counts"]) > 1000
    peak(2, tmp_path, rles)  # what is made once
    growth = (peak(80, tmp_path, rles) - peak(20, tmp_path, rles)) / (60 * 10)
    assert growth < 700  # bytes per prediction; its row alone takes 2000
