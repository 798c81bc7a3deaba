"""One look at an image file: can it be decoded, how large is it, what does it show."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

import cv2

from crispmask.data.images import glance_at_image, image_size, is_cut, read_bytes
from crispmask.errors import DatasetError
from crispmask.types import Size

THUMB = (32, 36)
"""(height, width) of the picture in grey that near-duplicates are found with."""

_SMALLEST_SIDE = 32
_DAMAGE = re.compile(r"Corrupt JPEG data: (?!\d+ extraneous bytes).*|Premature end of JPEG.*")
"""What libjpeg says when it replaces missing pixels by grey. Bytes too many are harmless."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What one look at an image file gives.

    Attributes:
        size: (height, width) of the upright image, (0, 0) if it cannot be read.
        digest: hash of all bytes of the file, empty if it was not read whole.
        thumb: 32 x 36 grey values, empty if it was not decoded.
        findings: code and message of each problem.
    """

    size: Size
    digest: bytes
    thumb: bytes
    findings: tuple[tuple[str, str], ...]


def look_at(path: Path, decode: bool = True) -> Picture:
    """Reads an image file once.

    Args:
        path: of the file.
        decode: whether to read and decode all of it; else only its header and its end.
    """
    try:
        if not decode:
            size = image_size(path)
            return Picture(size, b"", b"", tuple(_about_size(size)))
        data = read_bytes(path)
        with Listener() as listener:
            glance = glance_at_image(data, path)
    except DatasetError as error:
        return Picture((0, 0), b"", b"", (_refusal(path, error),))
    findings = list(_about_size(glance.size))
    if glance.orientation > 1:
        findings.append(("image-turned", f"turned upright, EXIF orientation {glance.orientation}"))
    damage = _DAMAGE.search(listener.text)
    if damage:
        reason = damage[0].removeprefix("Corrupt JPEG data: ")
        findings.append(("image-damaged", f"parts of it are lost: {reason}"))
    thumb = cv2.resize(glance.grey, THUMB[::-1], interpolation=cv2.INTER_AREA)
    return Picture(glance.size, _digest(data.tobytes()), thumb.tobytes(), tuple(findings))


def file_digest(path: Path) -> bytes:
    """Hash of all bytes of a file, as in `Picture`; empty if it cannot be read."""
    try:
        return _digest(path.read_bytes())
    except OSError:
        return b""


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _about_size(size: Size) -> Iterator[tuple[str, str]]:
    height, width = size
    if min(size) < _SMALLEST_SIDE:
        yield "image-small", f"only {width} x {height} pixels"


def _refusal(path: Path, error: DatasetError) -> tuple[str, str]:
    """Code and message of an image that cannot be read."""
    message = str(error).removeprefix(f"{path}: ").partition("; ")[0]
    inside = re.fullmatch(r"cannot be read as an image \((.*)\)", message)
    message = inside[1] if inside else message
    try:
        data = read_bytes(path)
    except DatasetError:
        return "image-unreadable", message
    if not data.size:
        return "image-unreadable", "the file is empty"
    return "image-truncated" if is_cut(data, path) else "image-unreadable", message


class Listener:
    """What decoders print on standard error: they say nowhere else that pixels are lost.

    Attributes:
        text: all of it, once the block is left.
    """

    text = ""

    def __enter__(self) -> Listener:
        sys.stderr.flush()
        self._saved = os.dup(2)
        os.dup2(_pad().fileno(), 2)
        return self

    def __exit__(self, *error: object) -> None:
        os.dup2(self._saved, 2)
        os.close(self._saved)
        pad = _pad()
        if pad.seek(0, os.SEEK_END):
            pad.seek(0)
            self.text = pad.read().decode(errors="replace")
            pad.seek(0)
            pad.truncate()


@cache
def _pad() -> IO[bytes]:
    """A file for `Listener`, one per process."""
    return tempfile.TemporaryFile(buffering=0)
