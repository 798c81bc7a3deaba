"""Notices every attempt to write below a folder, whether it succeeds or not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

CHANGES = ("mkdir", "rename", "remove", "rmdir", "symlink", "link", "utime", "chmod", "truncate")
_watched: dict[str, list[str]] = {}
_installed: list[bool] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if not _watched:
        return
    if event == "open":
        writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
        flags = arguments[2]
        places = arguments[:1] if isinstance(flags, int) and flags & writes else ()
    elif event.removeprefix("os.") in CHANGES:
        places = arguments[:2]
    else:
        return
    for place in places:
        if not isinstance(place, (str, bytes)):
            continue
        path = os.path.abspath(os.fsdecode(place))
        for folder, found in _watched.items():
            if path == folder or path.startswith(folder + os.sep):
                found.append(f"{event} {path}")


@contextmanager
def watched(folder: str | os.PathLike[str]) -> Iterator[list[str]]:
    """Gives the attempts made inside the block, by this process and those it forks."""
    if not _installed:  # a hook stays for good
        sys.addaudithook(_hook)
        _installed.append(True)
    folder = os.path.abspath(folder)
    _watched[folder] = []
    try:
        yield _watched[folder]
    finally:
        del _watched[folder]
