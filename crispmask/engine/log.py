"""What a run leaves for later reading: results.csv and TensorBoard events."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from crispmask.atomic import replacing

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

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
        self._rows.append({key: _text(value) for key, value in row.items()})
        columns = [name for name in COLUMNS if name != "train/box" or name in self._rows[0]]
        with (
            replacing(self.path) as partial,
            partial.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)


class TensorBoard:
    """Events for `tensorboard --logdir`.

    Args:
        folder: where the event files go.
        finished_steps: events of later steps, left by an interrupted run, are hidden.
    """

    def __init__(self, folder: Path, finished_steps: int = 0) -> None:
        # Imported here: it takes a second.
        from torch.utils.tensorboard import SummaryWriter

        purge = finished_steps or None
        self._writer: SummaryWriter = SummaryWriter(str(folder), purge_step=purge)

    def add(self, values: Row, step: int) -> None:
        """Adds values at a step of the optimizer."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Writes what is still in memory."""
        self._writer.flush()

    def close(self) -> None:
        """Writes the rest and closes the file."""
        self._writer.close()


def _read(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [dict(row) for row in csv.DictReader(file)]


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
