"""The random states of a process, in builtin types and tensors.

Data come from generators of their own, seeded by (seed, epoch, index); these states matter
only to layers that draw, such as dropout, and to other libraries.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def get_rng_state() -> dict[str, Any]:
    """The states of Python, NumPy and torch, the GPUs included."""
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - as below
    return {
        "python": random.getstate(),
        "numpy": (name, [int(key) for key in keys], position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Puts states of `get_rng_state` back; those of GPUs only onto as many GPUs."""
    random.setstate(state["python"])
    name, keys, position, has_gauss, cached = state["numpy"]
    numpy_state = (name, np.array(keys, dtype=np.uint32), position, has_gauss, cached)
    np.random.set_state(numpy_state)  # noqa: NPY002 - the state other libraries draw from
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
