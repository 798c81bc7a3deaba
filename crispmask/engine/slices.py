"""Batches computed in slices, one after another, where memory does not hold them whole.

Every slice divides its losses by the counts of the whole batch, which a first pass without
gradients takes. So the gradients are those of the batch in one piece, and the recipe stays the
same: only batch norms see a slice at a time.

Processes that train together pass as many slices each, also where their shares of a batch differ:
they wait for each other in every forward pass whose batch norms see the images of all.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from crispmask.engine.run import Run
from crispmask.engine.together import max_over_ranks
from crispmask.errors import ConfigError
from crispmask.models.counts import counts_given, counts_noted, sum_over_ranks
from crispmask.types import Batch, Targets

log = logging.getLogger(__name__)

_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory is full, of a GPU or of the machine."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _WORDS)


def add_gradients(run: Run, batch: Batch, updates: bool) -> dict[str, Tensor]:
    """Adds the gradients of a batch to those gathered; returns its weighted loss terms.

    If memory runs out, everything gathered is computed again in twice as many slices, and so is
    every later batch: no image is lost.

    Args:
        run: its network gets gradients; `slices` may grow.
        batch: the next one.
        updates: the weights are about to change: processes exchange gradients.

    Raises:
        ConfigError: not even one image fits, or other processes would wait for this one.
    """
    run.window.append(batch)
    todo = run.window[-1:]
    while True:
        try:
            for earlier in todo[:-1]:
                add_at_once(run, earlier, updates=False)
            return add_at_once(run, batch, updates)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Only here is the memory free that the error held.
        _more_slices(run, max(len(b.images) for b in run.window))
        run.optimizer.zero_grad()
        todo = run.window


def add_at_once(run: Run, batch: Batch, updates: bool) -> dict[str, Tensor]:
    """The same in the slices there are; if memory runs out, that is an error."""
    device = run.fabric.device
    batch = batch.to(device, non_blocking=True)
    num = run.slices if run.slices == 1 else _agreed(run.slices, len(batch.images), device)
    if num == 1:
        return _backward(run, batch, updates)
    slices = cut(batch, num)
    own = len(slices)
    slices += slices[-1:] * (num - own)  # passed for the other processes, and not learnt from
    totals = _count(run, slices, own)
    summed: dict[str, Tensor] = {}
    for k, piece in enumerate(slices, start=1):
        with counts_given(totals):
            losses = _backward(run, piece, updates and k == num, weight=float(k <= own))
        summed = {name: summed.get(name, 0) + value for name, value in losses.items()}
    return summed


@contextmanager
def memory_in_words() -> Iterator[None]:
    """Says what to do where memory runs out and slices do not help, as in validation.

    Raises:
        ConfigError: in place of the error of torch.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ConfigError(f"{error}; lower --batch, then --imgsz") from error


def cut(batch: Batch, num: int) -> list[Batch]:
    """The images of a batch in at most `num` slices whose sizes differ by one at most."""
    B = len(batch.images)
    num = min(num, B)
    edges = [B * k // num for k in range(num + 1)]
    starts = [0, *accumulate(batch.targets.counts)]
    return [
        Batch(
            batch.images[a:b],
            _targets(batch.targets, a, b, starts[a], starts[b]),
            batch.indices[a:b],
            batch.original_sizes[a:b],
        )
        for a, b in pairwise(edges)
    ]


def _targets(targets: Targets, a: int, b: int, first: int, end: int) -> Targets:
    """Those of images a to b, whose instances are `first` to `end`."""
    before, after = first, len(targets.labels) - end
    return Targets(
        labels=targets.labels[first:end],
        boxes=targets.boxes[first:end],
        masks=targets.masks.split([before, end - first, after])[1],
        counts=targets.counts[a:b],
        valid_sizes=targets.valid_sizes[a:b],
        mask_stride=targets.mask_stride,
    )


def _agreed(slices: int, num_images: int, device: torch.device) -> int:
    """Slices of a batch: the same number in every process, however many images its share has."""
    return min(slices, max_over_ranks(num_images, device))


def _backward(run: Run, batch: Batch, updates: bool, weight: float = 1.0) -> dict[str, Tensor]:
    with run.fabric.no_backward_sync(run.model, enabled=not updates):
        losses = {name: weight * value for name, value in _losses(run, batch).items()}
        run.fabric.backward(torch.stack(list(losses.values())).sum())
    return {name: value.detach() for name, value in losses.items()}


def _losses(run: Run, batch: Batch) -> dict[str, Tensor]:
    outputs = run.model(batch.images.contiguous(memory_format=torch.channels_last))
    return run.network.loss(outputs, batch.targets)


@torch.no_grad()
def _count(run: Run, slices: list[Batch], own: int) -> list[Tensor]:
    """The counts that losses are divided by, of the whole batch over all processes.

    Args:
        run: its network passes every slice.
        slices: of the share of this process.
        own: those that count, the first ones.
    """
    of_slices = []
    with _running_statistics_kept(run.network):
        for piece in slices:
            with counts_noted() as noted:
                _losses(run, piece)
            of_slices.append(noted)
    counted = zip(*of_slices[:own], strict=True)
    return [sum_over_ranks(torch.stack(counts).sum(0)) for counts in counted]


@contextmanager
def _running_statistics_kept(network: nn.Module) -> Iterator[None]:
    """Batch norms do not move their running statistics: the images are still to come."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _more_slices(run: Run, num_images: int) -> None:
    slices = min(run.slices, num_images)
    before = -(-num_images // slices)
    where = f"epoch {run.epoch + 1}: out of memory with {before} images at once"
    if slices >= num_images:
        raise ConfigError(f"{where}; lower --imgsz, or choose a smaller --model")
    run.slices = min(2 * slices, num_images)
    if run.fabric.world_size > 1:
        # The gradients of some weights may already have been exchanged.
        raise ConfigError(
            f"{where} in one of {run.fabric.world_size} processes; go on with --slices {run.slices}"
        )
    log.warning(
        "%s; from here on a batch of %d is computed in %d slices, one after another: the weights "
        "change after as many images as before, so the recipe stays the same",
        where,
        num_images,
        run.slices,
    )
    gc.collect()
    if run.fabric.device.type == "cuda":
        torch.cuda.empty_cache()
