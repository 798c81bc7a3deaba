"""Images of a split for pictures of a run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crispmask.data.images import read_image
from crispmask.data.index import DatasetIndex
from crispmask.errors import DatasetError
from crispmask.geometry.letterbox import resize_image
from crispmask.types import Size

_GREY = 127


def small_image(index: DatasetIndex, i: int, size: Size) -> NDArray[np.uint8]:
    """Image i at a size, (H, W, 3) RGB; grey if its file cannot be read any more.

    Who reads it for training or validation has said so: a picture must not end the run.
    """
    try:
        return resize_image(read_image(index.path(i)), size)
    except DatasetError:
        return np.full((*size, 3), _GREY, dtype=np.uint8)
