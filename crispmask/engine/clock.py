"""The time of a run: what it has taken, what is left, and how many epochs fit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Clock:
    """Counts the training of a run, pauses between its parts left out.

    Args:
        hours: it may take, validation included; 0: as long as its epochs take.
        seconds: taken before this call, by the run that is continued.
        epoch: epochs done then.
        now: the time in seconds.

    Attributes:
        val_seconds: what the last validation took; kept free for the next one.
    """

    def __init__(
        self,
        hours: float,
        seconds: float,
        epoch: int,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._budget = hours * 3600 if hours else None
        self._now = now
        self._start = now()
        self._before = seconds
        self._first = epoch
        self.val_seconds = 0.0

    def used(self) -> float:
        """Seconds of training so far."""
        return self._before + self._now() - self._start

    def is_over(self) -> bool:
        """Whether no time is left beside that for a validation."""
        return self._budget is not None and self.used() + self.val_seconds >= self._budget

    def pace(self, epoch: int) -> float:
        """Mean seconds of an epoch; `epoch` of them are done, at least one in this call."""
        return (self._now() - self._start) / (epoch - self._first)

    def num_epochs(self, epoch: int) -> int:
        """How many epochs the whole run has, if those to come take as long as those done.

        Args:
            epoch: epochs done; the last of them has yet to be validated.
        """
        assert self._budget is not None
        left = self._budget - self.used() - self.val_seconds
        pace = self.pace(epoch) + self.val_seconds / (epoch - self._first)
        return epoch + max(0, int(left / pace))

    def left(self, epoch: int, epochs: int) -> float:
        """Seconds expected until the end of the run."""
        left = self.pace(epoch) * (epochs - epoch)
        return left if self._budget is None else max(0.0, min(left, self._budget - self.used()))


def until(batches: Iterable[T], is_over: Callable[[], bool]) -> Iterator[T]:
    """Yields batches, at least one, and no more once `is_over()`."""
    for batch in batches:
        yield batch
        if is_over():
            return
