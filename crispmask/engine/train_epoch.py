"""One pass over the training images."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from crispmask.engine.optim import set_lr
from crispmask.engine.run import Run
from crispmask.types import Batch


@dataclass(frozen=True, slots=True)
class StepLog:
    """What is known after a step.

    Attributes:
        losses: weighted terms and their sum, `total`.
        lr: learning rate of the step.
        grad_norm: norm of the gradients before clipping.
        num_images: images of the batch.
        num_instances: instances of the batch.
    """

    losses: dict[str, float]
    lr: float
    grad_norm: float
    num_images: int
    num_instances: int

    @property
    def is_finite(self) -> bool:
        """Whether the gradients could be used."""
        return math.isfinite(self.grad_norm) and math.isfinite(self.losses["total"])


@dataclass(frozen=True, slots=True)
class EpochLog:
    """Means over an epoch; of the steps with finite gradients only.

    Attributes:
        losses: weighted terms and their sum, `total`.
        lr: learning rate of the last step.
        grad_norm: mean norm of the gradients before clipping.
        num_images: images seen.
        num_steps: steps made.
        num_skipped: steps whose gradients were not finite and not used.
        seconds: time taken.
    """

    losses: dict[str, float]
    lr: float
    grad_norm: float
    num_images: int
    num_steps: int
    num_skipped: int
    seconds: float


def train_step(run: Run, batch: Batch) -> StepLog:
    """Forward, loss, backward, clip, step."""
    lr = run.schedule(run.step)
    set_lr(run.optimizer, lr)
    batch = batch.to(run.fabric.device, non_blocking=True)

    outputs = run.model(batch.images.contiguous(memory_format=torch.channels_last))
    losses = run.network.loss(outputs, batch.targets)
    total = torch.stack(list(losses.values())).sum()

    run.optimizer.zero_grad()
    run.fabric.backward(total)
    norm = run.fabric.clip_gradients(
        run.model, run.optimizer, max_norm=run.clip_norm, error_if_nonfinite=False
    )
    log = _read_back(losses, total, norm, lr, batch)
    if log.is_finite or run.scales_loss:  # a scaler skips by itself, and has to be told
        run.optimizer.step()
    if log.is_finite:
        run.ema.update(run.network)
    run.step += 1
    return log


def train_epoch(run: Run, batches: Iterable[Batch], on_step: Callable[[StepLog], None]) -> EpochLog:
    """Trains on every batch once.

    Args:
        run: changed by every step.
        batches: of this epoch.
        on_step: called after each step.
    """
    run.model.train()
    start = time.perf_counter()
    sums: dict[str, float] = defaultdict(float)
    lr, grad_norm, num_images, num_steps, num_used = 0.0, 0.0, 0, 0, 0
    for batch in batches:
        log = train_step(run, batch)
        lr, num_images, num_steps = log.lr, num_images + log.num_images, num_steps + 1
        if log.is_finite:
            num_used += 1
            grad_norm += log.grad_norm
            for name, value in log.losses.items():
                sums[name] += value
        on_step(log)
    run.epoch += 1
    return EpochLog(
        losses={name: value / num_used for name, value in sums.items()},
        lr=lr,
        grad_norm=grad_norm / num_used if num_used else math.nan,
        num_images=num_images,
        num_steps=num_steps,
        num_skipped=num_steps - num_used,
        seconds=time.perf_counter() - start,
    )


def _read_back(
    losses: dict[str, Tensor], total: Tensor, norm: Tensor | None, lr: float, batch: Batch
) -> StepLog:
    """Moves the numbers of a step to the CPU in one transfer."""
    grad_norm = total.new_zeros(()) if norm is None else norm
    values = torch.stack([*losses.values(), total, grad_norm]).detach().tolist()
    return StepLog(
        losses=dict(zip([*losses, "total"], values[:-1], strict=True)),
        lr=lr,
        grad_norm=values[-1],
        num_images=len(batch.images),
        num_instances=sum(batch.targets.counts),
    )
