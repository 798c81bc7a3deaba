"""Counts what would make the CPU wait for a GPU."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = ("aten::_local_scalar_dense", "aten::nonzero", "aten::_unique2", "aten::masked_select")


class CountSyncs(TorchDispatchMode):
    """Counts operations whose result, or its shape, a GPU would have to be asked for.

    `.item()`, `nonzero`, `unique`, an index that is a mask, and tensors made from Python numbers,
    which are copied to a GPU from memory that is not pinned.

    Attributes:
        counts: by name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.name().split(".")[0]
        by_mask = name.startswith("aten::index") and any(
            isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)
            for index in (args[1] if len(args) > 1 and isinstance(args[1], (list, tuple)) else ())
        )
        if name in WAITING or name == "aten::lift_fresh":
            self.counts[name] += 1
        elif by_mask:
            self.counts["index by a mask"] += 1
        return func(*args, **(kwargs or {}))

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())
