"""What to try next where validation stays at nothing, with the numbers of the run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crispmask.config import TrainConfig
from crispmask.data.index import DatasetIndex
from crispmask.engine.callback import Callback, EpochEnd, StepEnd, TrainStart, ValidationEnd
from crispmask.engine.evaluate import Evaluation
from crispmask.engine.learning_rate import formula_lr
from crispmask.engine.plots.labels import normalised_boxes

PATIENCE = 3
"""Validations without anything found after which advice is given, once per run."""

NOTHING = 0.001
"""Mask mAP50 below which nothing counts as found."""

SMALL = 12
"""Side of an instance in pixels of the network's input below which it is hard to learn."""

FEW_STEPS = 300
"""Changes of the weights with which networks from random weights have hardly begun."""


class Advice(Callback):
    """Says once what to look at, when several validations in a row found nothing.

    Args:
        say: takes a line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._start: TrainStart | None = None
        self._in_a_row = 0
        self._given = False
        self._first_loss: float | None = None
        self._loss = 0.0
        self._pending: ValidationEnd | None = None

    def on_train_start(self, event: TrainStart) -> None:
        """Keeps what the advice is made from."""
        self._start = event

    def on_step(self, event: StepEnd) -> None:
        """Follows the loss."""
        self._loss = event.losses["total"]
        if self._first_loss is None:
            self._first_loss = self._loss

    def on_validation_end(self, event: ValidationEnd) -> None:
        """Counts validations that found nothing."""
        found = event.evaluation.metrics.mask.map50
        self._in_a_row = self._in_a_row + 1 if 0 <= found < NOTHING else 0
        self._pending = event if self._in_a_row >= PATIENCE and not self._given else None

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Gives the advice, below the line of its epoch."""
        if self._pending is None or self._start is None:
            return
        self._given = True
        config = self._start.config
        self._say(f"mask mAP50 is still 0 after {PATIENCE} validations; what to look at:")
        lines = [
            *class_advice(self._start.train, self._start.val, self._start.names),
            *size_advice(self._start.train, config.imgsz),
            *step_advice(
                event.step, event.epoch, event.epochs, config.weights, self._first_loss, self._loss
            ),
            *rate_advice(config, len(self._start.names), event.row["grad_norm"]),
            *score_advice(self._pending.evaluation, len(self._start.val)),
        ]
        for line in lines:
            self._say(f"  - {line}")
        self._pending = None


def class_advice(train: DatasetIndex, val: DatasetIndex, names: tuple[str, ...]) -> list[str]:
    """Classes that one split has and the other has not."""
    counts = [
        np.bincount(index.labels[~index.crowd], minlength=len(names)) for index in (train, val)
    ]
    unlearnt = [n for n, a, b in zip(names, *counts, strict=True) if b and not a]
    absent = [n for n, a, b in zip(names, *counts, strict=True) if not a and not b]
    lines = []
    if unlearnt:
        lines.append(
            f"class names: {_some(unlearnt)} occurs in val and never in train; the order of "
            "names in data.yaml must be that of the class numbers in the label files of both"
        )
    if absent:
        lines.append(
            f"class names: {_some(absent)} has no instance at all; are the class numbers in the "
            f"label files those of data.yaml ({len(names)} names)?"
        )
    return lines


def size_advice(train: DatasetIndex, imgsz: int) -> list[str]:
    """Instances that are tiny at the size given to the network, or as large as the image."""
    sides = instance_sides(train, imgsz)
    if not len(sides):
        return []
    median, small = float(np.median(sides)), float((sides < SMALL).mean())
    if small >= 0.5:
        wanted = -(-int(imgsz * SMALL * 2 / max(median, 1e-6)) // 32) * 32
        return [
            f"label scale: {small:.0%} of the training instances are below {SMALL} px at --imgsz "
            f"{imgsz} (median {median:.1f} px): try --imgsz {min(wanted, 4 * imgsz)}, or tiles; "
            "if they look larger in labels.png, the labels are not normalised to 0..1"
        ]
    return [
        f"label scale: the median training instance is {median:.0f} px at --imgsz {imgsz}; "
        "look at train_batch0.jpg: do the outlines lie on the objects?"
    ]


def instance_sides(index: DatasetIndex, imgsz: int) -> NDArray[np.float64]:
    """(N',) square roots of the box areas in pixels at a longest side of `imgsz`; no crowds."""
    boxes, instances = normalised_boxes(index)
    images = np.searchsorted(index.image_offsets, instances, side="right") - 1
    sizes = index.sizes[images].astype(np.float64)  # (N', 2) height, width
    frame = sizes[:, ::-1] * (imgsz / sizes.max(1, keepdims=True))
    return np.sqrt(np.prod((boxes[:, 2:] - boxes[:, :2]) * frame, axis=1))


def step_advice(
    step: int, epoch: int, epochs: int, weights: str, first: float | None, now: float
) -> list[str]:
    """Runs that have hardly begun, and losses that do not fall."""
    lines = []
    if step < FEW_STEPS:
        start = " from random weights" if weights == "none" else ""
        lines.append(
            f"too early: {step} steps{start} are few, a first result takes some {FEW_STEPS}; "
            f"{epochs - epoch} epochs are to come"
        )
    if first is not None and now > 0.9 * first:
        lines.append(f"the loss does not fall: {first:.2f} at the first step, {now:.2f} now")
    return lines


def rate_advice(config: TrainConfig, num_classes: int, grad_norm: float) -> list[str]:
    """A learning rate that may be too high, too low, or not for these weights."""
    lr, formula = float(config.lr), formula_lr(num_classes)
    if grad_norm > 100:
        return [f"learning rate: gradients have a mean norm of {grad_norm:.0f}: --lr {lr / 4:.2g}"]
    if lr < formula / 10:
        return [f"learning rate: {lr:.2g} is low: try --lr {formula:.2g}"]
    if config.optimizer == "sgd" and config.weights == "none":
        return [
            f"learning rate: {lr:.2g} with SGD is made for weights from ImageNet; from random "
            "ones --optimizer adamw --lr 0.0004 learns sooner"
        ]
    return [f"learning rate: {lr:.2g}, gradient norm {grad_norm:.1f}; try half if the loss jumps"]


def score_advice(evaluation: Evaluation, num_images: int) -> list[str]:
    """What is predicted at all."""
    found, names = evaluation.comparison.predictions, evaluation.metrics.names
    if not len(found):
        return ["predictions: there are none above a score of 0.001 yet"]
    counts = np.bincount(found.label, minlength=len(names))
    label = int(counts.argmax())
    return [
        f"predictions: {len(found) / max(num_images, 1):.0f} per image with scores up to "
        f"{found.score.max():.2f}, {counts[label] / len(found):.0%} of them {names[label]}"
    ]


def _some(names: list[str]) -> str:
    """The first few of them."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
