"""A comparison from its settings to its report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crispmask.compare import ours, yolo
from crispmask.compare.config import CompareConfig, Row, rows_of
from crispmask.compare.jobs import run_job
from crispmask.compare.page import write_page
from crispmask.compare.score import Entry, Score, Training, latency_of
from crispmask.compare.table import write_tables
from crispmask.config import TrainConfig
from crispmask.data.coco import write_json_atomic
from crispmask.data.images import read_image
from crispmask.data.index import DatasetIndex
from crispmask.data.scan import build_index
from crispmask.data.set_aside import read_with_val
from crispmask.data.spec import DatasetSpec
from crispmask.loading import load
from crispmask.models.flops import count_flops
from crispmask.models.interface import Network
from crispmask.predict import Model
from crispmask.validate import validate, validate_predictions

LATENCY_IMAGES = 20
"""Images a latency is the median of."""

Say = Callable[[str], None]


def run_compare(config: CompareConfig, train: TrainConfig, device: str, say: Say) -> list[Entry]:
    """Trains what is not trained yet, scores all and writes the report.

    Args:
        config: the comparison.
        train: the settings of our trainings, for what YOLO is told.
        device: for scoring, as torch names it.
        say: told one line at a time how it goes.

    Returns:
        The scores, in the order of the rows and seeds.

    Raises:
        CrispmaskError: a dataset, file or training that cannot be used. What is finished stays.
    """
    spec = read_with_val(config.data, config.val_fraction)
    for note in spec.notes:
        say(note)
    rows = rows_of(config.models)
    splits = {
        split: build_index(paths, len(spec.names))
        for split, paths in (("train", spec.train), ("val", spec.val))
    }
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    entries = []
    for row in rows:
        for seed in range(config.seeds if row.trained else 1):
            folder = out / row.name / f"seed{seed}" if row.trained else out / row.name
            if row.kind == "yolo":
                entry = _yolo(config, train, row, seed, folder, spec, splits, say)
            elif row.kind == "ours":
                entry = _ours(config, row, seed, folder, splits["val"], device, say)
            else:
                entry = _file(config, row, folder, splits["val"], device, say)
            say(f"{row.name}, seed {seed}: mask mAP50-95 {entry.score['mask/mAP50-95']:.3f}")
            entries.append(entry)
    write_tables(out, rows, entries)
    write_page(out / "compare.html", config, rows, entries, splits["val"], spec.names)
    return entries


def _ours(
    config: CompareConfig,
    row: Row,
    seed: int,
    folder: Path,
    val: DatasetIndex,
    device: str,
    say: Say,
) -> Entry:
    cost = run_job(ours.our_job(config, row, seed, folder), say)
    training = ours.read_training(folder)

    def score() -> Score:
        return _score_weights(config, training.weights, folder, val, device)

    found = _once(folder, {**_dataset(config), "imgsz": config.imgsz}, score)
    return Entry(row, seed, folder, {**found, **_cost(training, cost)}, training.curve)


def _yolo(
    config: CompareConfig,
    train: TrainConfig,
    row: Row,
    seed: int,
    folder: Path,
    spec: DatasetSpec,
    splits: Mapping[str, DatasetIndex],
    say: Say,
) -> Entry:
    data = yolo.copy_dataset(spec, splits, Path(config.out) / "yolo-data")
    settings = yolo.yolo_settings(config, train, len(spec.names), row.model, seed)
    cost = run_job(yolo.yolo_job(config, row, data, settings, seed, folder), say)
    training = yolo.read_training(folder)
    run_job(yolo.predict_job(config, row, data, seed, folder), say)

    def score() -> Score:
        metrics = _measure(yolo.predictions_of(folder), config, folder)
        log = yolo.read_prediction_log(folder / "predict" / "log.txt")
        return {**metrics, **log}

    found = _once(folder, {**_dataset(config), "imgsz": config.imgsz}, score)
    return Entry(row, seed, folder, {**found, **_cost(training, cost)}, training.curve)


def _file(
    config: CompareConfig, row: Row, folder: Path, val: DatasetIndex, device: str, say: Say
) -> Entry:
    folder.mkdir(parents=True, exist_ok=True)
    status = row.path.stat()
    request = {
        **_dataset(config),
        "file": str(row.path.resolve()),
        "bytes": status.st_size,
        "changed": status.st_mtime_ns,
    }
    say(f"{row.name}: {row.path}")

    def score() -> Score:
        if row.kind == "predictions":
            metrics = validate_predictions(
                row.path,
                config.data,
                config.imgsz,
                out=folder,
                val_fraction=config.val_fraction,
            )
            return _numbers(metrics.to_json())
        return _score_weights(config, row.path, folder, val, device, own_size=True)

    return Entry(row, 0, folder, _once(folder, request, score), [])


def _score_weights(
    config: CompareConfig,
    weights: Path,
    folder: Path,
    val: DatasetIndex,
    device: str,
    own_size: bool = False,
) -> Score:
    """Metrics, size and latency of a checkpoint or graph."""
    imgsz = None if own_size else config.imgsz
    validate(
        weights,
        config.data,
        imgsz,
        out=folder,
        workers=config.workers,
        device=device,
        val_fraction=config.val_fraction,
    )
    score = _measure(folder / "predictions.json", config, folder)
    model = load(weights, device=device)
    step = max(1, len(val) // LATENCY_IMAGES)
    images = [read_image(val.path(i)) for i in range(0, len(val), step)][:LATENCY_IMAGES]
    score["latency_ms"] = latency_of(model, images, imgsz)
    if isinstance(model, Model):
        score |= size_of(model.network)
    return score


def size_of(network: Network[Any]) -> Score:
    """Millions of parameters, and GFLOPs of one 640 x 640 image where they can be counted."""
    size = {"parameters": sum(p.numel() for p in network.parameters()) / 1e6}
    flops = count_flops(network, 640)
    return size if flops is None else {**size, "gflops": flops / 1e9}


def _cost(training: Training, cost: Mapping[str, float]) -> Score:
    score: Score = {
        "train_minutes": cost["seconds"] / 60,
        "epoch_seconds": training.epoch_seconds,
        # On a GPU its memory, which the trainer counts; else that of the process.
        "memory_mb": training.gpu_memory_mb or cost["memory_mb"],
    }
    if training.best_epoch is not None:
        score["best_epoch"] = training.best_epoch
    return score


def _measure(predictions: Path, config: CompareConfig, folder: Path) -> Score:
    """The metrics of predictions with our ids: one way for all kinds of models."""
    metrics = validate_predictions(
        predictions,
        config.data,
        config.imgsz,
        out=folder,
        image_ids="ids",
        val_fraction=config.val_fraction,
        workers=config.workers,
    )
    return _numbers(metrics.to_json())


def _dataset(config: CompareConfig) -> dict[str, Any]:
    """What says which images a score is of; the fraction only where there is one."""
    return {"data": config.data} | (
        {"val_fraction": config.val_fraction} if config.val_fraction else {}
    )


def _numbers(metrics: Mapping[str, Any]) -> Score:
    return {key: value for key, value in metrics.items() if isinstance(value, float | int)}


def _once(folder: Path, request: Mapping[str, Any], score: Callable[[], Score]) -> Score:
    """The score in a folder if it is of the same request, or a new one."""
    path = folder / "score.json"
    if path.is_file():
        had = json.loads(path.read_text(encoding="utf-8"))
        if had["request"] == dict(request):
            found: Score = had["score"]
            return found
    new = {key: float(np.float64(value)) for key, value in score().items()}
    write_json_atomic(path, {"request": dict(request), "score": new})
    return new
