"""Masks with eight pixels to a byte: how targets at full resolution travel.

Letters: N instances, h and w mask pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from crispmask.geometry.raster import rasterise
from crispmask.types import Polygons, Size

CHUNK_PIXELS = 1 << 24
"""Pixels rasterised or summed at a time, one byte each: 16 MiB."""


@dataclass(frozen=True, slots=True)
class PackedMasks:
    """Bool masks, read by index like a tensor (N, h, w), in an eighth of the memory.

    Attributes:
        bits: (N, h, ceil(w / 8)) uint8, the leftmost pixel in the highest bit.
        width: w.
    """

    bits: Tensor
    width: int

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """The masks (n, h, w), bool, of an index (n,) of integers or a slice."""
        bits = self.bits[index]
        place = torch.arange(7, -1, -1, dtype=torch.uint8, device=bits.device)
        pixels = (bits[..., None] >> place).bitwise_and_(1)  # (n, h, ceil(w / 8), 8)
        return pixels.flatten(2)[..., : self.width].bool()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, h, w)."""
        return len(self.bits), self.bits.shape[1], self.width

    @property
    def device(self) -> torch.device:
        """Where the masks live."""
        return self.bits.device

    def split(self, counts: Sequence[int]) -> list[PackedMasks]:
        """The masks of each image."""
        return [replace(self, bits=bits) for bits in self.bits.split(list(counts))]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PackedMasks:
        """The same masks on `device`."""
        return replace(self, bits=self.bits.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> PackedMasks:
        """The same masks in page-locked memory."""
        return replace(self, bits=self.bits.pin_memory())

    @classmethod
    def cat(cls, masks: Sequence[PackedMasks]) -> PackedMasks:
        """The masks of several images, all of one size, one after the other."""
        return cls(torch.cat([m.bits for m in masks]), masks[0].width)


def rasterise_packed(polygons: Polygons, size: Size, stride: int) -> PackedMasks:
    """The masks `rasterise` makes, packed a few at a time; arguments as there."""
    h, w = -(-size[0] // stride), -(-size[1] // stride)
    bits = np.empty((len(polygons), h, -(-w // 8)), dtype=np.uint8)
    step = max(1, CHUNK_PIXELS // (h * w))
    for start in range(0, len(polygons), step):
        masks = rasterise(polygons[start : start + step], size, stride)
        bits[start : start + step] = np.packbits(masks, axis=2)
    return PackedMasks(torch.from_numpy(bits), w)
