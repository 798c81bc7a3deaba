"""Trainings as processes of their own: repeated only where they are not finished.

A process each, because then the peak memory is that of one model, and a crash costs one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crispmask.atomic import replacing
from crispmask.engine.peak import resident_mb
from crispmask.errors import CrispmaskError

REQUEST = "request.json"
"""What a run was asked for; a run of other settings is not mistaken for it."""

DONE = "done.json"
"""Written when a run has ended well: seconds and peak memory of its process."""


_ESCAPES = re.compile(r"\x1b\[[\d;]*[A-Za-z]|\r")


class JobError(CrispmaskError):
    """A training that failed, or a folder that holds another one."""


@dataclass(frozen=True, slots=True)
class Job:
    """A training to run.

    Attributes:
        name: for messages.
        folder: of its results.
        request: what is asked for, as plain values: a folder of another request is an error.
        start: the command that begins it.
        go_on: the command that continues it where it was interrupted; None begins again.
        environment: variables it needs beside those of this process.
        shows: what is shown of a line of its output, or None; all goes into log.txt.
    """

    name: str
    folder: Path
    request: Mapping[str, Any]
    start: Sequence[str]
    go_on: Callable[[], Sequence[str] | None] = lambda: None
    environment: Mapping[str, str] | None = None
    shows: Callable[[str], str | None] = lambda line: None


def run_job(job: Job, say: Callable[[str], None]) -> dict[str, float]:
    """Runs a job, or reads what it left if it is finished.

    Returns:
        `seconds` of all processes of the run, and `memory_mb`, the most of one.

    Raises:
        JobError: the command failed, or the folder holds a run of other settings.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    _check_request(job)
    done = job.folder / DONE
    if done.is_file():
        say(f"{job.name}: finished earlier, in {job.folder}")
        found: dict[str, float] = json.loads(done.read_text(encoding="utf-8"))
        return found
    _write(job.folder / REQUEST, dict(job.request))
    spent = job.folder / "spent.json"
    before: dict[str, float] = (
        json.loads(spent.read_text(encoding="utf-8"))
        if spent.is_file()
        else {"seconds": 0.0, "memory_mb": 0.0}
    )
    command = job.go_on() if spent.is_file() else None
    start = time.perf_counter()
    _write(spent, before)  # now: whatever happens, the next call tries to go on
    say(f"{job.name}: {'continued' if command else 'started'}, results in {job.folder}")
    code, memory = _run(command or job.start, job, say)
    result = {
        "seconds": before["seconds"] + time.perf_counter() - start,
        "memory_mb": max(before["memory_mb"], memory),
    }
    _write(spent, result)
    if code:
        raise JobError(f"{job.name} failed with exit code {code}; see {job.folder / 'log.txt'}")
    _write(done, result)
    return result


def _check_request(job: Job) -> None:
    path = job.folder / REQUEST
    if not path.is_file():
        return
    had = json.loads(path.read_text(encoding="utf-8"))
    wanted = json.loads(json.dumps(dict(job.request)))
    for key in sorted({*had, *wanted}):
        if had.get(key) != wanted.get(key):
            raise JobError(
                f"{job.folder} holds a run with {key} {had.get(key)}, not {wanted.get(key)}; "
                "name another --out, or delete the folder"
            )


def _run(command: Sequence[str], job: Job, say: Callable[[str], None]) -> tuple[int, float]:
    """Exit code and peak memory in MB of a command whose output goes into log.txt."""
    environment = {**os.environ, **(job.environment or {})}
    with (job.folder / "log.txt").open("a", encoding="utf-8") as log:
        try:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise JobError(f"{command[0]} cannot be run: {error.strerror}") from error
        assert process.stdout is not None
        reader = threading.Thread(target=_copy, args=(process.stdout, log, job, say), daemon=True)
        reader.start()
        try:
            # Not process.wait(): only this tells the memory of that one process.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        reader.join(timeout=10)
    return process.returncode, resident_mb(usage.ru_maxrss)


def _copy(stream: Any, log: Any, job: Job, say: Callable[[str], None]) -> None:
    for line in stream:
        log.write(line)
        log.flush()
        shown = job.shows(_ESCAPES.sub("", line).strip())
        if shown:
            say(f"  {shown}")


def _write(path: Path, content: Any) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
