"""Training a model from a configuration: prepare, epochs, report."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from crispmask.atomic import remove_partial
from crispmask.augment.transform import Transform
from crispmask.config import TrainConfig
from crispmask.data.set_aside import read_with_val
from crispmask.data.workers import naming_the_dead
from crispmask.engine.checkpoint import load_checkpoint
from crispmask.engine.class_weights import resolve_class_weights
from crispmask.engine.device import make_fabric, peak_memory_mb, set_deterministic
from crispmask.engine.evaluate import Evaluation, evaluate
from crispmask.engine.guard import ExplodedError, Guard, go_back
from crispmask.engine.log import ResultsCsv, TensorBoard
from crispmask.engine.messages import epoch_line, print_end, print_interrupted, print_start
from crispmask.engine.page.run import write_run_page
from crispmask.engine.prepare import Data, Loaders, make_loaders, make_network, read_data
from crispmask.engine.progress import say, show_bar, show_download
from crispmask.engine.report import draw_first_batch, draw_results, write_report
from crispmask.engine.resolve import Settings, resolve, save_train_config, to_plain
from crispmask.engine.resume import read_resumed
from crispmask.engine.run import Run, restore_run, start_run, training_state
from crispmask.engine.train_epoch import EpochLog, StepLog, train_epoch
from crispmask.engine.workdir import choose_work_dir
from crispmask.models.build import ModelSpec
from crispmask.models.files import write_file
from crispmask.types import Batch

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What training leaves.

    Attributes:
        best_map: mask mAP50-95 of the best validation, in [0, 1]; -1 if it has no instances.
        best_path: checkpoint of the best model.
        work_dir: folder with everything else.
        metrics: of the best model, as in metrics.json.
    """

    best_map: float
    best_path: Path
    work_dir: Path
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Job:
    """What stays the same while a run goes on."""

    settings: Settings
    spec: ModelSpec
    data: Data
    loaders: Loaders
    console: Console
    results: ResultsCsv
    board: TensorBoard
    guard: Guard


def fit(
    config: TrainConfig, console: Console | None = None, transform: Transform | None = None
) -> TrainResult:
    """Trains a model and leaves a run folder.

    Args:
        config: what to train; with `resume` the settings of that run count.
        console: where progress is shown; standard output if none is given.
        transform: the user's own change of training images; not saved, so that it has to be
            given again to continue a run.

    Raises:
        CrispmaskError: a flag, dataset or weight file cannot be used.
        KeyboardInterrupt: after saying where to continue from.
    """
    console = console or Console()
    start = time.perf_counter()
    resumed = read_resumed(config) if config.resume else None
    config = resumed.config if resumed else config
    work_dir = resumed.work_dir if resumed else choose_work_dir(config)

    # What can fail at once fails before the images are read.
    dataset = read_with_val(config.data, config.val_fraction)
    for note in dataset.notes:
        say(console, note)
    settings = resolve(
        config, work_dir, dataset.file, len(dataset.names), num_images=len(dataset.train)
    )
    set_deterministic(config.deterministic)
    fabric = make_fabric(settings.device, settings.precision)
    fabric.seed_everything(config.seed, verbose=False)
    with show_download(console) as on_download:
        network, spec, weights = make_network(
            settings, len(dataset.names), resumed is None, on_download
        )
    data = read_data(settings, dataset, console)
    settings = replace(
        settings, config=resolve_class_weights(settings.config, data.train, spec.num_classes)
    )
    loaders = make_loaders(settings, data, network.pad_value, fabric, transform)
    run = start_run(network, settings, fabric, steps_per_epoch=len(loaders.train))
    if resumed:
        restore_run(run, resumed.checkpoint)
        weights = f"continued after epoch {run.epoch}"
        if not work_dir.best.is_file():  # nothing to beat: the next validation is the best
            run.best_map = None

    for folder in (work_dir.path, work_dir.last.parent, work_dir.annotations):
        remove_partial(folder)
    save_train_config(settings.config, work_dir.path / "config.yaml")
    print_start(console, settings, run, weights, data.train, data.val)
    job = _Job(
        settings,
        spec,
        data,
        loaders,
        console,
        ResultsCsv(work_dir.path / "results.csv", run.epoch),
        TensorBoard(work_dir.path, run.step),
        Guard(work_dir.path / "unusable", dataset.names),
    )
    try:
        with naming_the_dead((loaders.train, loaders.val)):
            best = _train(run, job)
    except KeyboardInterrupt:
        print_interrupted(console, config.epochs, work_dir.last)
        draw_results(work_dir.path)
        raise
    finally:
        job.board.close()
    best = best or _evaluate_best(run, job)
    metrics = write_report(
        work_dir.path, best, data.ground_truth, data.val, num_sheet_images=settings.batch
    )
    write_run_page(work_dir.path, settings.config, best, data.train, data.val, fabric.device)
    print_end(console, work_dir.path, work_dir.best, metrics, time.perf_counter() - start)
    return TrainResult(best.metrics.mask.map50_95, work_dir.best, work_dir.path, metrics)


