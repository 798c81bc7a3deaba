"""What to predict on: which files a source means, and the frames of a video."""

from __future__ import annotations

from collections.abc import Iterator
from glob import glob, has_magic
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.data.places import IMAGE_SUFFIXES
from crispmask.errors import SourceError

VIDEO_SUFFIXES = frozenset(
    {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"}
)


def find_sources(source: str) -> list[Path]:
    """The image and video files a source means, sorted except those of a list.

    Args:
        source: an image or video file, a folder (its own files only), a glob pattern (`**`
            looks into folders), or a .txt list of paths, one per line, relative to the list
            or to the current folder; empty lines and those that begin with # are left out.

    Raises:
        SourceError: nothing to predict on.
    """
    path = Path(source)
    if path.is_dir():
        return _some((p for p in sorted(path.iterdir()) if _is_known(p)), source)
    if path.is_file() and path.suffix.lower() == ".txt":
        return _some(_read_list(path), source)
    if path.is_file():
        if not _is_known(path):
            raise SourceError(f"{path}: not an image, video, folder or .txt list")
        return [path]
    if has_magic(source):
        found = sorted(Path(name) for name in glob(source, recursive=True))
        return _some((p for p in found if _is_known(p)), source)
    raise SourceError(f"{source}: no such file or folder")


def is_video(path: Path) -> bool:
    """Whether a file is read as a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


class Video:
    """The frames of a video file as (H, W, 3) uint8 RGB.

    Attributes:
        fps: frames per second, 25 if the file does not say.
    """

    def __init__(self, path: Path) -> None:
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise SourceError(f"{path}: no video that OpenCV can read; convert it to MP4")
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or 25.0

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        while True:
            read, frame = self._capture.read()
            if not read:
                break
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
        self._capture.release()


def _is_known(path: Path) -> bool:
    return path.is_file() and (path.suffix.lower() in IMAGE_SUFFIXES or is_video(path))


def _some(paths: Iterator[Path], source: str) -> list[Path]:
    found = list(paths)
    if not found:
        raise SourceError(f"{source}: no images or videos there")
    return found


def _read_list(path: Path) -> Iterator[Path]:
    """The paths of a list as they stand: one that is missing is reported when it is read."""
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        name = line.strip()
        if name and not name.startswith("#"):
            beside = path.parent / name  # an absolute name replaces the folder
            yield beside if beside.exists() else Path(name)
