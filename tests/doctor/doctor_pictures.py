"""Pictures and rows that the tests of the doctor make datasets of."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SQUARE = "0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5"
WEDGE = "0.6 0.2 0.9 0.3 0.7 0.8"


def picture(seed: int, height: int = 64, width: int = 96) -> np.ndarray:
    """Coloured clouds, different for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def write_picture(path: Path, image: np.ndarray, quality: int = 95) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, content = cv2.imencode(path.suffix, image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    content.tofile(path)
    return path
