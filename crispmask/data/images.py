"""Reading image files; every format ends as upright uint8 RGB."""

from __future__ import annotations

import importlib
import importlib.util
import io
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from crispmask.errors import DatasetError
from crispmask.types import Size

_OPENCV_FORMATS = frozenset({"BMP", "JPEG", "JPEG2000", "MPO", "PNG", "TIFF", "WEBP"})
"""Formats of which OpenCV decodes the same pixels as Pillow, faster."""

_ENDINGS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
"""How a complete file ends; where it does not, Pillow finds out what is missing. Some releases
of OpenCV fill the rest of a cut image with grey and say nothing."""

_HEIF = {b"ftyp" + kind for kind in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1")}
"""Bytes 4 to 12 of images in HEIF, which some programs save with the name of a JPEG."""

HEIF_REMEDY = "cannot read HEIF; install pillow-heif or convert it to JPEG"

_REDUCED = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    1: cv2.IMREAD_GRAYSCALE,
}
"""How OpenCV decodes a JPEG smaller by these factors."""


def read_image(path: str | Path, at_least: Size | None = None) -> NDArray[np.uint8]:
    """The image as (H, W, 3) uint8 RGB.

    Turned upright as EXIF says; grey and palettes become RGB, 16 bits are scaled to 8, alpha is
    dropped.

    Args:
        path: of the file.
        at_least: (height, width) that are enough: the decoder of JPEG may then leave out the
            finest detail and give a half, a quarter or an eighth of the sides, much faster.

    Raises:
        DatasetError: missing, damaged or of an unknown format.
    """
    path = Path(path)
    return decode_image(read_bytes(path), path, at_least)


def read_bytes(path: Path) -> NDArray[np.uint8]:
    """The content of an image file.

    Raises:
        DatasetError: it is missing or cannot be read.
    """
    try:
        return np.fromfile(path, dtype=np.uint8)  # cv2.imread fails on some paths on Windows
    except OSError as error:
        raise _unreadable(path, error) from error


