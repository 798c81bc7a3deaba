"""Our models as rows of a comparison."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from crispmask.compare.config import CompareConfig, Row, extra_words
from crispmask.compare.jobs import Job
from crispmask.compare.score import Training


def training_words(config: CompareConfig, row: Row, seed: int) -> list[str]:
    """The flags of `crispmask train` for a row, without its folder."""
    settings = {
        "data": config.data,
        "architecture": row.architecture,
        "model": row.model,
        "epochs": config.epochs,
        "batch": config.batch,
        "imgsz": config.imgsz,
        "weights": config.weights,
        "recipe": config.recipe,
        "device": config.device,
        "workers": config.workers,
        "seed": seed,
    }
    if config.val_fraction:  # only then: folders of earlier versions stay what they are
        settings["val_fraction"] = config.val_fraction
    return [*(f"--{name}={value}" for name, value in settings.items()), *extra_words(config)]


def our_job(config: CompareConfig, row: Row, seed: int, folder: Path) -> Job:
    """The training of one of our models."""
    words = training_words(config, row, seed)
    run = folder / "run"
    command = [sys.executable, "-m", "crispmask", "train"]

    def go_on() -> Sequence[str] | None:
        last = run / "weights" / "last.pt"
        return [*command, f"--resume={last}"] if last.is_file() else None

    return Job(
        f"{row.name}, seed {seed}",
        folder,
        {"command": "crispmask train", "words": words},
        [*command, *words, f"--work-dir={run}"],
        go_on,
        shows=lambda line: line if line.startswith("epoch ") else None,
    )


def read_training(folder: Path) -> Training:
    """What results.csv of a run says."""
    with (folder / "run" / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    curve = [
        (int(row["epoch"]), float(row["mask/mAP50-95"])) for row in rows if row["mask/mAP50-95"]
    ]
    seconds = [float(row["seconds/train"]) + float(row["seconds/val"] or 0) for row in rows]
    # The last of equal ones, as training keeps it.
    best = max(curve, key=lambda point: (point[1], point[0]))[0] if curve else None
    return Training(
        weights=folder / "run" / "weights" / "best.pt",
        best_epoch=best,
        epoch_seconds=sum(seconds) / len(seconds),
        gpu_memory_mb=_gpu_memory(folder, rows),
        curve=curve,
    )


def _gpu_memory(folder: Path, rows: list[dict[str, str]]) -> float | None:
    """The largest of the column, which is the memory of the GPU where there is one."""
    config = (folder / "run" / "config.yaml").read_text(encoding="utf-8")
    device = yaml.safe_load(config).get("device", "cpu")
    if device == "cpu":
        return None
    return max((float(row["memory_mb"]) for row in rows if row["memory_mb"]), default=None)
