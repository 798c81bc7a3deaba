"""Files and folders that are whole or not there: written beside their place and moved into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crispmask.errors import OutputError

_MARK = ".partial"


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a path to write to, in the same folder; its file takes the place of `path`.

    If the writing fails or is interrupted, the file that was there stays. The folder must exist.

    Raises:
        OutputError: the disk is full, or the folder cannot be written to.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}{_MARK}")
    try:
        yield partial
        with partial.open("r+b") as file:  # Windows syncs only what is open for writing
            os.fsync(file.fileno())  # before the move: a crash must not leave an empty file
        os.replace(partial, path)
    except OSError as error:
        kept = "the older file is untouched; " if path.exists() else ""
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); {kept}"
            "free some space or choose another folder"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder to write to; what it holds then is at `path`.

    If the writing fails or is interrupted, nothing of it stays there.

    Args:
        path: a folder that is empty or does not exist.

    Raises:
        OSError: as the writing and moving do.
    """
    # Inside a folder that is there: it may be a mount or the current one, and has to stay.
    mine = f".{os.getpid()}{_MARK}"
    inside = path.exists()
    partial = path / mine if inside else path.with_name(f".{path.name}{mine}")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of a killed process of the same number
        partial.mkdir(parents=True)
        yield partial
        if inside:  # what describes the rest comes last
            for child in sorted(partial.iterdir(), key=Path.is_file):
                child.rename(path / child.name)
        else:
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_partial(folder: Path) -> None:
    """Removes what killed processes left half written in a folder, where there is any."""
    for path in folder.glob(f".*{_MARK}"):
        path.unlink(missing_ok=True)
