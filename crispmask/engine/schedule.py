"""The learning rate of every step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from crispmask.config import TrainConfig

Shape = Literal["cosine", "linear", "flat-cosine", "steps"]

DROPS = (8 / 12, 11 / 12)
"""Where the rate falls to a tenth, fraction of the run; the 1x schedule of MMDetection."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Linear warmup, then a fall; both change with every step.

    lr(t) = peak (start + (1 - start) t / w) for t < w, then, with u from 0 at the end of the
    warmup to 1 at the last step, peak times

    - cosine: final + (1 - final) (1 + cos(pi u)) / 2
    - linear: final + (1 - final) (1 - u)
    - flat-cosine: 1 for the first half of the run, a cosine over its second half
    - steps: 1, a tenth and a hundredth, changing at `DROPS` of the run

    Attributes:
        peak: learning rate at the end of the warmup.
        total_steps: T, steps of the whole run.
        warmup_steps: w; 0 starts at the peak.
        warmup_start: fraction of the peak at step 0.
        final: fraction of the peak at the last step.
        shape: of the fall.
        bias_start: learning rate of biases at step 0, from where it goes to the peak over the
            warmup; None: that of everything else.
        momentum: of SGD at step 0 and after the warmup, a line between; None: not changed.
    """

    peak: float
    total_steps: int
    warmup_steps: int
    warmup_start: float
    final: float
    shape: Shape = "cosine"
    bias_start: float | None = None
    momentum: tuple[float, float] | None = None

    def __call__(self, step: int) -> float:
        """The learning rate of a step; steps count from 0."""
        if step < self.warmup_steps:
            done = step / self.warmup_steps
            return self.peak * (self.warmup_start + (1 - self.warmup_start) * done)
        if self.shape == "steps":
            return self.peak * 0.1 ** sum(step >= drop * self.total_steps for drop in DROPS)
        begin = self.warmup_steps
        if self.shape == "flat-cosine":
            begin = max(begin, self.total_steps // 2)
        # A run with a single step after the warmup makes it at the peak.
        done = (step - begin) / max(1, self.total_steps - 1 - begin)
        done = min(max(done, 0.0), 1.0)
        left = 1 - done if self.shape == "linear" else (1 + math.cos(math.pi * done)) / 2
        return self.peak * (self.final + (1 - self.final) * left)

    def bias_lr(self, step: int) -> float:
        """The learning rate of biases at a step."""
        if self.bias_start is None or step >= self.warmup_steps:
            return self(step)
        return self.bias_start + (self.peak - self.bias_start) * step / self.warmup_steps

    def momentum_at(self, step: int) -> float | None:
        """The momentum of SGD at a step; None: it stays as it is."""
        if self.momentum is None:
            return None
        start, end = self.momentum
        done = min(1.0, step / self.warmup_steps) if self.warmup_steps else 1.0
        return start + (end - start) * done


def make_schedule(
    peak: float,
    epochs: int,
    steps_per_epoch: int,
    warmup_epochs: float,
    warmup_start: float,
    final: float,
    shape: Shape = "cosine",
    warmup_min_steps: int = 0,
    bias_start: float | None = None,
    momentum: tuple[float, float] | None = None,
) -> Schedule:
    """The schedule of a run; the warmup leaves at least the last epoch to the fall."""
    wanted = max(round(warmup_epochs * steps_per_epoch), warmup_min_steps)
    return Schedule(
        peak=peak,
        total_steps=epochs * steps_per_epoch,
        warmup_steps=min(wanted, (epochs - 1) * steps_per_epoch),
        warmup_start=warmup_start,
        final=final,
        shape=shape,
        bias_start=bias_start,
        momentum=momentum,
    )


def schedule_of(config: TrainConfig, peak: float, epochs: int, steps_per_epoch: int) -> Schedule:
    """The schedule a configuration asks for.

    Args:
        config: of the run.
        peak: learning rate.
        epochs: of the run; those of the configuration, if time does not decide.
        steps_per_epoch: batches.
    """
    start = config.momentum if config.warmup_momentum == "auto" else config.warmup_momentum
    return make_schedule(
        peak,
        epochs,
        steps_per_epoch,
        config.warmup_epochs,
        config.warmup_start,
        config.final_lr,
        config.schedule,
        config.warmup_min_steps,
        bias_start=bias_start(config, peak),
        momentum=None if start == config.momentum else (start, config.momentum),
    )


def bias_start(config: TrainConfig, peak: float) -> float | None:
    """The learning rate of biases at step 0; None if it is that of everything else."""
    start = config.warmup_bias_lr
    return None if start == "auto" or start == peak * config.warmup_start else start
