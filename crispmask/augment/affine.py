"""Random perspective, rotation, size, shear, shift and flips: the numbers and their matrix.

The order and the ranges are those of Ultralytics (ultralytics/data/augment.py): the content
is moved to the origin, tilted, rotated and scaled, sheared, then moved into the output; flips
come last. All matrices are (3, 3) and act on (x, y, 1), continuous pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crispmask.config import AugmentConfig

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Affine:
    """One drawn change.

    Attributes:
        degrees: rotation from +x to +y.
        scale: factor of both sides.
        shear: angles (along x, along y), degrees.
        shift: (x, y), fraction of the output's side.
        perspective: change of depth per pixel along (x, y).
    """

    degrees: float = 0.0
    scale: float = 1.0
    shear: tuple[float, float] = (0.0, 0.0)
    shift: tuple[float, float] = (0.0, 0.0)
    perspective: tuple[float, float] = (0.0, 0.0)


def draw_affine(config: AugmentConfig, rng: np.random.Generator) -> Affine:
    """Draws each number uniformly from the range that its flag gives."""

    def pair(limit: float) -> tuple[float, float]:
        return rng.uniform(-limit, limit), rng.uniform(-limit, limit)

    return Affine(
        degrees=rng.uniform(-config.degrees, config.degrees),
        scale=rng.uniform(1 - config.scale, 1 + config.scale),
        shear=pair(config.shear),
        shift=pair(config.translate),
        perspective=pair(config.perspective),
    )


def affine_matrix(
    affine: Affine, imgsz: int, source: tuple[float, float], target: tuple[float, float]
) -> Matrix:
    """The matrix of a drawn change.

    Its determinant is the change of area at the fixed point.

    Args:
        affine: the numbers.
        imgsz: side of the output, the unit of the shift.
        source: xy of the fixed point before, the centre of the content.
        target: xy of the same point after, but for the shift.
    """
    angle = math.radians(affine.degrees)
    cos, sin = affine.scale * math.cos(angle), affine.scale * math.sin(angle)
    along_x, along_y = (math.tan(math.radians(angle)) for angle in affine.shear)
    to_origin = translation(-source[0], -source[1])
    tilt = np.array([[1, 0, 0], [0, 1, 0], [*affine.perspective, 1]])
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    shear = np.array([[1, along_x, 0], [along_y, 1, 0], [0, 0, 1]])
    to_target = translation(
        target[0] + affine.shift[0] * imgsz, target[1] + affine.shift[1] * imgsz
    )
    return to_target @ shear @ turn @ tilt @ to_origin


def translation(x: float, y: float) -> Matrix:
    """The matrix of a shift."""
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def mirror(width: float | None = None, height: float | None = None) -> Matrix:
    """The matrix of a flip: x becomes `width` - x, y becomes `height` - y; None leaves as is."""
    matrix = np.eye(3)
    for axis, side in enumerate((width, height)):
        if side is not None:
            matrix[axis, axis], matrix[axis, 2] = -1, side
    return matrix


def is_affine(matrix: Matrix) -> bool:
    """Whether a matrix keeps parallels parallel; perspective does not."""
    return bool(matrix[2, 0] == matrix[2, 1] == 0)
