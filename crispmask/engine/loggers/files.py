"""What loggers of other programs have in common: where a run is continued, what is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from crispmask.data.coco import write_json_atomic
from crispmask.errors import ConfigError

RUN_IDS = "loggers.json"
"""File of the run folder with the ids that other programs gave to the run."""

PICTURES = (
    "results.png",
    "mask_pr_curve.png",
    "confusion_matrix.png",
    "labels.png",
    "train_batch0.jpg",
    "val_batch0_labels.jpg",
    "val_batch0_pred.jpg",
)
"""Pictures of a run folder that are kept beside its figures."""

FILES = ("config.yaml", "results.csv", "metrics.json", "report.html")
"""Files of a run folder that are kept; checkpoints only where asked for."""


def import_logger(name: str) -> ModuleType:
    """The package behind `--logger NAME`.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = (error.name or name).split(".")[0]
        raise ConfigError(
            f"--logger {name} needs {missing}, which is not installed: pip install {name}"
        ) from error


def read_run_id(folder: Path, name: str) -> str | None:
    """The id a program gave to the run of a folder; None if it has none yet."""
    return _ids(folder).get(name)


def keep_run_id(folder: Path, name: str, run_id: str) -> None:
    """Keeps it for when the run is continued."""
    write_json_atomic(folder / RUN_IDS, {**_ids(folder), name: run_id})


def figures(row: Mapping[str, float]) -> dict[str, float]:
    """The columns of results.csv that are figures of an epoch."""
    return {key: value for key, value in row.items() if key != "epoch"}


def summary(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The figures of metrics.json over all classes, marked as those of the best model."""
    return {f"best/{key}": value for key, value in metrics.items() if isinstance(value, float)}


def _ids(folder: Path) -> dict[str, str]:
    path = folder / RUN_IDS
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
