"""A function on many arguments at once, on all cores.

The processes are started as new Python programs that speak through pipes. The ways of
`multiprocessing` would not do: a fork of a process that has loaded torch may hang, and the others
run the user's script again, which then needs a main guard.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import IO, Any, TypeVar

A = TypeVar("A")
R = TypeVar("R")

_PROGRAM = "from crispmask.data.processes import serve; serve()"


class ProcessDiedError(Exception):
    """A process ended before it returned; `code` is its exit code, negative for a signal."""

    def __init__(self, code: int) -> None:
        super().__init__(f"a reading process ended with code {code}")
        self.code = code


def usable_cpus() -> int:
    """CPUs this process may use."""
    # Containers and job queues lend fewer CPUs than the machine has; only Linux tells.
    lent = getattr(os, "sched_getaffinity", None)
    return len(lent(0)) if lent else os.cpu_count() or 1


def map_in_processes(
    function: Callable[[A], R], arguments: Sequence[A], workers: int
) -> Iterator[R]:
    """The results of a function, in the order of its arguments.

    Args:
        function: of a module, so that another process finds it by name.
        arguments: what it is called with; they and the results must be picklable.
        workers: processes; below 2 everything happens in this one.

    Raises:
        ProcessDiedError: a process crashed or was killed.
    """
    workers = min(workers, len(arguments))
    if workers < 2:
        yield from map(function, arguments)
        return
    children: list[_Child] = []
    own = threading.local()

    def call(argument: A) -> R:
        if not hasattr(own, "child"):
            own.child = _Child()
            children.append(own.child)
        return own.child.call(function, argument)

    # A thread per process, which waits for it.
    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(call, arguments)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in children:
            child.stop()
        pool.shutdown()


class _Child:
    """A process that calls functions."""

    def __init__(self) -> None:
        places = [place or os.getcwd() for place in sys.path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
        # -P: what -c runs would take a user's signal.py in the current folder for that of Python.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def call(self, function: Callable[[A], R], argument: A) -> R:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            _send(stdin, (function, argument))
            done, value = _receive(stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            raise ProcessDiedError(self._process.wait()) from None
        if not done:
            raise value
        return value

    def stop(self) -> None:
        """Ends the process; it has nothing to lose."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was left to send has no reader
                    pipe.close()


def serve() -> None:
    """What a process does: calls what comes in until nothing does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and stops us
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints shall not get between the replies
    while True:
        try:
            function, argument = _receive(requests)
        except EOFError:
            return
        try:
            reply = (True, function(argument))
        except Exception as error:
            reply = (False, error)
        _send(replies, reply)


def _send(pipe: IO[bytes], value: Any) -> None:
    pickle.dump(value, pipe, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    return pickle.load(pipe)
