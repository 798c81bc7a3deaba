"""Decoded images of a split in one file of bytes that all processes map: none holds a copy.

The file holds the images one after the other, then a byte per image that says whether it is
there, then the key it was written with. Letters: I images.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crispmask.data.array_file import DamagedFileError
from crispmask.data.images import read_image
from crispmask.data.index import DatasetIndex
from crispmask.data.labels import offsets_of
from crispmask.geometry.letterbox import fit_size, resize_image
from crispmask.types import Size


def stored_size(index: DatasetIndex, i: int, imgsz: int | Size) -> Size:
    """(height, width) that image i is reduced to before anything else; it never grows."""
    return fit_size(index.size(i), imgsz, upscale=False)


def load_image(index: DatasetIndex, i: int, imgsz: int | Size, quick: bool) -> NDArray[np.uint8]:
    """Image i, decoded and reduced to fit.

    Args:
        index: the split.
        i: position in it.
        imgsz: the longest side, or the (height, width) to fit inside.
        quick: whether a decoder may reduce large images, with slightly other pixels.

    Raises:
        DatasetError: the image cannot be read.
    """
    size = stored_size(index, i, imgsz)
    image = read_image(index.path(i), at_least=size if quick else None)
    return np.asarray(resize_image(image, size), dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each image lies.

    Attributes:
        sizes: (I, 2) int64, (height, width).
        offsets: (I + 1,) int64, bytes; image i is `offsets[i:i + 2]`.
    """

    sizes: NDArray[np.int64]
    offsets: NDArray[np.int64]

    @property
    def num_bytes(self) -> int:
        """Of all images."""
        return int(self.offsets[-1])


def layout_of(index: DatasetIndex, imgsz: int) -> Layout:
    """The images of a split at the size that training or validation at `imgsz` starts from."""
    sizes = np.array([stored_size(index, i, imgsz) for i in range(len(index))], dtype=np.int64)
    sizes = sizes.reshape(-1, 2)
    return Layout(sizes, offsets_of(3 * sizes.prod(axis=1)))


class Pixels(Protocol):
    """Images that need not be decoded any more."""

    def image(self, i: int, size: Size) -> NDArray[np.uint8] | None:
        """Image i as (height, width, 3), read-only; None if it is not there at this size."""


@dataclass(frozen=True, slots=True)
class PixelCache:
    """The images of a file, mapped into memory.

    Attributes:
        path: of the file; other processes map it again.
        key: it was written with.
        layout: of the images.
        pixels: (bytes,) uint8, read-only.
        present: (I,) bool; an image that could not be read is missing.
        holder: what keeps the file alive, if it has no place on a disk.
    """

    path: Path
    key: str
    layout: Layout
    pixels: NDArray[np.uint8]
    present: NDArray[np.bool_]
    holder: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return map_pixels, (self.path, self.key, self.layout)

    def image(self, i: int, size: Size) -> NDArray[np.uint8] | None:
        """Image i as (height, width, 3), read-only; None if it is not there at this size."""
        height, width = self.layout.sizes[i].tolist()
        if (height, width) != tuple(size) or not self.present[i]:
            return None
        first, end = self.layout.offsets[i : i + 2].tolist()
        return self.pixels[first:end].reshape(height, width, 3)


def end_of_file(present: NDArray[np.bool_], key: str) -> bytes:
    """What stands behind the images."""
    return present.tobytes() + key.encode()


def map_pixels(path: Path, key: str, layout: Layout, holder: Any = None) -> PixelCache:
    """The images of a file, in memory that all processes share.

    Args:
        path: of the file.
        key: it must have been written with.
        layout: of the images.
        holder: kept as long as the result.

    Raises:
        DamagedFileError: cut off, or written for something else.
        OSError: no such file, or it cannot be read.
    """
    num_images = len(layout.sizes)
    with path.open("rb") as file:
        expected = layout.num_bytes + num_images + len(key)
        if os.fstat(file.fileno()).st_size != expected:
            raise DamagedFileError("cut off")
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    end = content[layout.num_bytes :]
    if end[num_images:] != key.encode():
        raise DamagedFileError("made from something else")
    present = np.frombuffer(end[:num_images], dtype=bool)
    pixels = np.frombuffer(content, dtype=np.uint8, count=layout.num_bytes)
    return PixelCache(path, key, layout, pixels, present, holder)
