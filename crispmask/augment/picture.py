"""Samples whose pixels are still to be painted, by a device that has the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crispmask.augment.colour import Tables, change_colours, tables_of
from crispmask.augment.paint import GREY
from crispmask.augment.pieces import Layer, Piece, are_enlarged, cut_piece
from crispmask.augment.pipeline import Plan
from crispmask.types import Polygons


@dataclass(frozen=True, slots=True)
class Picture:
    """How the pixels of a sample come about, without a pixel: a few kilobytes.

    Attributes:
        imgsz: side of the output.
        scenes: the pieces of each, later ones on top of earlier ones.
        ratio: weight of the first scene, where there are two.
        colours: change of colours.
        is_early: whether the windows of pieces change their colours, and not the output.
        grey: RGB of what no piece fills, before what is left of the change of colours.
    """

    imgsz: int
    scenes: tuple[tuple[Piece, ...], ...]
    ratio: float
    colours: Tables
    is_early: bool
    grey: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Unpainted:
    """A sample but for its pixels.

    Attributes:
        picture: how they come about.
        polygons: N instances, pixels of the image to be.
        labels: (N,) int64.
        index: as of `Sample`.
    """

    picture: Picture
    polygons: Polygons
    labels: NDArray[np.int64]
    index: int


def unpainted(plan: Plan) -> Unpainted:
    """What is left to do of a plan, decided as the painter of this package does it."""
    scenes = tuple(_pieces(scene.layers, plan.imgsz) for scene in plan.scenes)
    is_early = len(scenes) == 1 and are_enlarged(scenes[0], plan.imgsz)
    grey = np.full((1, 1, 3), GREY, dtype=np.uint8)
    if is_early:
        grey = change_colours(grey, plan.colours)
    red, green, blue = grey[0, 0].tolist()
    picture = Picture(
        plan.imgsz, scenes, plan.ratio, tables_of(plan.colours), is_early, (red, green, blue)
    )
    return Unpainted(picture, plan.polygons, plan.labels, plan.index)


def _pieces(layers: Sequence[Layer], imgsz: int) -> tuple[Piece, ...]:
    return tuple(piece for layer in layers if (piece := cut_piece(layer, imgsz)) is not None)
