"""What losses are divided by: counts over the whole batch, however it is divided.

A batch may be shared by several processes, and each may compute its share in slices, one after
another. Every slice divides its sums by the same number, made so that the gradients, averaged
over the processes and summed over the slices of each, are those of the batch in one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch.distributed as dist
from torch import Tensor


def divisor(count: Tensor, extra: float = 0.0) -> Tensor:
    """What a slice of a batch divides its sum by.

    (count over the whole batch + extra, at least 1) / processes.
    Source: MMDetection averages such counts over the processes, too; before it adds and clamps.

    Args:
        count: of this slice, such as its positives; a scalar.
        extra: added once per batch.
    """
    return (_over_batch(count.detach()) + extra).clamp(min=1) / num_ranks()


def num_ranks() -> int:
    """Processes that train together."""
    return dist.get_world_size() if _is_shared() else 1


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum of a tensor over all processes; itself when there is one."""
    if not _is_shared():
        return value
    value = value.detach().clone()
    dist.all_reduce(value)
    return value


@contextmanager
def counts_noted() -> Iterator[list[Tensor]]:
    """Yields a list to which the counts of one slice are added, in the order they are asked for."""
    noted: list[Tensor] = []

    def note(count: Tensor) -> Tensor:
        noted.append(count)
        return count

    with _counted_by(note):
        yield noted


@contextmanager
def counts_given(totals: Sequence[Tensor]) -> Iterator[None]:
    """Takes the counts of the whole batch from a list, in that order."""
    remaining = iter(totals)
    with _counted_by(lambda count: next(remaining)):
        yield


def _is_shared() -> bool:
    return dist.is_available() and dist.is_initialized()


_over_batch: Callable[[Tensor], Tensor] = sum_over_ranks


@contextmanager
def _counted_by(function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    global _over_batch  # losses do not know how their batch is divided
    before, _over_batch = _over_batch, function
    try:
        yield
    finally:
        _over_batch = before
