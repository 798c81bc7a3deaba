"""Random rotation, size, shear and shift: the numbers and their matrix.

The order and the ranges are those of Ultralytics (ultralytics/data/augment.py): the content
is moved to the origin, rotated and scaled, sheared, then moved into the output.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crispmask.config import AugmentConfig


@dataclass(frozen=True, slots=True)
class Affine:
    """One drawn change.

    Attributes:
        degrees: rotation from +x to +y.
        scale: factor of both sides.
        shear: angles (along x, along y), degrees.
        shift: (x, y), fraction of the output's side.
    """

    degrees: float = 0.0
    scale: float = 1.0
    shear: tuple[float, float] = (0.0, 0.0)
    shift: tuple[float, float] = (0.0, 0.0)


def draw_affine(config: AugmentConfig, rng: np.random.Generator) -> Affine:
    """Draws each number uniformly from the range that its flag gives."""
    return Affine(
        degrees=rng.uniform(-config.degrees, config.degrees),
        scale=rng.uniform(1 - config.scale, 1 + config.scale),
        shear=(
            rng.uniform(-config.shear, config.shear),
            rng.uniform(-config.shear, config.shear),
        ),
        shift=(
            rng.uniform(-config.translate, config.translate),
            rng.uniform(-config.translate, config.translate),
        ),
    )


def affine_matrix(
    affine: Affine, imgsz: int, source: tuple[float, float], target: tuple[float, float]
) -> NDArray[np.float64]:
    """The (2, 3) matrix of a drawn change, both frames continuous pixels.

    Args:
        affine: the numbers.
        imgsz: side of the output, the unit of the shift.
        source: xy of the fixed point before, the centre of the content.
        target: xy of the same point after, but for the shift.
    """
    angle = math.radians(affine.degrees)
    cos, sin = affine.scale * math.cos(angle), affine.scale * math.sin(angle)
    along_x, along_y = (math.tan(math.radians(angle)) for angle in affine.shear)
    linear = np.array([[1, along_x], [along_y, 1]]) @ np.array([[cos, -sin], [sin, cos]])
    centre = np.array(target) + np.array(affine.shift) * imgsz
    return np.column_stack([linear, centre - linear @ np.array(source)])


def compose(outer: NDArray[np.float64], inner: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (2, 3) matrix that applies `inner`, then `outer`."""
    linear = outer[:, :2] @ inner[:, :2]
    return np.column_stack([linear, outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def invert(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (2, 3) matrix of the inverse map."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])
