"""Which optimizer and peak learning rate a run gets, and whether a given rate is bold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from crispmask.config import TrainConfig
from crispmask.engine.optim import OptimizerName

FORMULA_LR = 0.002
"""Peak learning rate with one class; it falls with 5 / (4 + classes).

Source: the formula Ultralytics sets its AdamW rate by, ultralytics/engine/trainer.py.
"""

RTMDET_INS_LR = 0.004
"""Peak learning rate of RTMDet-Ins, whatever the batch, in the recipe `matched`."""

LONG_RUN = 10_000
"""Steps above which the recipe `ultralytics` takes SGD. Source: ultralytics/engine/trainer.py."""


@dataclass(frozen=True, slots=True)
class Published:
    """The rate an architecture was published with.

    Attributes:
        optimizer: it belongs to.
        lr: peak.
        batch: images per step it was tuned for; the rate is taken to scale with them.
        momentum: of that optimizer.
    """

    optimizer: OptimizerName
    lr: float
    batch: int
    momentum: float


PUBLISHED: Mapping[str, Published] = {
    "solov2": Published("sgd", 0.01, 16, 0.9),
    "rtmdet-ins": Published("adamw", 0.004, 256, 0.9),
}
"""Source: mmdetection: configs/solov2 and configs/rtmdet."""

BOLD = 2.5
"""Multiple of the linearly scaled rate above which a rate that was given is warned of.

With SOLOv2 at batch 8 the rate 0.01 is 3.2 times it, momentum counted, and known to explode.
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """A peak learning rate.

    Attributes:
        lr: the rate.
        reason: where it comes from, in words.
        warning: what speaks against it; empty if nothing does.
    """

    lr: float
    reason: str
    warning: str = ""


def choose_rate(
    config: TrainConfig, batch: int, num_classes: int, num_images: int
) -> tuple[OptimizerName, float, Rate]:
    """Optimizer, momentum and peak learning rate of a run.

    Args:
        config: what the user asked for.
        batch: images per batch.
        num_classes: K.
        num_images: of the training split.
    """
    published = PUBLISHED[config.architecture]
    images_per_step = max(batch, config.nominal_batch)
    optimizer, momentum = config.optimizer, config.momentum
    if optimizer == "auto":
        optimizer = published.optimizer
        if config.recipe == "ultralytics":
            steps = math.ceil(num_images / images_per_step) * config.epochs
            optimizer = "sgd" if steps > LONG_RUN else "adamw"
            momentum = 0.9 if steps > LONG_RUN else momentum
    scaled = published.lr * images_per_step / published.batch
    auto = _auto(config, optimizer, num_classes, scaled)
    if config.lr == "auto" or config.lr == auto.lr:
        return optimizer, momentum, auto
    times = config.lr / scaled
    if optimizer == "sgd":  # momentum m sums gradients up to 1 / (1 - m) of one
        times *= (1 - published.momentum) / (1 - momentum)
    warning = ""
    if optimizer == published.optimizer and times > BOLD and config.lr > auto.lr:
        counted = ", momentum counted" if optimizer == "sgd" else ""
        warning = (
            f"--lr {config.lr:g} is {times:.1f} times the published rate scaled to "
            f"{images_per_step} images per step ({scaled:.3g}{counted}): training may explode; "
            f"--lr auto takes {auto.lr:.4g}"
        )
    reason = f"given, {times:.1f} x the linearly scaled rate"
    return optimizer, momentum, Rate(config.lr, reason, warning)


def formula_lr(num_classes: int) -> float:
    """The peak learning rate by the number of classes, see `FORMULA_LR`."""
    return round(FORMULA_LR * 5 / (4 + num_classes), 6)


def _auto(config: TrainConfig, optimizer: str, num_classes: int, scaled: float) -> Rate:
    formula = Rate(
        formula_lr(num_classes),
        f"auto: {FORMULA_LR} * 5 / (4 + {num_classes} classes)",
    )
    if config.recipe == "native":
        published = PUBLISHED[config.architecture]
        return Rate(scaled, f"auto: {published.lr} at batch {published.batch}, scaled linearly")
    if config.recipe == "ultralytics":
        return Rate(0.01, "auto: fixed for SGD") if optimizer == "sgd" else formula
    if config.architecture == "solov2":
        return formula
    return Rate(
        RTMDET_INS_LR,
        f"auto: fixed, {RTMDET_INS_LR / scaled:.0f} x the linearly scaled {scaled:.3g}",
    )
