"""The learning rate of every step."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Linear warmup, then a cosine; both change with every step.

    lr(t) = peak (start + (1 - start) t / w) for t < w, then
    lr(t) = peak (final + (1 - final) (1 + cos(pi (t - w) / (T - 1 - w))) / 2).

    Attributes:
        peak: learning rate at the end of the warmup.
        total_steps: T, steps of the whole run.
        warmup_steps: w; 0 starts at the peak.
        warmup_start: fraction of the peak at step 0.
        final: fraction of the peak at the last step.
    """

    peak: float
    total_steps: int
    warmup_steps: int
    warmup_start: float
    final: float

    def __call__(self, step: int) -> float:
        """The learning rate of a step; steps count from 0."""
        if step < self.warmup_steps:
            done = step / self.warmup_steps
            return self.peak * (self.warmup_start + (1 - self.warmup_start) * done)
        # A run with a single step after the warmup makes it at the peak.
        done = (step - self.warmup_steps) / max(1, self.total_steps - 1 - self.warmup_steps)
        cosine = (1 + math.cos(math.pi * min(done, 1.0))) / 2
        return self.peak * (self.final + (1 - self.final) * cosine)


def make_schedule(
    peak: float,
    epochs: int,
    steps_per_epoch: int,
    warmup_epochs: float,
    warmup_start: float,
    final: float,
) -> Schedule:
    """The schedule of a run; the warmup leaves at least the last epoch to the cosine."""
    return Schedule(
        peak=peak,
        total_steps=epochs * steps_per_epoch,
        warmup_steps=round(min(warmup_epochs, epochs - 1) * steps_per_epoch),
        warmup_start=warmup_start,
        final=final,
    )
