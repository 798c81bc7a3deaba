"""Numbers that come a few at a time, image after image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Columns:
    """Columns of equal length that grow; one buffer each, not an array for each image.

    Args:
        dtypes: of the columns.
    """

    def __init__(self, *dtypes: DTypeLike) -> None:
        self._dtypes = [np.dtype(dtype) for dtype in dtypes]
        self._buffers = [bytearray() for _ in dtypes]

    def add(self, *values: NDArray[Any]) -> None:
        """Appends values to each column; of more dimensions, row after row."""
        for buffer, dtype, new in zip(self._buffers, self._dtypes, values, strict=True):
            buffer += new.astype(dtype, copy=False).tobytes()

    def arrays(self) -> list[NDArray[Any]]:
        """The columns so far, each flat. Nothing can be added while one of them is in use."""
        return [
            np.frombuffer(buffer, dtype) if buffer else np.zeros(0, dtype)
            for buffer, dtype in zip(self._buffers, self._dtypes, strict=True)
        ]
