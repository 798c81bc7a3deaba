"""Where the weights are that a user names. No torch here."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from crispmask.models.hub import SCHEME, pull


def local_path(text: str | Path, offline: bool = False) -> Path:
    """The path a user means, also where it is written as a file:// URL or starts with `~`.

    What starts with hf:// is a repository of the Hugging Face Hub, and downloaded.

    Args:
        text: as the user wrote it.
        offline: take a repository from the cache only.

    Raises:
        WeightsError: a repository that cannot be had.
    """
    if isinstance(text, str) and text.startswith(SCHEME):
        return pull(text, offline)
    return _file(text)


def path_beside(text: str | Path, suffix: str) -> Path:
    """Where a file made of these weights goes: beside theirs, or if they are of the Hub here.

    Args:
        text: as the user wrote it.
        suffix: in place of that of the weights, such as `.onnx`.
    """
    if isinstance(text, str) and text.startswith(SCHEME):
        return Path(text.partition("@")[0].rpartition("/")[2] + suffix)
    path = _file(text)
    return path.with_name(f"{path.stem}{suffix}")


def _file(text: str | Path) -> Path:
    if isinstance(text, str) and text.startswith("file://"):
        return Path(url2pathname(unquote(urlsplit(text).path)))
    return Path(os.path.expanduser(text))  # Path.expanduser raises for users there are not
