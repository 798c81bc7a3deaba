"""What keeps work in chunks bounded on a CPU."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

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
    if (mallopt := _of_glibc("mallopt")) is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)


def return_free_pages() -> None:
    """Gives the memory of freed blocks below that threshold back to the system.

    A small block that stays, as each chunk leaves some to the graph of its gradients, is cut out
    of the hole that a large one has left. The next large block no longer fits there and goes to
    the end of the heap, so that it would still grow by a block per chunk.
    """
    if (malloc_trim := _of_glibc("malloc_trim")) is not None:
        malloc_trim(0)


@cache
def _of_glibc(name: str) -> Callable[..., Any] | None:
    """A function of the C library, if it is glibc."""
    if not sys.platform.startswith("linux"):
        return None
    function: Callable[..., Any] | None = getattr(ctypes.CDLL(None), name, None)
    return function  # None in other C libraries
