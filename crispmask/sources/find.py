"""Which pictures and videos a source means."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from crispmask.data.places import IMAGE_SUFFIXES
from crispmask.errors import SourceError
from crispmask.sources.fetch import content_type
from crispmask.sources.items import Image, Picture, Source, Video

VIDEO_SUFFIXES = frozenset(
    {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"}
)

_STREAMS = ("rtmp://", "rtmps://", "rtsp://", "rtsps://", "tcp://", "udp://")
_STDIN = "-"


def find_sources(source: str | Path | Image) -> list[Source]:
    """The pictures and videos a source means, sorted except those of a list.

    Args:
        source: one of

            - an image or video file, or a folder (its own files only);
            - a glob pattern; `**` looks into folders;
            - a .txt list of files and URLs, one per line, relative to the list or to the current
              folder; empty lines and those that begin with # are left out;
            - an http or https URL of an image or video;
            - the URL of a stream (rtsp, rtmp, tcp, udp; http if the server sends no image) or the
              number of a camera;
            - `-`: standard input, the bytes of one image, or else such a list;
            - uint8 RGB (H, W, 3).

    Raises:
        SourceError: nothing to predict on.
    """
    if isinstance(source, np.ndarray):
        return [Picture("array", source)]
    if isinstance(source, str):
        if source == _STDIN:
            return _from_stdin()
        if _is_url(source):
            return [_from_url(source)]
    path = Path(source)
    if path.is_dir():
        return _some((_file(p) for p in sorted(path.iterdir()) if _is_known(p)), str(source))
    if path.is_file() and path.suffix.lower() == ".txt":
        return _some(_from_list(_text_of(path), path.parent), str(source))
    if path.is_file():
        if not _is_known(path):
            raise SourceError(f"{path}: not an image, video, folder or .txt list")
        return [_file(path)]
    if str(source).isdecimal():
        return [Video(f"camera_{source}", int(str(source)), live=True)]
    if has_magic(str(source)):
        found = sorted(Path(name) for name in glob(str(source), recursive=True))
        return _some((_file(p) for p in found if _is_known(p)), str(source))
    raise SourceError(f"{source}: no such file or folder")


def find_all(sources: str | Path | Image | Iterable[str | Path | Image]) -> Iterator[Source]:
    """The pictures and videos of one source or of several, in their order."""
    if isinstance(sources, str | Path | np.ndarray):
        sources = [sources]
    for number, source in enumerate(sources, 1):
        if isinstance(source, np.ndarray):
            yield Picture(f"array {number}", source)
        else:
            yield from find_sources(source)


def is_video(path: Path) -> bool:
    """Whether a file is read as a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def _is_known(path: Path) -> bool:
    return path.is_file() and (path.suffix.lower() in IMAGE_SUFFIXES or is_video(path))


def _file(path: Path) -> Source:
    return Video(str(path), str(path)) if is_video(path) else Picture(str(path), path)


def _some(found: Iterable[Source], source: str) -> list[Source]:
    sources = list(found)
    if not sources:
        raise SourceError(f"{source}: no images or videos there")
    return sources


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:  # PowerShell writes UTF-16
        raise SourceError(
            f"{file}: not a list in UTF-8 ({error}); save it again as UTF-8"
        ) from error


def _from_list(text: str, folder: Path) -> Iterator[Source]:
    """The entries of a list as they stand: one that is missing is reported when it is read."""
    for line in text.splitlines():
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        if _is_url(name):
            # The server is not asked: a list may be long. What is no stream is an image.
            yield _by_suffix(name) or Picture(name, name)
        else:
            beside = folder / name  # an absolute name replaces the folder
            yield _file(beside if beside.exists() else Path(name))


def _from_stdin() -> list[Source]:
    content = sys.stdin.buffer.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:  # no image file is valid UTF-8 by chance: their headers are not
        return [Picture("stdin", content)]
    return _some(_from_list(text, Path()), "standard input")


def _is_url(text: str) -> bool:
    return text.lower().startswith(("http://", "https://", *_STREAMS))


def _from_url(url: str) -> Source:
    if found := _by_suffix(url):
        return found
    kind = content_type(url)
    if kind.startswith("image/"):
        return Picture(url, url)
    return Video(url, url, live=True)


def _by_suffix(url: str) -> Source | None:
    """What the scheme and the ending of a URL tell; None if they do not."""
    suffix = Path(urlsplit(url).path).suffix.lower()
    if url.lower().startswith(_STREAMS):
        return Video(url, url, live=True)
    if suffix in IMAGE_SUFFIXES:
        return Picture(url, url)
    if suffix in VIDEO_SUFFIXES:
        return Video(url, url)
    return None
