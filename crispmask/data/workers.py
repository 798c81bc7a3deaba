"""The processes of a loader: how they start, what they read, and what is said when one dies."""

from __future__ import annotations

import ctypes
import gc
import importlib
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import cv2
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from crispmask.data.index import DatasetIndex
from crispmask.errors import DatasetError

IDLE = -1


def new_slots(workers: int) -> Tensor:
    """(workers,) int64 in memory that all processes share: what each of them reads."""
    return torch.full((max(workers, 1),), IDLE, dtype=torch.int64).share_memory_()


@dataclass(frozen=True, slots=True)
class StartWorker:
    """The first thing a worker does.

    Attributes:
        slots: see `new_slots`.
    """

    slots: Tensor

    def __call__(self, worker: int) -> None:
        """Prepares process number `worker`; its dataset has a field `note`."""
        # One thread per worker; otherwise each would take all cores.
        cv2.setNumThreads(0)
        torch.set_num_threads(1)
        dataset: Any = get_worker_info().dataset  # type: ignore[union-attr]  # in a worker
        slots = self.slots.numpy()

        def note(i: int) -> None:
            slots[worker] = i

        dataset.note = note


@contextmanager
def light_forks() -> Iterator[None]:
    """Processes that are started meanwhile keep nearly all memory in common with this one.

    A page becomes a copy when a fork writes to it. So the collector of garbage shall not look at
    what exists now, since it writes into every object it looks at; free memory is given back, so
    that no fork sorts it; and what each would import is imported here, once.
    """
    with suppress(ImportError):  # asked for when the first tensor is sent
        importlib.import_module("torch.nested._internal.nested_tensor")
    gc.collect()
    gc.freeze()
    if sys.platform.startswith("linux"):
        with suppress(AttributeError, OSError):  # a C library without it
            ctypes.CDLL(None).malloc_trim(0)
    try:
        yield
    finally:
        gc.unfreeze()


class Watched(Protocol):
    """A loader that says what became of its processes."""

    @property
    def processes(self) -> Sequence[BaseProcess]:
        """The processes that load, none if it loads by itself."""

    def obituary(self) -> str | None:
        """A line about the first process that has died, None if there is none."""


def obituary(processes: Sequence[BaseProcess], slots: Tensor, index: DatasetIndex) -> str | None:
    """A line about the first process that has died, None if there is none.

    Args:
        processes: of a loader.
        slots: what each of them reads.
        index: of the split.
    """
    for process, position in zip(processes, slots.tolist(), strict=False):
        if process.is_alive() or process.exitcode == 0:
            continue
        how = _cause(process.exitcode)
        if position == IDLE:
            return f"a loading process {how} between two images; {_REMEDY}"
        return f"{index.path(position)}: a loading process {how} at this image; {_REMEDY}"
    return None


_REMEDY = (
    "remove the image if that happens again; if memory is short, lower --workers or --batch. "
    "--resume continues from last.pt"
)


def _cause(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name == "SIGKILL":
        return "was killed (SIGKILL, which the system sends when memory runs out)"
    return f"crashed ({name})"


@contextmanager
def naming_the_dead(loaders: Sequence[Watched]) -> Iterator[None]:
    """Turns the death of a loading process, wherever torch tells it, into one line.

    Torch raises it from a signal handler: in the middle of whatever this process does.

    Raises:
        DatasetError: with the file it was reading.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        lines = [line for loader in loaders if (line := loader.obituary())]
        if not lines:
            raise
        for loader in loaders:
            for process in loader.processes:
                process.terminate()  # it may wait for a lock that died with its holder
        raise DatasetError(lines[0]) from error
