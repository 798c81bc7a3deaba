"""Training a model from a configuration: prepare, epochs, report."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from rich.console import Console

from crispmask.atomic import remove_partial
from crispmask.augment.transform import Transform
from crispmask.config import TrainConfig
from crispmask.data.set_aside import read_with_val
from crispmask.data.spec import DatasetSpec
from crispmask.data.workers import naming_the_dead
from crispmask.engine import probe
from crispmask.engine.advice import Advice
from crispmask.engine.callback import Audience, Callback, Stop, TrainEnd
from crispmask.engine.class_weights import resolve_class_weights
from crispmask.engine.clock import Clock
from crispmask.engine.compile import naming_compile_errors
from crispmask.engine.device import set_deterministic
from crispmask.engine.epochs import Job, evaluate_best, train_epochs
from crispmask.engine.evaluate import complete
from crispmask.engine.guard import Guard
from crispmask.engine.log import ResultsCsv
from crispmask.engine.on_device import keep_on_device
from crispmask.engine.own_callbacks import describe_start, make_console, own_callbacks
from crispmask.engine.page.run import write_run_page
from crispmask.engine.prepare import make_loaders, make_network, read_data, val_batch
from crispmask.engine.progress import show_download
from crispmask.engine.ranks import is_first_started
from crispmask.engine.report import draw_results, write_report
from crispmask.engine.resolve import Settings, resolve, save_train_config
from crispmask.engine.resume import Resumed, read_resumed
from crispmask.engine.run import Run, restore_run, rng_of_ranks, start_run
from crispmask.engine.seat import Seat
from crispmask.engine.slices import memory_in_words
from crispmask.engine.together import joined
from crispmask.engine.workdir import choose_work_dir, held
from crispmask.errors import ConfigError

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


def fit(
    config: TrainConfig,
    console: Console | None = None,
    transform: Transform | None = None,
    callbacks: Sequence[Callback] = (),
    seat: Seat | None = None,
) -> TrainResult:
    """Trains a model and leaves a run folder.

    Args:
        config: what to train; with `resume` the settings of that run count.
        console: where progress is shown; standard output if none is given.
        transform: the user's own change of training images; not saved, so that it has to be
            given again to continue a run.
        callbacks: told what happens, after what the run writes and prints itself.
        seat: the place of this process, if another one has started it.

    Raises:
        CrispmaskError: a flag, dataset or weight file cannot be used.
        KeyboardInterrupt: after saying where to continue from.
    """
    console = console or make_console(config)
    asked = config
    resumed = read_resumed(config) if config.resume else None
    config = resumed.config if resumed else config
    listeners = [] if seat else [*own_callbacks(config, console), *callbacks]
    tell = Audience(listeners)
    if seat is None:
        listeners.append(Advice(tell.on_note))
    try:
        with memory_in_words():
            return _fit(config, asked, resumed, console, transform, tell, seat)
    except BaseException as error:
        tell.on_error(error)
        raise


def _fit(
    config: TrainConfig,
    asked: TrainConfig,
    resumed: Resumed | None,
    console: Console,
    transform: Transform | None,
    tell: Callback,
    seat: Seat | None,
) -> TrainResult:
    """Decides what can be decided at once, and trains with all processes of the run."""
    if transform is not None and config.augment_device != "none":
        raise ConfigError(
            f"--augment-device {config.augment_device} changes pixels without the transform of "
            "one's own, which works on the CPU: leave one of them out"
        )
    work_dir = resumed.work_dir if resumed else choose_work_dir(config)

    # What can fail at once fails before the images are read.
    dataset = read_with_val(config.data, config.val_fraction)
    speaks = seat is None and is_first_started()  # all ranks find the same to say
    for note in dataset.notes if speaks else ():
        tell.on_note(note)
    num_classes = len(dataset.names)
    settings = resolve(config, work_dir, dataset.file, num_classes, len(dataset.train))
    if probe.is_asked_for(config):
        config, note = probe.with_probed_batch(config, settings, num_classes)
        tell.on_note(note)
        asked = replace(asked, batch=config.batch)
        settings = resolve(config, work_dir, dataset.file, num_classes, len(dataset.train))
    if settings.lr_warning and speaks:
        log.warning(settings.lr_warning)
    with joined(settings, asked, transform, seat) as fabric:
        # Another process may have found other folders taken.
        settings = fabric.broadcast(settings)
        if fabric.is_global_zero:
            with held(settings.work_dir):
                return _train(settings, dataset, resumed, fabric, console, transform, tell)
        quiet = Console(quiet=True)
        return _train(settings, dataset, resumed, fabric, quiet, transform, Audience(()))


def _train(
    settings: Settings,
    dataset: DatasetSpec,
    resumed: Resumed | None,
    fabric: Fabric,
    console: Console,
    transform: Transform | None,
    tell: Callback,
) -> TrainResult:
    """Prepares, trains, reports; only rank 0 prints and writes."""
    start = time.perf_counter()
    config, work_dir, is_first = settings.config, settings.work_dir, fabric.is_global_zero
    set_deterministic(config.deterministic)
    fabric.seed_everything(config.seed, verbose=False)
    with fabric.rank_zero_first(local=True), show_download(console) as on_download:
        network, spec, weights = make_network(
            settings, len(dataset.names), resumed is None, on_download
        )
    with fabric.rank_zero_first(local=True):  # the others find what it has kept of a large one
        data = read_data(settings, dataset, console, writes=is_first)
    settings = replace(
        settings, config=resolve_class_weights(settings.config, data.train, spec.num_classes)
    )
    images = keep_on_device(config.augment_device, fabric.device, data, config.imgsz, console)
    loaders = make_loaders(settings, data, network.pad_value, fabric, transform, images)
    run = start_run(network, settings, fabric, steps_per_epoch=len(loaders.train))
    if resumed:
        restore_run(run, resumed.checkpoint, resumed.path)
        weights = f"continued after epoch {run.epoch}{_other_ranks(run, resumed)}"
        if not work_dir.best.is_file():  # nothing to beat: the next validation is the best
            run.best_map = None

    if is_first:
        for folder in (work_dir.path, work_dir.last.parent, work_dir.annotations):
            remove_partial(folder)
        save_train_config(settings.config, work_dir.path / "config.yaml")
    job = Job(
        settings,
        spec,
        data,
        loaders,
        console,
        ResultsCsv(work_dir.path / "results.csv", run.epoch) if is_first else None,
        tell,
        Stop(),
        Clock(settings.config.time, run.seconds, run.epoch),
        Guard(work_dir.path / "unusable", dataset.names),
    )
    if is_first:
        tell.on_train_start(describe_start(settings, run, data, weights, job.stop))
    try:
        with naming_the_dead((loaders.train, loaders.val)), naming_compile_errors():
            best = train_epochs(run, job) or evaluate_best(run, job)
    except KeyboardInterrupt:
        draw_results(work_dir.path)
        raise
    if not is_first:
        metrics = best.metrics.to_json()
        return TrainResult(best.metrics.mask.map50_95, work_dir.best, work_dir.path, metrics)
    full = complete(best, data.ground_truth, settings.config.imgsz)
    metrics = write_report(
        work_dir.path, full, data.ground_truth, data.val, num_sheet_images=val_batch(settings)
    )
    write_run_page(work_dir.path, settings.config, full, data.train, data.val, fabric.device)
    tell.on_train_end(
        TrainEnd(
            reason=job.stop.reason or "finished",
            epoch=run.epoch,
            best_epoch=run.best_epoch,
            best_path=work_dir.best,
            work_dir=work_dir.path,
            metrics=metrics,
            evaluation=full,
            step=run.step,
            seconds=time.perf_counter() - start,
        )
    )
    return TrainResult(best.metrics.mask.map50_95, work_dir.best, work_dir.path, metrics)


def _other_ranks(run: Run, resumed: Resumed) -> str:
    """A note on a run that goes on with another number of processes."""
    before = len(rng_of_ranks(resumed.checkpoint["training"]))
    if before == run.fabric.world_size:
        return ""
    return (
        f", with {run.fabric.world_size} processes after {before}: the images and their order "
        "stay the same, the last digits do not"
    )
