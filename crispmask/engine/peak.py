"""The peak memory of a process. No torch here: `crispmask compare` watches without it."""

from __future__ import annotations

import sys


def resident_mb(maxrss: int) -> float:
    """MiB of the `ru_maxrss` of a process, which is in bytes on macOS and in KiB elsewhere."""
    return maxrss / 2**20 if sys.platform == "darwin" else maxrss / 2**10
