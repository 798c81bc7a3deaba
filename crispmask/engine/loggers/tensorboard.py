"""Events for `tensorboard --logdir`: scalars, images, precision over recall, settings."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crispmask.engine.callback import (
    Callback,
    EpochEnd,
    StepEnd,
    TrainEnd,
    TrainStart,
    ValidationEnd,
)
from crispmask.engine.loggers.pictures import (
    chosen_images,
    is_time_for_pictures,
    labels_and_predictions,
)
from crispmask.engine.loggers.settings import flat_settings
from crispmask.engine.resolve import to_plain

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from crispmask.metrics.coco import CocoMetrics

THRESHOLDS = 101
"""Scores from 0 to 1 at which TensorBoard's curves of precision over recall are given."""

log = logging.getLogger(__name__)

MOST_CURVES = 20
"""Classes with a curve of their own."""

COMPARED = ("mask/mAP50-95", "mask/mAP50", "box/mAP50-95")
"""Metrics that stand beside the settings in TensorBoard's table of runs."""


class TensorBoard(Callback):
    """Writes into the run folder."""

    def __init__(self) -> None:
        self._writer: SummaryWriter | None = None
        self._start: TrainStart | None = None

    def on_train_start(self, event: TrainStart) -> None:
        """Opens a file; events of later steps, left by an interrupted run, are hidden."""
        # Imported here: it takes a second.
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        self._start = event
        purge = event.step + 1 if event.step else None
        self._writer = SummaryWriter(str(event.work_dir), purge_step=purge)
        if event.step == 0:
            settings = flat_settings(to_plain(event.config))
            for summary in hparams(settings, dict.fromkeys(COMPARED, 0.0)):
                self._writer._get_file_writer().add_summary(summary)

    def on_step(self, event: StepEnd) -> None:
        """Loss, learning rate and gradient norm."""
        self._add(event.figures(), event.step)

    def on_validation_end(self, event: ValidationEnd) -> None:
        """Images beside their labels now and then, curves of precision over recall."""
        if self._start is None or not is_time_for_pictures(event.epoch, event.epochs):
            return
        with self._writing() as writer:
            if writer is None:
                return
            for number, i in enumerate(chosen_images(self._start.val)):
                picture = labels_and_predictions(
                    self._start.val, i, event.evaluation.predictions, self._start.names
                )
                tag = f"labels and predictions/{number + 1}"
                writer.add_image(tag, picture, event.step, dataformats="HWC")
            _add_curves(writer, event.evaluation.metrics, event.step)

    def on_epoch_end(self, event: EpochEnd) -> None:
        """The columns of results.csv."""
        row = {key: value for key, value in event.row.items() if key != "epoch"}
        self._add(row, event.step)
        with self._writing() as writer:
            if writer:
                writer.flush()

    def on_train_end(self, event: TrainEnd) -> None:
        """Closes the file."""
        self._close()

    def on_error(self, error: BaseException) -> None:
        """Closes the file."""
        self._close()

    def _add(self, values: Mapping[str, float], step: int) -> None:
        with self._writing() as writer:
            if writer:
                for name, value in values.items():
                    writer.add_scalar(name, value, step)

    def _close(self) -> None:
        with self._writing() as writer:
            if writer:
                writer.close()

    @contextmanager
    def _writing(self) -> Iterator[SummaryWriter | None]:
        """The open file, None if there is none; training goes on without it on a full disk."""
        try:
            yield self._writer
        except OSError as error:  # told late, by the thread that writes
            log.warning("no more events for TensorBoard: %s", error.strerror or error)
            self._writer = None


def _add_curves(writer: SummaryWriter, metrics: CocoMetrics, step: int) -> None:
    for label, name in list(enumerate(metrics.names))[:MOST_CURVES]:
        count = int(metrics.num_instances[label])
        if count == 0:
            continue
        counts = curve_by_threshold(
            metrics.curves.precision50[label], metrics.curves.scores50[label], count
        )
        writer.add_pr_curve_raw(f"mask IoU 0.50/{name}", *counts, step, num_thresholds=THRESHOLDS)


def curve_by_threshold(
    precision: NDArray[np.float64], scores: NDArray[np.float64], num_instances: int
) -> tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
]:
    """What TensorBoard wants: counts by score threshold, from COCO's curve over recall.

    Args:
        precision: (R,) at recalls from 0 to 1.
        scores: (R,) threshold that reaches each recall; 0 if none does.
        num_instances: annotated.

    Returns:
        True positives, false positives, true negatives (0: detection has none), false
        negatives, precision, recall; each (`THRESHOLDS`,), thresholds ascending.
    """
    levels = np.linspace(0, 1, len(precision))
    reached = precision > 0
    found = np.zeros((2, THRESHOLDS))  # precision, recall
    found[0] = 1.0
    for number, threshold in enumerate(np.linspace(0, 1, THRESHOLDS)):
        possible = np.flatnonzero(reached & (scores >= threshold))
        if len(possible):
            found[:, number] = precision[possible[-1]], levels[possible[-1]]
    right = found[1] * num_instances
    wrong = right * (1 / found[0] - 1)
    return right, wrong, np.zeros(THRESHOLDS), num_instances - right, found[0], found[1]
