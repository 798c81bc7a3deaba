"""The other processes of this machine: starting, watching and stopping them.

Each is a new Python program that gets the configuration through a pipe and trains as another
rank. If one stops, its error becomes that of the run; if the run stops, they do.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from crispmask.errors import ConfigError, CrispmaskError, RankError

GRACE = 30.0
"""Seconds this process has to notice that another stopped. One that waits for a GPU may never."""

VERDICT = 5.0
"""Seconds to wait for the end of a process whose connection was lost."""

START = 300.0
"""Seconds a process has to import everything."""

_PROGRAM = "from crispmask.engine.child import serve; serve()"


@dataclass(frozen=True, slots=True)
class Report:
    """What a process says before it stops.

    Attributes:
        message: in one line.
        is_consequence: it only lost the connection to one that had stopped.
    """

    message: str
    is_consequence: bool


def describe(error: BaseException) -> Report:
    """An error in one line, with its place if it is none of the user's."""
    if isinstance(error, CrispmaskError):
        return Report(str(error), isinstance(error, RankError))
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    text = (str(error).splitlines() or [""])[0]
    return Report(f"{type(error).__name__}: {text}{place}", is_lost_connection(error))


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error means that another process has gone."""
    if isinstance(error, (dist.DistBackendError, dist.DistNetworkError, dist.DistStoreError)):
        return True
    words = ("gloo", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


class _Child:
    def __init__(self, rank: int, content: bytes) -> None:
        self.rank = rank
        self.is_ready = threading.Event()
        self.report: Report | None = None
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        assert self.process.stdin is not None
        with suppress(OSError):  # it is gone already: its exit code tells
            self.process.stdin.write(content)
            self.process.stdin.flush()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with suppress(EOFError, OSError, ValueError, pickle.UnpicklingError):
            while True:
                word = pickle.load(self.process.stdout)
                if isinstance(word, Report):
                    self.report = word
                else:
                    self.is_ready.set()

    def failure(self) -> Report | None:
        """Why it stopped; None if it runs or is done."""
        code = self.process.poll()
        if not code:
            return None
        self._listener.join(0.5)  # what it said last may still be on its way
        if self.report is not None:
            message = f"{self.report.message} [rank {self.rank}]"
            return Report(message, self.report.is_consequence)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        hint = ", perhaps for lack of memory" if code == -signal.SIGKILL else ""
        return Report(f"the process of rank {self.rank} {how}{hint}", is_consequence=False)


class Children:
    """The processes of a machine beside the one that started them.

    Args:
        contents: what each gets, pickled, and its rank.
        last: the checkpoint to continue from, named in messages if it is there.
    """

    def __init__(self, contents: Sequence[tuple[int, bytes]], last: Path) -> None:
        self._last = last
        self._is_over = threading.Event()
        self._children = [_Child(rank, content) for rank, content in contents]
        threading.Thread(target=self._watch, daemon=True).start()

    def wait_ready(self) -> None:
        """Returns when all are about to join.

        Raises:
            RankError: one stopped before.
        """
        deadline = time.monotonic() + START
        for child in self._children:
            while not child.is_ready.wait(0.1):
                if (failure := self.failure()) is not None:
                    raise self.error(failure)
                if time.monotonic() > deadline:
                    raise RankError(f"the process of rank {child.rank} does not start")

    def failure(self) -> Report | None:
        """Why the first one stopped that did; None if none has."""
        found = [f for child in self._children if (f := child.failure()) is not None]
        causes = [failure for failure in found if not failure.is_consequence]
        return next(iter(causes or found), None)

    def explain(self, error: BaseException) -> BaseException:
        """The error behind one of this process: that of another, if one has stopped."""
        if not is_lost_connection(error):
            return error
        deadline = time.monotonic() + VERDICT
        while time.monotonic() < deadline:
            failure = self.failure()
            if failure is not None and not failure.is_consequence:
                return self.error(failure)
            time.sleep(0.1)
        failure = self.failure()
        return error if failure is None else self.error(failure)

    def error(self, failure: Report) -> RankError:
        """A failure with what to do."""
        if not self._last.is_file():
            return RankError(failure.message)
        return RankError(
            f"{failure.message}; {self._last} is whole: continue with "
            f"--resume {self._last.parent.parent}"
        )

    def join(self) -> None:
        """Waits until all are done."""
        for child in self._children:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(GRACE)

    def stop(self) -> None:
        """Ends all that still run."""
        self._is_over.set()
        for child in self._children:
            child.process.kill()
        for child in self._children:
            child.process.wait()
            for pipe in (child.process.stdin, child.process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()

    def _watch(self) -> None:
        """Ends this process too, if another one has stopped and it does not notice."""
        since: float | None = None
        while not self._is_over.wait(0.25):
            failure = self.failure()
            if failure is None:
                continue
            since = since or time.monotonic()
            if time.monotonic() - since > GRACE:
                print(f"error: {self.error(failure)}", file=sys.stderr, flush=True)
                for child in self._children:
                    child.process.kill()
                os._exit(2)  # its main thread waits in a library, where no exception reaches it


def pack(value: Any) -> bytes:
    """What is sent to a process.

    Raises:
        ConfigError: it holds something of the user's that another process cannot find.
    """
    try:
        content = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        if b"__main__" in content:
            raise TypeError("it is defined in the script itself")
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"several processes need a transform that each can import ({error}); "
            "put it into a module of its own"
        ) from error
    return content
