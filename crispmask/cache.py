"""The folder of what is kept for the next time: downloads, and indexes of datasets."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

VARIABLE = "CRISPMASK_CACHE"
"""Environment variable that names another folder."""

_UNUSED_DAYS = 30
_PARTIAL_DAYS = 1


def default_folder() -> Path:
    """Where files are kept: CRISPMASK_CACHE, or crispmask in the user's cache folder."""
    if named := os.environ.get(VARIABLE):
        return Path(os.path.expanduser(named))
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(base)) / "crispmask"


def mark_used(path: Path) -> None:
    """Notes that a file was used now."""
    try:
        os.utime(path)
    except OSError:  # of another user, or on a disk that cannot be written
        return


def tidy(folder: Path, suffix: str) -> None:
    """Removes files of a cache folder not used for a month, and what killed processes left."""
    now = time.time()
    for pattern, days in ((f"*{suffix}", _UNUSED_DAYS), (".*.partial", _PARTIAL_DAYS)):
        for path in folder.glob(pattern):
            try:
                if now - path.stat().st_mtime > days * 86400:
                    path.unlink()
            except OSError:  # another process was faster, or holds it open
                continue


def newest_first(folder: Path, prefix: str, suffix: str) -> list[Path]:
    """The files `prefix-*suffix` of a cache folder: several states of the same thing."""
    times = {}
    for path in folder.glob(f"{prefix}-*{suffix}"):
        try:
            times[path] = path.stat().st_mtime
        except OSError:  # another process has removed it
            continue
    return sorted(times, key=lambda path: -times[path])


def remove_old(folder: Path, prefix: str, suffix: str, kept: int) -> None:
    """Removes all but the newest of the files `prefix-*suffix`, and what `tidy` does."""
    for path in newest_first(folder, prefix, suffix)[kept:]:
        try:
            path.unlink(missing_ok=True)
        except OSError:  # another process holds it open, on Windows
            continue
    tidy(folder, suffix)


def file_state(path: str) -> tuple[int, int]:
    """Size and time of the last change in nanoseconds; -1 and -1 if there is no such file."""
    try:
        found = os.stat(path)
    except OSError:  # what is wrong is said when the file is read
        return -1, -1
    return found.st_size, found.st_mtime_ns


def digest_of(*values: str | bytes | int) -> str:
    """The same for the same values."""
    digest = hashlib.blake2b(digest_size=16)
    for value in values:
        data = value if isinstance(value, bytes) else os.fsencode(str(value))
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()
