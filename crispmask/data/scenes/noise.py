"""Random textures of many scales, and the few image helpers the painters share."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.types import Size

Field = NDArray[np.float32]
"""One number per pixel (H, W), or a colour in linear light (H, W, 3)."""


def smooth_noise(rng: np.random.Generator, size: Size, cell: float | tuple[float, float]) -> Field:
    """Gaussian noise (H, W) that varies over about `cell` pixels (along y, x)."""
    cell_y, cell_x = cell if isinstance(cell, tuple) else (cell, cell)
    h, w = int(np.ceil(size[0] / cell_y)) + 3, int(np.ceil(size[1] / cell_x)) + 3
    grid = rng.standard_normal((h, w), dtype=np.float32)
    large = (max(int(w * cell_x), size[1]), max(int(h * cell_y), size[0]))
    # A random crop, so that the grid's lines fall elsewhere in each octave.
    field = _plain(cv2.resize(grid, large, interpolation=cv2.INTER_CUBIC))
    y = int(rng.integers(large[1] - size[0] + 1))
    x = int(rng.integers(large[0] - size[1] + 1))
    return field[y : y + size[0], x : x + size[1]]


def fractal_noise(
    rng: np.random.Generator,
    size: Size,
    cell: float | tuple[float, float],
    octaves: int = 4,
    gain: float = 0.55,
) -> Field:
    """Noise (H, W) of several scales, the coarsest first; about zero mean, unit deviation."""
    cell_y, cell_x = cell if isinstance(cell, tuple) else (cell, cell)
    total = np.zeros(size, dtype=np.float32)
    power = 0.0
    for octave in range(octaves):
        scale = 0.5**octave
        step = (max(cell_y * scale, 1.0), max(cell_x * scale, 1.0))
        total += gain**octave * smooth_noise(rng, size, step)
        power += gain ** (2 * octave)
    return total / np.float32(0.8 * np.sqrt(power))


def colour(r: float, g: float, b: float) -> Field:
    """An sRGB colour of 0 to 255 in linear light."""
    return (np.array([r, g, b], dtype=np.float32) / np.float32(255)) ** np.float32(2.2)


def mix(first: Field, second: Field, amount: Field | float) -> Field:
    """From `first` to `second` (3,) or (H, W, 3) as `amount` (H, W) or () goes from 0 to 1."""
    t = np.clip(np.asarray(amount, np.float32), 0, 1)[..., None]
    return first + (second - first) * t


def step(field: Field, start: float, end: float) -> Field:
    """A smooth step from 0 at `start` to 1 at `end`."""
    t = np.clip((field - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def blur(field: Field, sigma: float) -> Field:
    """A Gaussian blur of `sigma` pixels."""
    return _plain(cv2.GaussianBlur(field, (0, 0), max(float(sigma), 0.1)))


def slopes(height: Field) -> tuple[Field, Field]:
    """Rise of a height (H, W) in pixels per pixel along x and y."""
    kernel = np.array([[-0.5, 0, 0.5]], dtype=np.float32)
    across, down = cv2.filter2D(height, -1, kernel), cv2.filter2D(height, -1, kernel.T)
    return _plain(across), _plain(down)


def shrink(field: Field, size: Size) -> Field:
    """Averages a fine field over the pixels of a smaller one, (H, W)."""
    return _plain(cv2.resize(field, size[::-1], interpolation=cv2.INTER_AREA))


def warp(field: Field, matrix: NDArray[np.float64], size: Size, border: int) -> Field:
    """Moves a field by an affine `matrix` (2, 3) between pixel indices, to a new (H, W).

    Args:
        field: (h, w) or (h, w, C).
        matrix: from the old to the new indices.
        size: of the result.
        border: what lies outside, a border type of OpenCV.
    """
    moved = cv2.warpAffine(field, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderMode=border)
    return _plain(moved)


def _plain(image: NDArray[Any]) -> Field:
    """The same array; OpenCV's annotations do not say that float32 stays float32."""
    return np.asarray(image, dtype=np.float32)
