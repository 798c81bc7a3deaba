"""One thing to predict on: a picture, or a video with many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.errors import SourceError
from crispmask.sources.fetch import fetch_url

Image: TypeAlias = NDArray[np.uint8]

DEFAULT_FPS = 25.0
"""Of a video that does not say."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image.

    Attributes:
        name: for messages and results: a path, a URL, `stdin`, `array 1`.
        content: a path, a URL, the bytes of a file, or uint8 RGB (H, W, 3).
    """

    name: str
    content: Path | str | bytes | Image

    @property
    def path(self) -> PurePosixPath | Path:
        """What results are named after."""
        return _path_of(self.name)

    def read(self) -> Image:
        """The pixels as (H, W, 3) uint8 RGB.

        Raises:
            DatasetError: a file that is no image.
            SourceError: a URL that cannot be had, an array of another kind.
        """
        content = self.content
        if isinstance(content, np.ndarray):
            shape = content.shape
            if content.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
                raise SourceError(
                    f"an image is a uint8 RGB array (H, W, 3), not {content.dtype} {shape}"
                )
            return content
        from crispmask.data.images import decode_image, read_image  # Pillow; arrays need none

        if isinstance(content, Path):
            return read_image(content)
        data = fetch_url(content) if isinstance(content, str) else content
        return decode_image(np.frombuffer(data, dtype=np.uint8), Path(self.name))


@dataclass(frozen=True, slots=True)
class Video:
    """A video file, a stream or a camera; opened when its frames are asked for.

    Attributes:
        name: for messages and results.
        address: what OpenCV opens: a path, a URL, or the number of a camera.
        live: whether it goes on until it is interrupted.
    """

    name: str
    address: str | int
    live: bool = False

    @property
    def path(self) -> PurePosixPath | Path:
        """What results are named after."""
        return _path_of(self.name)

    def open(self) -> Frames:
        """Its frames.

        Raises:
            SourceError: OpenCV cannot open it.
        """
        return Frames(self)


class Frames:
    """The frames of an open video as (H, W, 3) uint8 RGB; a context manager.

    Attributes:
        fps: frames per second, `DEFAULT_FPS` if the video does not say.
        total: number of frames, 0 if the video does not say.
    """

    def __init__(self, video: Video) -> None:
        self._capture = cv2.VideoCapture(video.address)
        if not self._capture.isOpened():
            advice = (
                "no camera of this number that OpenCV can open"
                if isinstance(video.address, int)
                else "no stream that OpenCV can read; check that it is running"
                if video.live
                else "no video that OpenCV can read; convert it to MP4"
            )
            raise SourceError(f"{video.name}: {advice}")
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps < 1000 else DEFAULT_FPS  # streams say -1, NaN or 90000
        self.total = 0 if video.live else max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self) -> Iterator[Image]:
        while True:
            read, frame = self._capture.read()
            if not read:
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()


Source: TypeAlias = Picture | Video


def _path_of(name: str) -> PurePosixPath | Path:
    if "://" in name:
        return PurePosixPath(unquote(urlsplit(name).path) or urlsplit(name).netloc)
    return Path(name)
