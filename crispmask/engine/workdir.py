"""Where a run writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from crispmask.config import TrainConfig
from crispmask.errors import ConfigError
from crispmask.models.table import canonical_model

RESULTS = ("results.csv", "metrics.json", "weights/best.pt", "weights/last.pt")
"""Files that show that a folder holds a run."""

LOCK = ".lock"
"""File in the folder of a run that is locked by the process that writes there, while it lives."""


@dataclass(frozen=True, slots=True)
class WorkDir:
    """The folder of a run.

    Attributes:
        path: where this run writes.
        previous: the newest folder of the same name that holds a run already, if any.
    """

    path: Path
    previous: Path | None = None

    @property
    def best(self) -> Path:
        """Checkpoint of the best validation."""
        return self.path / "weights" / "best.pt"

    @property
    def last(self) -> Path:
        """Checkpoint with everything needed to continue."""
        return self.path / "weights" / "last.pt"

    def epoch(self, number: int) -> Path:
        """Checkpoint kept of an epoch, for `--save-period`."""
        return self.path / "weights" / f"epoch{number}.pt"

    @property
    def annotations(self) -> Path:
        """Folder of the COCO annotation files."""
        return self.path / "annotations"


def choose_work_dir(config: TrainConfig) -> WorkDir:
    """The folder asked for, with _2, _3 ... added if runs are there already.

    An interrupted run counts as one: its last.pt is somebody's work. So does one that has only
    just begun in another process.

    Raises:
        ConfigError: a file has that name.
    """
    wanted = Path(
        f"work_dirs/{config.architecture}_{canonical_model(config.architecture, config.model)}"
        if config.work_dir == "auto"
        else config.work_dir
    )
    if wanted.name in ("", ".."):  # "." and the like have no name to number
        wanted = wanted.resolve()
    path, previous, number = wanted, None, 1
    while _holds_run(path) or _is_held(path):
        previous, number = path, number + 1
        path = wanted.with_name(f"{wanted.name}_{number}")
    if path.exists() and not path.is_dir():
        raise ConfigError(f"--work-dir {path}: a file has that name; choose a folder")
    return WorkDir(path, previous)


def _holds_run(path: Path) -> bool:
    return any((path / name).is_file() for name in RESULTS)


@contextmanager
def held(work_dir: WorkDir) -> Iterator[None]:
    """Keeps other processes from writing into the folder of a run; the end of this one frees it.

    A folder that stays empty is removed again. Where the file system knows no locks, nothing is
    locked.

    Raises:
        ConfigError: another process is training there.
    """
    new = [path for path in (work_dir.path, *work_dir.path.parents) if not path.exists()]
    lock = FileLock(work_dir.path / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError(
            f"{work_dir.path}: another process is training in this folder; "
            "wait until it ends, or stop it"
        ) from None
    except (OSError, NotImplementedError):
        pass  # a folder nobody may write to is reported by what is written first
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # on Windows a file that is open stays
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()
        for path in new:
            with suppress(OSError):  # it holds something, or was never made
                path.rmdir()


def _is_held(path: Path) -> bool:
    """Whether another process is training in a folder."""
    if not (path / LOCK).is_file():
        return False
    lock = FileLock(path / LOCK, timeout=0)
    try:
        with lock:
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
