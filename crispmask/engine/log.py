"""The table of a run, results.csv."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from crispmask.atomic import replacing
from crispmask.engine.evaluate import Evaluation
from crispmask.engine.train_epoch import EpochLog

COLUMNS = (
    "epoch",
    "train/class",
    "train/box",
    "train/mask",
    "train/total",
    "lr",
    "grad_norm",
    "mask/mAP50-95",
    "mask/mAP50",
    "mask/mAP75",
    "box/mAP50-95",
    "box/mAP50",
    "seconds/train",
    "seconds/data",
    "seconds/val",
    "memory_mb",
)
"""Columns of results.csv; `train/box` only where the model has boxes. Epochs count from 1."""

Row = Mapping[str, float]
"""Values of an epoch by column; those of validation are missing where there was none."""


class ResultsCsv:
    """The table of a run, on disk after every row.

    Args:
        path: the file; made with the first row.
        finished_epochs: rows of later epochs are dropped; they were never finished.
    """

    def __init__(self, path: Path, finished_epochs: int = 0) -> None:
        self.path = path
        self._rows = [row for row in _read(path) if int(row["epoch"]) <= finished_epochs]

    def add(self, row: Row) -> None:
        """Adds the row of an epoch. The whole file is replaced, so it never holds half a row."""
        self._rows.append(_texts(row))
        self._write()

    def complete(self, row: Row) -> None:
        """Adds values to the last row, if it is of the same epoch."""
        texts = _texts(row)
        if self._rows and self._rows[-1]["epoch"] == texts["epoch"]:
            self._rows[-1] |= texts
            self._write()

    def _write(self) -> None:
        columns = [name for name in COLUMNS if name != "train/box" or self._has(name)]
        with (
            replacing(self.path) as partial,
            partial.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)

    def _has(self, column: str) -> bool:
        # Not the first row alone: an epoch of which no batch was finite has no losses.
        return any(column in row for row in self._rows)


def training_row(trained: EpochLog) -> dict[str, float]:
    """The columns of an epoch that come from its training."""
    return {
        **{f"train/{name}": value for name, value in trained.losses.items()},
        "lr": trained.lr,
        "grad_norm": trained.grad_norm,
        "seconds/train": trained.seconds,
        "seconds/data": trained.data_seconds,
    }


def validation_row(evaluation: Evaluation, seconds: float) -> dict[str, float]:
    """The columns that come from its validation."""
    mask, box = evaluation.metrics.mask, evaluation.metrics.box
    return {
        "mask/mAP50-95": mask.map50_95,
        "mask/mAP50": mask.map50,
        "mask/mAP75": mask.map75,
        "box/mAP50-95": box.map50_95,
        "box/mAP50": box.map50,
        "seconds/val": seconds,
    }


def _read(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [dict(row) for row in csv.DictReader(file)]


def _texts(row: Row) -> dict[str, str]:
    return {key: _text(value) for key, value in row.items()}


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