def _train(run: Run, job: _Job) -> Evaluation | None:
    """Trains what is left of the epochs; returns the best validation if it was among them."""
    config, work_dir = job.settings.config, job.settings.work_dir
    best: Evaluation | None = None
    start, first = time.perf_counter(), run.epoch
    if not work_dir.last.is_file():  # an interruption in the first epoch leaves one, too
        _save_last(run, job, {})
    while run.epoch < config.epochs:
        try:
            trained = _train_one(run, job)
        except ExplodedError:
            say(job.console, go_back(run, work_dir.last))
            continue
        row = {"epoch": run.epoch, **_training_row(trained)}
        evaluation = None
        if run.epoch % config.val_interval == 0 or run.epoch == config.epochs:
            evaluation, seconds = _validate(run, job)
            row |= _validation_row(evaluation, seconds)
            if run.best_map is None or evaluation.metrics.mask.map50_95 >= run.best_map:
                best, run.best_map = evaluation, evaluation.metrics.mask.map50_95
                run.best_epoch = run.epoch
                write_file(work_dir.best, _content(run, job, evaluation.metrics.to_json()))
        row["memory_mb"] = peak_memory_mb(run.fabric.device)
        job.results.add(row)
        job.board.add({key: value for key, value in row.items() if key != "epoch"}, run.step)
        job.board.flush()
        metrics = evaluation.metrics.to_json() if evaluation else {}
        if config.save_period and run.epoch % config.save_period == 0:
            write_file(work_dir.epoch(run.epoch), _content(run, job, metrics))
        _save_last(run, job, metrics)
        pace = (time.perf_counter() - start) / (run.epoch - first)
        left = pace * (config.epochs - run.epoch)
        unreadable = len(job.loaders.unreadable)
        say(job.console, epoch_line(row, config.epochs, trained.num_images, left, unreadable))
        if config.patience and run.best_map is not None:
            waited = run.epoch - run.best_epoch
            if waited >= config.patience and run.epoch < config.epochs:
                say(job.console, f"no better mask mAP50-95 for {waited} epochs: stopping early")
                break
    return best


def _train_one(run: Run, job: _Job) -> EpochLog:
    """The next epoch."""
    epoch, settings = run.epoch, job.settings
    loader = job.loaders.train
    job.loaders.set_epoch(epoch)
    batches: Iterable[Batch] = loader
    if epoch == 0:
        picture = settings.work_dir.path / "train_batch0.jpg"
        batches = draw_first_batch(loader, job.data.names, picture)
    title = f"epoch {epoch + 1}/{settings.config.epochs}"
    with show_bar(job.console, title, len(loader)) as bar:

        def on_step(step: StepLog, batch: Batch) -> None:
            values = {"step/total": step.losses["total"], "step/lr": step.lr}
            if step.grad_norm is not None:
                values["step/norm"] = step.grad_norm
            job.board.add(values, run.step)
            losses = "  ".join(f"{k} {v:.2f}" for k, v in step.losses.items() if k != "total")
            bar.advance(step.num_images, f"{losses}  {step.num_instances} instances")
            job.guard.watch(step, batch, run)

        return train_epoch(run, batches, on_step)


def _validate(run: Run, job: _Job) -> tuple[Evaluation, float]:
    """The averaged weights on the validation split, and the seconds it took."""
    start = time.perf_counter()
    loader = job.loaders.val
    batches: Iterable[Batch] = loader
    picture = job.settings.work_dir.path / "val_batch0_labels.jpg"
    if not picture.is_file():
        batches = draw_first_batch(loader, job.data.names, picture)
    with show_bar(job.console, "validation", len(loader)) as bar:
        evaluation = evaluate(
            run.ema.network,
            batches,
            job.data.names,
            job.data.ground_truth,
            run.network.presets["val"],
            run.fabric.autocast,
            bar.advance,
        )
    return evaluation, time.perf_counter() - start


def _evaluate_best(run: Run, job: _Job) -> Evaluation:
    """Validates best.pt, where the best epoch lies before this call."""
    best = load_checkpoint(job.settings.work_dir.best)
    run.ema.network.load_state_dict(best["state_dict"])
    return _validate(run, job)[0]


def _training_row(trained: EpochLog) -> dict[str, float]:
    return {
        **{f"train/{name}": value for name, value in trained.losses.items()},
        "lr": trained.lr,
        "grad_norm": trained.grad_norm,
        "seconds/train": trained.seconds,
    }


def _validation_row(evaluation: Evaluation, seconds: float) -> dict[str, float]:
    mask, box = evaluation.metrics.mask, evaluation.metrics.box
    return {
        "mask/mAP50-95": mask.map50_95,
        "mask/mAP50": mask.map50,
        "mask/mAP75": mask.map75,
        "box/mAP50-95": box.map50_95,
        "box/mAP50": box.map50,
        "seconds/val": seconds,
    }


def _content(run: Run, job: _Job, metrics: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint that describes itself; its weights are the averaged ones."""
    config = job.settings.config
    return {
        "architecture": config.architecture,
        "model": config.model,
        "num_classes": job.spec.num_classes,
        "class_names": list(job.data.names),
        "imgsz": config.imgsz,
        "network": job.spec.to_dict(),
        "state_dict": run.ema.network.state_dict(),
        "epoch": run.epoch,
        "metrics": metrics,
        "config": to_plain(config),
    }


def _save_last(run: Run, job: _Job, metrics: dict[str, Any]) -> None:
    content = _content(run, job, metrics)
    write_file(job.settings.work_dir.last, {**content, "training": training_state(run)})
