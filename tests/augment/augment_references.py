"""Generated samples, and slow ways to say what augmentation should give."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.augment.paint import GREY
from crispmask.augment.tiles import Tile
from crispmask.types import Part, Sample


def ring_of(x: float, y: float, radius: float, points: int = 64) -> Part:
    angles = 2 * math.pi * np.arange(points) / points
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return (np.array([x, y]) + radius * circle).astype(np.float32)


def smooth_sample(seed: int, height: int = 48, width: int = 64, index: int = 0) -> Sample:
    """Soft random colours; a ring with a hole and a second part, and a triangle."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    x, y = width * rng.uniform(0.3, 0.7), height * rng.uniform(0.3, 0.7)
    size = min(height, width)
    with_hole = (
        ring_of(x, y, 0.3 * size),
        ring_of(x, y, 0.15 * size),
        ring_of(width * 0.9, height * 0.9, 0.08 * size),
    )
    triangle = (np.array([[0, 0], [width * 0.4, 0], [0, height * 0.5]], dtype=np.float32),)
    return Sample(image, (with_hole, triangle), np.array([2, 0], dtype=np.int64), index)


def disc_sample(x: float, y: float, radius: float, size: int, index: int = 0) -> Sample:
    """A bright disc on black, its border as soft as a camera's, with its outline."""
    fine = (np.arange(size * 8) + 0.5) / 8
    inside = (fine[None] - x) ** 2 + (fine[:, None] - y) ** 2 <= radius**2
    coverage = inside.reshape(size, 8, size, 8).mean(axis=(1, 3))
    image = np.repeat((coverage * 255).round().astype(np.uint8)[..., None], 3, axis=2)
    outline = ring_of(x, y, radius, points=256)
    return Sample(image, ((outline,),), np.array([1], dtype=np.int64), index)


def empty_sample(height: int, width: int, value: int = 50, index: int = 0) -> Sample:
    image = np.full((height, width, 3), value, dtype=np.uint8)
    return Sample(image, (), np.zeros(0, dtype=np.int64), index)


def output_points(matrix: NDArray[np.float64], imgsz: int) -> NDArray[np.float64]:
    """(imgsz, imgsz, 2) canvas position of every output pixel's centre."""
    y, x = np.indices((imgsz, imgsz)) + 0.5
    points = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(matrix).T
    return points[..., :2] / points[..., 2:]


def inside_region(tile: Tile, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    x1, y1, x2, y2 = tile.region
    x, y = points[..., 0], points[..., 1]
    return (x >= x1) & (x < x2) & (y >= y1) & (y < y2)


def on_border(tile: Tile, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Points that rounding puts on either side of a border of the region."""
    x1, y1, x2, y2 = tile.region
    x, y = points[..., :1], points[..., 1:]
    return (abs(x - [x1, x2]) < 1e-9).any(-1) | (abs(y - [y1, y2]) < 1e-9).any(-1)


def own_points(tile: Tile, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Canvas points in pixels of the tile's image."""
    height, width = tile.sample.image.shape[:2]
    scale = np.array([tile.size[1] / width, tile.size[0] / height])
    return (points - np.array(tile.offset)) / scale


def bilinear(image: NDArray[np.uint8], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Image values at continuous positions, the border pixels continued outwards."""
    height, width = image.shape[:2]
    x = (points[..., 0] - 0.5).clip(0, width - 1)
    y = (points[..., 1] - 0.5).clip(0, height - 1)
    j, i = np.floor(x).astype(int), np.floor(y).astype(int)
    u, v = (x - j)[..., None], (y - i)[..., None]
    right, below = np.minimum(j + 1, width - 1), np.minimum(i + 1, height - 1)
    top = image[i, j] * (1 - u) + image[i, right] * u
    bottom = image[below, j] * (1 - u) + image[below, right] * u
    return top * (1 - v) + bottom * v


def contains(parts: Sequence[Part], points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points are inside by the even-odd rule, edge by edge."""
    x, y = points[..., 0], points[..., 1]
    inside = np.zeros(x.shape, dtype=bool)
    for part in parts:
        for (x0, y0), (x1, y1) in zip(part.tolist(), np.roll(part, -1, 0).tolist(), strict=True):
            if y0 != y1:
                passes = (y0 <= y) != (y1 <= y)
                inside ^= passes & (x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x)
    return inside


def render_slowly(
    tiles: Sequence[Tile], matrix: NDArray[np.float64], imgsz: int
) -> NDArray[np.float64]:
    """Looks up every output pixel on the canvas."""
    points = output_points(matrix, imgsz)
    image = np.full((imgsz, imgsz, 3), float(GREY))
    for tile in tiles:
        inside = inside_region(tile, points)
        image[inside] = bilinear(tile.sample.image, own_points(tile, points))[inside]
    return image
