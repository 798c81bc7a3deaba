from __future__ import annotations

import csv
from pathlib import Path

from crispmask.engine.log import COLUMNS, ResultsCsv

ROW = {
    "train/class": 0.5,
    "train/mask": 1.0,
    "train/total": 1.5,
    "lr": 1e-3,
    "grad_norm": 3.0,
    "seconds/train": 2.0,
    "seconds/data": 0.1,
    "memory_mb": 12.0,
}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_row_per_epoch_at_once(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    results = ResultsCsv(path)
    results.add({"epoch": 1, **ROW})
    assert [row["epoch"] for row in _rows(path)] == ["1"]
    results.add({"epoch": 2, **ROW, "mask/mAP50-95": 0.25})
    rows = _rows(path)
    assert list(rows[0]) == [name for name in COLUMNS if name != "train/box"]
    assert [row["mask/mAP50-95"] for row in rows] == ["", "0.25"]
    assert rows[1]["lr"] == "0.001"
    assert [p.name for p in tmp_path.iterdir()] == ["results.csv"]


def test_box_column_of_models_with_boxes(tmp_path: Path) -> None:
    ResultsCsv(tmp_path / "results.csv").add({"epoch": 1, **ROW, "train/box": 2.0})
    assert tuple(_rows(tmp_path / "results.csv")[0]) == COLUMNS


def test_box_column_after_an_epoch_without_losses(tmp_path: Path) -> None:
    results = ResultsCsv(tmp_path / "results.csv")
    results.add({"epoch": 1, "lr": 1e-3})  # every batch was left out
    results.add({"epoch": 2, **ROW, "train/box": 2.0})
    assert [row["train/box"] for row in _rows(tmp_path / "results.csv")] == ["", "2"]


def test_values_that_come_later(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    ResultsCsv(path).complete({"epoch": 0, "mask/mAP50": 0.5})  # no epoch was trained
    assert not path.exists()
    results = ResultsCsv(path)
    results.add({"epoch": 1, **ROW})
    ResultsCsv(path, finished_epochs=1).complete({"epoch": 1, "mask/mAP50": 0.5})
    (row,) = _rows(path)
    assert (row["mask/mAP50"], row["lr"]) == ("0.5", "0.001")


def test_resuming_drops_unfinished_epochs(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    results = ResultsCsv(path)
    for epoch in (1, 2, 3):
        results.add({"epoch": epoch, **ROW})
    ResultsCsv(path, finished_epochs=2).add({"epoch": 3, **ROW, "lr": 7.0})
    assert [(row["epoch"], row["lr"]) for row in _rows(path)] == [
        ("1", "0.001"),
        ("2", "0.001"),
        ("3", "7"),
    ]
