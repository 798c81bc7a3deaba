"""The figures of a trained model, the same way for every kind of model."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crispmask.compare.config import Row

Curve = list[tuple[int, float]]
"""Epoch and mask mAP50-95, as the program that trained measured it."""


@dataclass(frozen=True, slots=True)
class Training:
    """What a training says of itself.

    Attributes:
        weights: the checkpoint of the best epoch.
        best_epoch: counted from 1; None if it was never validated.
        epoch_seconds: mean time of an epoch with its validation.
        gpu_memory_mb: peak memory of a GPU as the trainer counts it; None without one.
        curve: validation over the epochs.
    """

    weights: Path
    best_epoch: int | None
    epoch_seconds: float
    gpu_memory_mb: float | None
    curve: Curve = field(default_factory=list)


FIGURES = {
    "mask/mAP50-95": "mask mAP50-95",
    "mask/mAP50": "mAP50",
    "mask/mAP75": "mAP75",
    "boundary/mAP50-95": "boundary mAP50-95",
    "box/mAP50-95": "box mAP50-95",
    "parameters": "parameters, M",
    "gflops": "GFLOPs at 640",
    "best_epoch": "best epoch",
    "train_minutes": "training, min",
    "epoch_seconds": "s per epoch",
    "latency_ms": "ms per image",
    "memory_mb": "peak memory, MB",
}
"""Columns of the table by the key of a score."""

Score = dict[str, float]
"""Figures of one seed by the keys of `FIGURES`; what is not known is missing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row with one seed, scored.

    Attributes:
        row: the model.
        seed: of its training; 0 for files.
        folder: with `metrics.json` and `predictions.json`.
        score: its figures.
        curve: validation over the epochs; empty for files.
    """

    row: Row
    seed: int
    folder: Path
    score: Score
    curve: Curve


def latency_of(model: Any, images: list[NDArray[np.uint8]], imgsz: int | None) -> float:
    """Median milliseconds from the pixels of an image to its masks at the same size.

    Args:
        model: anything with `predict`.
        images: at least one, each (H, W, 3) RGB.
        imgsz: longest side of the input; None takes the model's own.
    """
    model.predict(images[0], imgsz=imgsz)  # the first call is slower
    seconds = []
    for image in images:
        start = time.perf_counter()
        for found in model.predict(image, imgsz=imgsz):
            _ = len(found.masks)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)) * 1000


def mean_and_spread(values: list[float]) -> tuple[float, float | None]:
    """The mean, and the standard deviation of a sample if there are several values."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)), spread