def decode_image(
    data: NDArray[np.uint8], path: Path, at_least: Size | None = None
) -> NDArray[np.uint8]:
    """What `read_image` returns, from the content of the file.

    Args:
        data: all bytes.
        path: its name, for the format and for messages.
        at_least: as of `read_image`.
    """
    try:
        header = _open(io.BytesIO(data.tobytes()), path)
    except Exception as error:  # decoders raise anything on damaged files
        pixels = _decode(data, cv2.IMREAD_COLOR)
        if pixels is None:
            raise _unreadable(path, error) from error
        return pixels
    with header:
        pixels = None
        factor, flag = _reduction(header, at_least)
        size = (-(-header.height // factor), -(-header.width // factor))
        if header.format in _OPENCV_FORMATS and _is_complete(header.format, data[-8:].tobytes()):
            pixels = _decode(data, flag | cv2.IMREAD_IGNORE_ORIENTATION)
        if pixels is None or pixels.shape[:2] != size:
            try:
                pixels = _decode_with_pillow(header)
            except Exception as error:  # as above
                raise _unreadable(path, error) from error
        return _turn_upright(pixels, _orientation(header))


@dataclass(frozen=True, slots=True)
class Glance:
    """An image, small and without colour.

    Attributes:
        size: (height, width) of what `read_image` returns.
        grey: (h, w) uint8, upright, up to 8 times smaller.
        orientation: as in EXIF, 1 for upright.
    """

    size: Size
    grey: NDArray[np.uint8]
    orientation: int


def glance_at_image(data: NDArray[np.uint8], path: Path, smallest: int = 64) -> Glance:
    """All of an image is decoded, but a JPEG not to its full size: three times as fast.

    Args:
        data: all bytes of the file.
        path: its name, for the format and for messages.
        smallest: side the reduced image has at least, if the image has it.

    Raises:
        DatasetError: where `decode_image` does.
    """
    try:
        with _open(io.BytesIO(data.tobytes()), path) as header:
            jpeg = header.format in ("JPEG", "MPO")
            side, size = min(header.size), (header.height, header.width)
            orientation = _orientation(header)
            complete = _is_complete(header.format, data[-8:].tobytes())
    except Exception:  # not for Pillow, perhaps for OpenCV
        jpeg, orientation = False, 1
    if jpeg and complete:
        factor = next(f for f in _REDUCED if f == 1 or side >= f * smallest)
        grey = _decode_grey(data, _REDUCED[factor] | cv2.IMREAD_IGNORE_ORIENTATION)
        if grey is not None and grey.shape == tuple(-(-length // factor) for length in size):
            size = size[::-1] if orientation >= 5 else size
            return Glance(size, _turn_upright(grey[:, :, None], orientation)[:, :, 0], orientation)
    pixels = decode_image(data, path)
    grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    return Glance((pixels.shape[0], pixels.shape[1]), grey, orientation)


def is_cut(data: NDArray[np.uint8], path: Path) -> bool:
    """Whether an image file has a header but lacks its end."""
    try:
        with _open(io.BytesIO(data.tobytes()), path) as header:
            return not _is_complete(header.format, data[-8:].tobytes())
    except Exception:  # not even a header
        return False


def image_size(path: str | Path) -> Size:
    """(height, width) of what `read_image` returns, from the header and the end of the file.

    Raises:
        DatasetError: missing, damaged or of an unknown format.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            try:
                header = _open(file, path)
            except Exception:  # not for Pillow, perhaps for OpenCV
                height, width = read_image(path).shape[:2]
                return height, width
            with header:
                height, width = header.height, header.width
                turned = _orientation(header) >= 5
                file.seek(max(-8, -os.fstat(file.fileno()).st_size), os.SEEK_END)
                if not _is_complete(header.format, file.read()):
                    header.load()
    except DatasetError:
        raise
    except Exception as error:  # decoders raise anything on damaged files
        raise _unreadable(path, error) from error
    return (width, height) if turned else (height, width)


def _reduction(header: Image.Image, at_least: Size | None) -> tuple[int, int]:
    """By what a decoder may divide the sides, and the flag of OpenCV that does it."""
    flags = {
        8: cv2.IMREAD_REDUCED_COLOR_8,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        2: cv2.IMREAD_REDUCED_COLOR_2,
    }
    if at_least and header.format in ("JPEG", "MPO"):
        for factor, flag in flags.items():
            # Divisible only: else the last pixels reach beyond the image, and shift the others.
            divides = header.width % factor == header.height % factor == 0
            if divides and max(header.size) >= factor * max(at_least):
                return factor, flag
    return 1, cv2.IMREAD_COLOR


def _open(file: IO[bytes], path: Path) -> Image.Image:
    if is_heif(path, file.read(12)):
        _register_heif()
    file.seek(0)
    return Image.open(file)


def is_heif(path: Path, start: bytes = b"") -> bool:
    """Whether a file is in the format of many phones, by its name or the first 12 bytes."""
    return path.suffix.lower() in (".heic", ".heif") or start[4:] in _HEIF


@cache
def _register_heif() -> None:
    """Lets Pillow read HEIF where the package for it is installed."""
    if importlib.util.find_spec("pillow_heif") is not None:
        importlib.import_module("pillow_heif").register_heif_opener()


def _is_complete(image_format: str | None, end: bytes) -> bool:
    return end.endswith(_ENDINGS.get(image_format or "", b""))


def _orientation(header: Image.Image) -> int:
    """The EXIF orientation from 1, upright, to 8."""
    if "exif" not in header.info or header.format == "TIFF":  # TIFF decoders turn by themselves
        return 1
    try:
        value = header.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF is no reason to reject the image
        return 1
    return value if value in range(1, 9) else 1


def _turn_upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The image as it was seen; orientations as in EXIF, tag 274."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _decode(data: NDArray[np.uint8], flags: int) -> NDArray[Any] | None:
    """RGB uint8 pixels, None where OpenCV cannot."""
    if not data.size:
        return None
    try:
        pixels = cv2.imdecode(data, flags)
    except cv2.error:
        return None
    return None if pixels is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _decode_grey(data: NDArray[np.uint8], flags: int) -> NDArray[np.uint8] | None:
    try:
        pixels = cv2.imdecode(data, flags)
    except cv2.error:
        return None
    return None if pixels is None else np.asarray(pixels, dtype=np.uint8)


def _decode_with_pillow(header: Image.Image) -> NDArray[np.uint8]:
    header.load()
    if header.mode.startswith("I;16"):
        grey = (np.asarray(header) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if header.mode in ("I", "F"):
        raise ValueError("32 bits per pixel have no known range, save it with 8 or 16")
    return np.array(header.convert("RGB"))


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(12)
    except OSError:
        return b""


def _unreadable(path: Path, error: Exception) -> DatasetError:
    if isinstance(error, FileNotFoundError):
        return DatasetError(f"{path}: no such image; correct the path")
    if is_heif(path, _start_of(path)):
        return DatasetError(f"{path}: {HEIF_REMEDY}")
    unknown = isinstance(error, UnidentifiedImageError)
    reason = "unknown format or damaged" if unknown else " ".join(str(error).split())
    return DatasetError(
        f"{path}: cannot be read as an image ({reason}); save it again or remove it"
    )
