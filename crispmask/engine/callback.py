"""What a run tells those who listen, and how they stop it. Imports no torch by itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crispmask.config import TrainConfig

if TYPE_CHECKING:
    from torch import nn

    from crispmask.data.index import DatasetIndex
    from crispmask.engine.evaluate import Evaluation

log = logging.getLogger(__name__)


@dataclass
class Stop:
    """Calling it asks the run to end: `event.stop("good enough")`.

    The epoch that goes on is cut short after the next batch, or finished where several processes
    train together; what it was trained on is validated and saved as at the end of every run.

    Attributes:
        reason: the first one given; None while nobody has asked.
    """

    reason: str | None = None

    def __call__(self, reason: str = "a callback asked for it") -> None:
        """Asks for the end."""
        self.reason = self.reason or reason


@dataclass(frozen=True, slots=True)
class TrainStart:
    """Everything is ready for the first step.

    Attributes:
        config: every setting, with what `auto` became.
        work_dir: the run folder.
        names: class names by label.
        weights: where the weights come from, in words.
        device: in words.
        lr_reason: where the peak learning rate comes from, in words.
        num_parameters: of the network.
        flops: of the forward pass of one image; None if they could not be counted.
        train: the training split.
        val: the validation split.
        ground_truth: COCO annotations of the validation split; image ids are position + 1.
        network: that is trained.
        averaged: the network with averaged weights, which is validated.
        epoch: epochs done, by the run that is continued.
        step: batches done by it.
        stop: asks the run to end.
    """

    config: TrainConfig
    work_dir: Path
    names: tuple[str, ...]
    weights: str
    device: str
    lr_reason: str
    num_parameters: int
    flops: int | None
    train: DatasetIndex
    val: DatasetIndex
    ground_truth: Mapping[str, Any]
    network: nn.Module
    averaged: nn.Module
    epoch: int
    step: int
    stop: Stop


@dataclass(frozen=True, slots=True)
class StepEnd:
    """A batch is done.

    Attributes:
        epoch: it belongs to, from 1.
        epochs: of the run; may change with `--time`.
        step: batches done in the run.
        losses: weighted terms and their sum, `total`.
        lr: learning rate.
        grad_norm: before clipping; None while more batches are gathered.
        num_images: of the batch.
        num_instances: of the batch.
        stop: asks the run to end.
    """

    epoch: int
    epochs: int
    step: int
    losses: Mapping[str, float]
    lr: float
    grad_norm: float | None
    num_images: int
    num_instances: int
    stop: Stop

    def figures(self) -> dict[str, float]:
        """What loggers draw over the steps."""
        values = {"step/total": self.losses["total"], "step/lr": self.lr}
        if self.grad_norm is not None:
            values["step/norm"] = self.grad_norm
        return values


@dataclass(frozen=True, slots=True)
class ValidationEnd:
    """The averaged weights were validated, and saved if they are the best.

    Attributes:
        epoch: from 1.
        epochs: of the run; may change with `--time`.
        step: batches done in the run.
        evaluation: `metrics` of `crispmask.metrics.coco` and `predictions`, COCO result rows.
        is_best: whether no earlier mask mAP50-95 was higher.
        seconds: it took.
        stop: asks the run to end.
    """

    epoch: int
    epochs: int
    step: int
    evaluation: Evaluation
    is_best: bool
    seconds: float
    stop: Stop


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """An epoch is done, validated where that was due, and saved.

    Attributes:
        epoch: from 1.
        epochs: of the run; may change with `--time`.
        step: batches done in the run.
        row: its row of results.csv, `epoch` included.
        num_images: trained on.
        seconds_left: expected until the end of the run.
        num_unreadable: images left out since the start, because they cannot be read.
        stop: asks the run to end.
    """

    epoch: int
    epochs: int
    step: int
    row: Mapping[str, float]
    num_images: int
    seconds_left: float
    num_unreadable: int
    stop: Stop


@dataclass(frozen=True, slots=True)
class TrainEnd:
    """The best model is validated, and everything is written.

    Attributes:
        reason: `finished`, or why it ended early.
        epoch: epochs done.
        best_epoch: of the best validation.
        best_path: its checkpoint.
        work_dir: the run folder.
        metrics: of the best model, as in metrics.json.
        evaluation: the same with its predictions.
        step: batches done in the run.
        seconds: since the start of this call.
    """

    reason: str
    epoch: int
    best_epoch: int
    best_path: Path
    work_dir: Path
    metrics: Mapping[str, Any]
    evaluation: Evaluation
    step: int
    seconds: float


class Callback:
    """Base of those who listen to a run; each method does nothing unless overridden.

    Methods are called in the process that trains, one after the other, between the steps. What
    they raise ends the run, as an error of its own would; the state after the last finished
    epoch is saved before `on_validation_end` and `on_epoch_end`.
    """

    def on_train_start(self, event: TrainStart) -> None:
        """Before the first step, also of a run that is continued."""

    def on_step(self, event: StepEnd) -> None:
        """After each batch."""

    def on_validation_end(self, event: ValidationEnd) -> None:
        """After each validation of an epoch, before its `on_epoch_end`."""

    def on_epoch_end(self, event: EpochEnd) -> None:
        """After each epoch."""

    def on_note(self, text: str) -> None:
        """Something that deserves a line: a setback, an early end, advice."""

    def on_train_end(self, event: TrainEnd) -> None:
        """When the run is complete."""

    def on_error(self, error: BaseException) -> None:
        """In place of `on_train_end` if an error or Ctrl-C ends the run; raised afterwards."""


@dataclass(frozen=True, slots=True)
class Audience(Callback):
    """Several callbacks as one, told in order."""

    members: Sequence[Callback] = field(default_factory=tuple)

    def on_train_start(self, event: TrainStart) -> None:
        """Tells everyone."""
        for member in self.members:
            member.on_train_start(event)

    def on_step(self, event: StepEnd) -> None:
        """Tells everyone."""
        for member in self.members:
            member.on_step(event)

    def on_validation_end(self, event: ValidationEnd) -> None:
        """Tells everyone."""
        for member in self.members:
            member.on_validation_end(event)

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Tells everyone."""
        for member in self.members:
            member.on_epoch_end(event)

    def on_note(self, text: str) -> None:
        """Tells everyone."""
        for member in self.members:
            member.on_note(text)

    def on_train_end(self, event: TrainEnd) -> None:
        """Tells everyone."""
        for member in self.members:
            member.on_train_end(event)

    def on_error(self, error: BaseException) -> None:
        """Tells everyone; what fails on the way does not hide the error that is told."""
        for member in self.members:
            try:
                member.on_error(error)
            except Exception as another:  # such as files that cannot be closed on a full disk
                log.warning("%s: %s", type(member).__name__, another)
