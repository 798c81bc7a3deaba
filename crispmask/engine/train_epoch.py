"""One pass over the training images."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from crispmask.engine.optim import set_lr
from crispmask.engine.run import Run
from crispmask.engine.slices import add_gradients
from crispmask.engine.together import mean_over_ranks
from crispmask.types import Batch


@dataclass(frozen=True, slots=True)
class StepLog:
    """What is known after a batch.

    Attributes:
        losses: weighted terms and their sum, `total`.
        lr: learning rate.
        grad_norm: norm of the gathered gradients before clipping; None while more batches are
            gathered before the weights change.
        num_images: images of the batch, over all processes.
        num_instances: instances of the batch, over all processes.
    """

    losses: dict[str, float]
    lr: float
    grad_norm: float | None
    num_images: int
    num_instances: int

    @property
    def is_finite(self) -> bool:
        """Whether losses and gradients can be used."""
        return math.isfinite(self.losses["total"]) and math.isfinite(self.grad_norm or 0.0)


@dataclass(frozen=True, slots=True)
class EpochLog:
    """Means over an epoch; of the batches with finite losses and gradients only.

    Attributes:
        losses: weighted terms and their sum, `total`.
        lr: learning rate of the last batch.
        grad_norm: mean norm of the gradients before clipping.
        num_images: images seen.
        seconds: time taken.
        data_seconds: of it, time spent waiting for batches.
    """

    losses: dict[str, float]
    lr: float
    grad_norm: float
    num_images: int
    seconds: float
    data_seconds: float


def train_step(run: Run, batch: Batch, is_last: bool = False) -> StepLog:
    """Forward, loss, backward; then clip and step, once enough images are gathered.

    Args:
        run: changed.
        batch: of this step.
        is_last: the weights change however few images are gathered.
    """
    lr = run.schedule(run.step) * run.rate_factor
    bias_lr = run.schedule.bias_lr(run.step) * run.rate_factor
    set_lr(run.optimizer, lr, bias_lr, run.schedule.momentum_at(run.step))
    if run.gathered == 0:
        run.optimizer.zero_grad()
        run.window.clear()
    run.gathered += 1
    updates = is_last or run.gathered >= run.batches_per_update()

    losses = add_gradients(run, batch, updates)

    norm = _clip(run) if updates else None
    log = _read_back(run, losses, norm, lr, batch)
    if not log.is_finite:
        run.ema.restore_buffers(run.network)
    if updates:
        if log.is_finite or run.scales_loss:  # a scaler skips by itself, and has to be told
            run.optimizer.step()
        if log.is_finite:
            run.ema.update(run.network)
        run.gathered = 0
    run.step += 1
    return log


def train_epoch(
    run: Run, batches: Iterable[Batch], on_step: Callable[[StepLog, Batch], None]
) -> EpochLog:
    """Trains on every batch once.

    Args:
        run: changed by every step.
        batches: of this epoch.
        on_step: called after each step with its batch.
    """
    run.model.train()
    start = time.perf_counter()
    sums: dict[str, float] = defaultdict(float)
    norms: list[float] = []
    lr, num_images, num_finite = 0.0, 0, 0
    waiting = _Waiting(batches)
    for batch, is_last in _mark_last(waiting):
        log = train_step(run, batch, is_last)
        lr, num_images = log.lr, num_images + log.num_images
        if log.is_finite:
            num_finite += 1
            for name, value in log.losses.items():
                sums[name] += value
        if log.grad_norm is not None:
            norms.append(log.grad_norm)
        on_step(log, batch)
    run.epoch += 1
    used = [norm for norm in norms if math.isfinite(norm)]
    return EpochLog(
        losses={name: value / num_finite for name, value in sums.items()},
        lr=lr,
        grad_norm=sum(used) / len(used) if used else math.nan,
        num_images=num_images,
        seconds=time.perf_counter() - start,
        data_seconds=waiting.seconds,
    )


def _clip(run: Run) -> Tensor:
    """Means of the gathered gradients, clipped; returns their norm before that."""
    if run.gathered > 1:
        gradients = [p.grad for p in run.network.parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, 1 / run.gathered)
    norm = run.fabric.clip_gradients(
        run.model, run.optimizer, max_norm=run.clip_norm, error_if_nonfinite=False
    )
    assert norm is not None  # it is for every way to clip but by value
    return norm


class _Waiting:
    """Batches, and how long they were waited for.

    Attributes:
        seconds: so far.
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = batches
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Batch]:
        start = time.perf_counter()
        for batch in self._batches:
            self.seconds += time.perf_counter() - start
            yield batch
            start = time.perf_counter()
        self.seconds += time.perf_counter() - start


def _mark_last(batches: Iterable[Batch]) -> Iterator[tuple[Batch, bool]]:
    """Each batch, and whether it is the last one."""
    iterator = iter(batches)
    batch = next(iterator, None)
    while batch is not None:
        following = next(iterator, None)
        yield batch, following is None
        batch = following


def _read_back(
    run: Run,
    losses: dict[str, Tensor],
    norm: Tensor | None,
    lr: float,
    batch: Batch,
) -> StepLog:
    """The numbers of a step over all processes, moved to the CPU in one transfer."""
    terms = torch.stack(list(losses.values()))
    numbers = torch.cat([terms, terms.sum()[None], *([] if norm is None else [norm[None]])])
    counts = numbers.new_tensor([len(batch.images), sum(batch.targets.counts)])
    # Means, also of the norm, which is the same everywhere: all processes decide alike.
    *values, images, instances = mean_over_ranks(torch.cat([numbers, counts])).tolist()
    return StepLog(
        losses=dict(zip([*losses, "total"], values, strict=False)),
        lr=lr,
        grad_norm=None if norm is None else values[-1],
        num_images=round(images * run.fabric.world_size),
        num_instances=round(instances * run.fabric.world_size),
    )
