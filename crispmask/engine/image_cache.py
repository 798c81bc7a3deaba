"""Decoded images kept for the epochs to come, if they fit: in memory or on a disk."""

from __future__ import annotations

import logging
from typing import Literal

from rich.console import Console

from crispmask.data.index import DatasetIndex
from crispmask.data.pixel_fill import (
    cache_folder,
    decode_to_disk,
    decode_to_memory,
    find_on_disk,
    free_disk,
    free_memory,
)
from crispmask.data.pixels import PixelCache, layout_of
from crispmask.engine.progress import say, show_bar
from crispmask.errors import OutputError

MEMORY_SHARE = 0.8
"""Fraction of the free memory that images may take: training needs some, too."""

DISK_SHARE = 0.95
"""Fraction of the free disk that images may take."""

_logger = logging.getLogger(__name__)


def cache_images(
    mode: Literal["none", "ram", "disk"],
    split: str,
    index: DatasetIndex,
    imgsz: int,
    quick: bool,
    console: Console,
) -> PixelCache | None:
    """The images of a split, decoded.

    Where they do not fit the run goes on without: every sample is the same, it only takes
    longer, and a night of training is worth more than the promise of a flag.

    Args:
        mode: where to.
        split: its name.
        index: its images.
        imgsz: longest side.
        quick: whether a decoder may reduce large images, as in training.
        console: where the estimate and the progress are shown.
    """
    if mode == "none":
        return None
    layout = layout_of(index, imgsz)
    if mode == "disk" and (found := find_on_disk(index, imgsz, quick, layout)) is not None:
        say(
            console,
            f"cache     {split}: {size_in_words(layout.num_bytes)} decoded before, {found.path}",
        )
        return found
    folder = cache_folder()
    free = free_memory() if mode == "ram" else free_disk(folder)
    place = "memory" if mode == "ram" else f"{folder}"
    of_free = "" if free is None else f", {size_in_words(free)} are free"
    estimate = f"{len(index)} images take {size_in_words(layout.num_bytes)} of {place}{of_free}"
    say(console, f"cache     {split}: {estimate}")
    share = MEMORY_SHARE if mode == "ram" else DISK_SHARE
    if free is not None and layout.num_bytes > share * free:
        _without(mode, split, f"more than {share:.0%} of what is free")
        return None
    decode = decode_to_memory if mode == "ram" else decode_to_disk
    try:
        with show_bar(console, f"decoding {split}", len(index)) as bar:
            return decode(index, imgsz, quick, layout, bar.reach)
    except (OSError, OutputError) as error:
        _without(mode, split, str(error))
        return None


def _without(mode: str, split: str, reason: str) -> None:
    other = {
        "ram": "--cache disk needs none, a smaller --imgsz less",
        "disk": "free some space, or let CRISPMASK_CACHE name a folder with room",
    }[mode]
    _logger.warning(
        "--cache %s: going on without it for %s (%s), with the same results, only slower; %s",
        mode,
        split,
        reason,
        other,
    )


def size_in_words(num_bytes: int) -> str:
    """Bytes as people read them."""
    return f"{num_bytes / 2**30:.2f} GiB" if num_bytes >= 2**27 else f"{num_bytes / 2**20:.0f} MiB"
