"""The images of a split on the device that paints training images of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crispmask.data.index import DatasetIndex
from crispmask.data.pixels import Layout, PixelCache, load_image
from crispmask.data.processes import usable_cpus
from crispmask.errors import DatasetError
from crispmask.types import Size


@dataclass(frozen=True, slots=True)
class DeviceImages:
    """Decoded images, reduced as training starts from them.

    Attributes:
        layout: where each lies.
        pixels: (bytes,) uint8.
        problems: why an image is not there, by its position.
    """

    layout: Layout
    pixels: Tensor
    problems: Mapping[int, str]

    def image(self, i: int) -> Tensor:
        """Image i, (height, width, 3) uint8, a view."""
        height, width = self.layout.sizes[i].tolist()
        first, end = self.layout.offsets[i : i + 2].tolist()
        return self.pixels[first:end].view(height, width, 3)

    def blanks(self) -> Blanks:
        """What loading processes have to know of them."""
        return Blanks(self.layout.sizes, self.problems)


@dataclass(frozen=True, slots=True)
class Blanks:
    """Images that lie elsewhere: only their sizes.

    Attributes:
        sizes: (I, 2) int64, (height, width).
        problems: see `DeviceImages`.
    """

    sizes: NDArray[np.int64]
    problems: Mapping[int, str]

    def image(self, i: int, size: Size) -> NDArray[np.uint8]:
        """An array of the shape of image i that takes no memory, all black.

        Raises:
            DatasetError: the image could not be read when the others were.
        """
        height, width = self.sizes[i].tolist()
        assert (height, width) == tuple(size)
        if i in self.problems:
            raise DatasetError(self.problems[i])
        return np.broadcast_to(np.zeros((), dtype=np.uint8), (height, width, 3))


def decode_to_device(
    index: DatasetIndex,
    imgsz: int,
    layout: Layout,
    device: torch.device,
    kept: PixelCache | None,
    on_progress: Callable[[int], None],
) -> DeviceImages:
    """The images of a split on a device, decoded on all cores.

    Args:
        index: the split.
        imgsz: longest side.
        layout: of the images at that size.
        device: where to.
        kept: images decoded before.
        on_progress: told how many are done.
    """
    pixels = torch.empty(layout.num_bytes, dtype=torch.uint8, device=device)
    problems: dict[int, str] = {}

    def decode(i: int) -> None:
        height, width = layout.sizes[i].tolist()
        image = None if kept is None else kept.image(i, (height, width))
        try:
            image = load_image(index, i, imgsz, quick=True) if image is None else image
        except DatasetError as error:  # said when it is met in training
            problems[i] = str(error)
            return
        first, end = layout.offsets[i : i + 2].tolist()
        flat = torch.from_numpy(np.array(image).ravel())  # a copy: what is kept is read-only
        pixels[first:end].copy_(flat)

    with ThreadPoolExecutor(usable_cpus()) as pool:
        for done, _ in enumerate(pool.map(decode, range(len(index))), 1):
            on_progress(done)
    return DeviceImages(layout, pixels, problems)
