"""What keeps work in chunks bounded on a CPU."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

LARGE_BLOCK = 8 << 20
"""Bytes from which a block goes back to the system as soon as it is freed."""

_M_MMAP_THRESHOLD = -3
"""Number of the option in glibc's malloc.h."""


@cache
def return_large_blocks() -> None:
    """Keeps glibc from hoarding the blocks of tensors that are made and freed in chunks.

    Left alone, its allocator moves blocks of up to 32 MiB to its heap once some were freed, and
    between the small ones that stay the heap grows with every chunk: by gigabytes over hundreds
    of chunks. A fixed threshold stops that. Other systems, and other allocators, are left alone.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)
    except (AttributeError, OSError):  # a C library without mallopt
        return
