"""Files that are whole or not there: written beside their place and moved into it."""

from __future__ import annotations

import os
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


def remove_partial(folder: Path) -> None:
    """Removes what killed processes left half written in a folder, where there is any."""
    for path in folder.glob(f".*{_MARK}"):
        path.unlink(missing_ok=True)
