"""Training images on the device that changes them, if they fit."""

from __future__ import annotations

from typing import Literal

import torch
from rich.console import Console

from crispmask.data.device_images import DeviceImages, decode_to_device
from crispmask.data.pixel_fill import free_memory
from crispmask.data.pixels import layout_of
from crispmask.engine.image_cache import MEMORY_SHARE, size_in_words
from crispmask.engine.prepare import Data
from crispmask.engine.progress import say, show_bar
from crispmask.errors import ConfigError

GPU_SHARE = 0.5
"""Fraction of the free memory of a GPU that images may take: training needs the rest."""


def keep_on_device(
    kind: Literal["none", "cpu", "cuda"],
    device: torch.device,
    data: Data,
    imgsz: int,
    console: Console,
) -> DeviceImages | None:
    """The training images, decoded, on the device that paints the batches; None: workers do.

    Args:
        kind: as asked for.
        device: that this process trains on.
        data: the splits.
        imgsz: longest side.
        console: where the estimate and the progress are shown.

    Raises:
        ConfigError: they do not fit, or there is no such device.
    """
    if kind == "none":
        return None
    if kind == "cuda" and device.type != "cuda":
        raise ConfigError(
            f"--augment-device cuda needs a GPU to train on, this run is on {device.type}: leave "
            "it out, or choose a GPU with --device"
        )
    device = device if kind == "cuda" else torch.device(kind)
    layout = layout_of(data.train, imgsz)
    free, share = free_bytes(device), GPU_SHARE if kind == "cuda" else MEMORY_SHARE
    of_free = "" if free is None else f", {size_in_words(free)} are free"
    takes = f"{len(data.train)} images take {size_in_words(layout.num_bytes)} of {device}{of_free}"
    say(console, f"augment   train: {takes}")
    if free is not None and layout.num_bytes > share * free:
        raise ConfigError(
            f"--augment-device {kind}: {takes}, of which they may have {share:.0%}; leave it out "
            "and give --cache ram, or lower --imgsz"
        )
    with show_bar(console, "decoding train", len(data.train)) as bar:
        return decode_to_device(data.train, imgsz, layout, device, data.train_pixels, bar.reach)


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a device; None if nobody tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_memory()
