"""The epochs of a run: each trained, validated where that is due, saved, told."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from crispmask.engine.callback import Callback, EpochEnd, StepEnd, Stop, ValidationEnd
from crispmask.engine.checkpoint import load_checkpoint
from crispmask.engine.clock import Clock, until
from crispmask.engine.device import peak_memory_mb
from crispmask.engine.evaluate import Evaluation, evaluate
from crispmask.engine.guard import ExplodedError, Guard, go_back
from crispmask.engine.log import ResultsCsv, training_row, validation_row
from crispmask.engine.prepare import Data, Loaders, val_batch
from crispmask.engine.progress import duration, show_bar
from crispmask.engine.report import draw_first_batch, draw_labels
from crispmask.engine.resolve import Settings, to_plain
from crispmask.engine.rng import get_rng_state
from crispmask.engine.run import Run, training_state
from crispmask.engine.together import gather, share_buffers
from crispmask.engine.train_epoch import EpochLog, StepLog, train_epoch
from crispmask.models.build import ModelSpec
from crispmask.models.files import write_file
from crispmask.types import Batch


@dataclass(frozen=True, slots=True)
class Job:
    """What stays the same while a run goes on; `results` and who listens only on rank 0."""

    settings: Settings
    spec: ModelSpec
    data: Data
    loaders: Loaders
    console: Console
    results: ResultsCsv | None
    tell: Callback
    stop: Stop
    clock: Clock
    guard: Guard


def train_epochs(run: Run, job: Job) -> Evaluation | None:
    """Trains what is left of the epochs; returns the best validation if it was among them."""
    config, work_dir, clock = job.settings.config, job.settings.work_dir, job.clock
    best: Evaluation | None = None
    # An interruption in the first epoch leaves one, too. Rank 0 decides: it may write it already.
    if run.fabric.broadcast(not work_dir.last.is_file()):
        _save_last(run, job, {})
    while run.epoch < run.epochs and not _is_over(run, job):
        try:
            trained = _train_one(run, job)
        except ExplodedError:
            job.tell.on_note(go_back(run, work_dir.last))
            continue
        if config.time:
            _follow_the_time(run, job)
        row = {"epoch": run.epoch, **training_row(trained)}
        validated: ValidationEnd | None = None
        if _is_due(run, job):
            validated = _validate_and_keep(run, job)
            row |= validation_row(validated.evaluation, validated.seconds)
            best = validated.evaluation if validated.is_best else best
        row["memory_mb"] = peak_memory_mb(run.fabric.device)
        if job.results is not None:
            job.results.add(row)
        metrics = validated.evaluation.metrics.to_json() if validated else {}
        if config.save_period and run.epoch % config.save_period == 0:
            _save(run, work_dir.epoch(run.epoch), _content(run, job, metrics))
        if config.time:  # else two runs of the same bits would leave files that differ
            run.seconds = clock.used()
        _save_last(run, job, metrics)
        if validated:
            job.tell.on_validation_end(validated)
        job.tell.on_epoch_end(
            EpochEnd(
                run.epoch,
                run.epochs,
                run.step,
                row,
                trained.num_images,
                clock.left(run.epoch, run.epochs),
                len(job.loaders.unreadable),
                job.stop,
            )
        )
        _stop_early(run, job, validated is not None)
    if run.best_map is None or run.validated < run.epoch:  # stopped between two validations
        best = _validate_the_end(run, job) or best
    return best


def _is_over(run: Run, job: Job) -> bool:
    """Whether somebody asked for the end, or time is up; the same answer on every rank."""
    return run.fabric.broadcast(job.stop.reason is not None or job.clock.is_over())


def _is_due(run: Run, job: Job) -> bool:
    """Whether an epoch that was just trained is to be validated."""
    regular = run.epoch % job.settings.config.val_interval == 0
    return regular or run.epoch >= run.epochs or _is_over(run, job)


def _follow_the_time(run: Run, job: Job) -> None:
    """Plans as many epochs as fit into the hours given."""
    is_first = run.seconds == 0
    hours, pace = job.settings.config.time, job.clock.pace(run.epoch)
    run.replan(run.fabric.broadcast(job.clock.num_epochs(run.epoch)))
    if is_first:
        job.tell.on_note(
            f"--time {hours:g}: an epoch takes {duration(pace)}, so there will be about "
            f"{run.epochs}; the learning rate follows"
        )


def _stop_early(run: Run, job: Job, is_validated: bool) -> None:
    """Asks for the end where `--patience` is used up; only a validation can tell that it is."""
    patience = job.settings.config.patience
    if patience and is_validated and run.epoch < run.epochs:
        waited = run.epoch - run.best_epoch
        if waited >= patience:
            job.stop(f"no better mask mAP50-95 for {waited} epochs")
    if job.stop.reason is not None:
        job.tell.on_note(f"{job.stop.reason}: stopping early")


def _train_one(run: Run, job: Job) -> EpochLog:
    """The next epoch."""
    epoch, settings = run.epoch, job.settings
    loader = job.loaders.train
    job.loaders.set_epoch(epoch, closed=_mosaic_is_closed(run, job))
    batches: Iterable[Batch] = loader
    if epoch == 0 and run.fabric.is_global_zero:
        picture = settings.work_dir.path / "train_batch0.jpg"
        batches = draw_first_batch(loader, job.data.names, picture)
    if run.fabric.world_size == 1:  # several ranks would have to agree at every step
        batches = until(batches, lambda: _is_over(run, job))
    title = f"epoch {epoch + 1}/{run.epochs}"
    with show_bar(job.console, title, len(loader)) as bar:

        def on_step(step: StepLog, batch: Batch) -> None:
            losses = "  ".join(f"{k} {v:.2f}" for k, v in step.losses.items() if k != "total")
            bar.advance(step.num_images, f"{losses}  {step.num_instances} instances")
            job.tell.on_step(
                StepEnd(
                    epoch + 1,
                    run.epochs,
                    run.step,
                    step.losses,
                    step.lr,
                    step.grad_norm,
                    step.num_images,
                    step.num_instances,
                    job.stop,
                )
            )
            job.guard.watch(step, batch, run)

        return train_epoch(run, batches, on_step)


def _mosaic_is_closed(run: Run, job: Job) -> bool:
    """Whether the next epoch is one of the last, by the epochs that are planned now."""
    last = job.settings.close_mosaic
    if job.settings.config.time:
        last = min(last, run.epochs // 5)
    return run.epoch >= run.epochs - last


def _validate_and_keep(run: Run, job: Job) -> ValidationEnd:
    """Validates the averaged weights, and saves them if they are the best so far."""
    evaluation, seconds = _validate(run, job)
    job.clock.val_seconds = seconds
    run.validated = run.epoch
    reached = evaluation.metrics.mask.map50_95
    is_best = run.best_map is None or reached >= run.best_map
    if is_best:
        run.best_map, run.best_epoch = reached, run.epoch
        path = job.settings.work_dir.best
        _save(run, path, _content(run, job, evaluation.metrics.to_json()))
    return ValidationEnd(run.epoch, run.epochs, run.step, evaluation, is_best, seconds, job.stop)


def _validate_the_end(run: Run, job: Job) -> Evaluation | None:
    """Validates what a run ended with after its last epoch was saved; returns it if it is best."""
    validated = _validate_and_keep(run, job)
    if job.results is not None:
        values = validation_row(validated.evaluation, validated.seconds)
        job.results.complete({"epoch": run.epoch, **values})
    _save_last(run, job, validated.evaluation.metrics.to_json())
    return validated.evaluation if validated.is_best else None


def _validate(run: Run, job: Job) -> tuple[Evaluation, float]:
    """The averaged weights on the validation split, and the seconds it took."""
    start = time.perf_counter()
    share_buffers(run.ema.network)
    loader = job.loaders.val
    picture = job.settings.work_dir.path / "val_batch0_labels.jpg"
    if run.fabric.is_global_zero and not picture.is_file():
        draw_labels(picture, job.data.val, job.data.names, val_batch(job.settings))
    with show_bar(job.console, "validation", len(loader)) as bar:
        evaluation = evaluate(
            run.ema.network,
            loader,
            job.data.names,
            job.data.ground_truth,
            run.network.presets["val"],
            run.fabric.autocast,
            bar.advance,
            run.fabric,
            job.settings.work_dir.path,
        )
    return evaluation, time.perf_counter() - start


def evaluate_best(run: Run, job: Job) -> Evaluation:
    """Validates best.pt, where the best epoch lies before this call."""
    best = load_checkpoint(job.settings.work_dir.best)
    run.ema.network.load_state_dict(best["state_dict"])
    return _validate(run, job)[0]


def _content(run: Run, job: Job, metrics: dict[str, Any]) -> dict[str, Any]:
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


def _save_last(run: Run, job: Job, metrics: dict[str, Any]) -> None:
    state = training_state(run, gather(get_rng_state()))
    _save(run, job.settings.work_dir.last, {**_content(run, job, metrics), "training": state})


def _save(run: Run, path: Path, content: dict[str, Any]) -> None:
    if run.fabric.is_global_zero:
        write_file(path, content)
