"""Where the things of a scene lie, and what of each can be seen: the labels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.data.scenes.shapes import CLASS_NAMES, Shape, draw_shape
from crispmask.geometry.outline import mask_to_parts
from crispmask.geometry.polygons import part_area
from crispmask.geometry.raster import rasterise
from crispmask.types import Part, Polygons, Size

SUPERSAMPLE = 4
"""Steps per pixel side at which the shapes are drawn and the labels measured."""

TOLERANCE = 0.25
"""Largest distance from a simplified outline to the measured one, pixels."""


@dataclass(frozen=True)
class Thing:
    """A shape with its pose.

    Attributes:
        shape: outline in its own frame.
        matrix: (2, 3) float64, from that frame to pixels of the image.
        diameter: pixels per unit of that frame before the camera tilt.
    """

    shape: Shape
    matrix: NDArray[np.float64]
    diameter: float

    @property
    def parts(self) -> tuple[Part, ...]:
        """The outline in pixels, whether visible or not."""
        linear, offset = self.matrix[:, :2], self.matrix[:, 2]
        return tuple((ring @ linear.T + offset).astype(np.float32) for ring in self.shape.rings)


@dataclass(frozen=True)
class Layout:
    """A scene before it is painted.

    Attributes:
        size: (H, W) of the image.
        tilt: height of a circle lying on the ground relative to its width.
        things: from the lowest to the topmost.
    """

    size: Size
    tilt: float
    things: tuple[Thing, ...]


def draw_layout(rng: np.random.Generator, imgsz: int, index: int) -> Layout:
    """A random scene whose longest side is `imgsz`.

    What is rare is scheduled by the index, so that small datasets have it too: 1 image in 16
    has no objects, 1 in 13 one that fills the frame, 1 in 9 tiny ones, 1 in 5 a strap on top.
    """
    short = int(imgsz * 0.75 + 0.5)
    size = ((short, imgsz), (imgsz, imgsz), (imgsz, short))[int(rng.integers(3))]
    tilt = float(rng.uniform(0.78, 1.0))
    if index % 16 == 9:
        return Layout(size, tilt, ())
    side = float(np.sqrt(size[0] * size[1]))
    count = int(rng.integers(2, 6))
    wanted: list[tuple[str, float]] = []
    if index % 13 == 4:
        wanted.append((_kind(index // 13), rng.uniform(1.05, 1.35) * imgsz))
        count = 1
    for k in range(count):
        kind = _kind(index + k) if k < 2 else str(rng.choice(CLASS_NAMES))
        # The more objects, the smaller they are.
        wanted.append((kind, side * rng.uniform(0.28, 0.44 + 0.4 / count)))
    if index % 9 == 7:
        for _ in range(int(rng.integers(2, 4))):
            wanted.append((str(rng.choice(CLASS_NAMES)), rng.uniform(6, 9)))
    if index % 5 == 2:
        wanted.append(("strap", 1.1 * imgsz))
    placer = _Placer(size, tilt)
    for kind, diameter in wanted:
        placer.place(kind, float(diameter), rng)
    return Layout(size, tilt, tuple(placer.things))


def _kind(number: int) -> str:
    return CLASS_NAMES[number % len(CLASS_NAMES)]


class _Placer:
    """Puts one thing after the other on top, as long as all others stay recognisable."""

    def __init__(self, size: Size, tilt: float) -> None:
        self.size = size
        self.tilt = tilt
        self.things: list[Thing] = []
        self.visible: list[NDArray[np.bool_]] = []
        self.areas: list[int] = []

    def place(self, kind: str, diameter: float, rng: np.random.Generator) -> None:
        """Tries some poses and takes the first that fits; leaves the thing out if none does."""
        height, width = self.size
        shape = draw_shape(kind, rng)
        small = diameter < 12
        spread = 0.12 if diameter > max(self.size) else 0.44
        for _ in range(16):
            angle = rng.uniform(0, 2 * np.pi)
            centre = np.array([0.5, 0.5]) + rng.uniform(-spread, spread, 2)
            thing = _pose(shape, diameter, angle, centre * [width, height], self.tilt)
            if kind == "strap" and self.things:
                target = self.things[int(rng.integers(len(self.things)))]
                thing = _pose(shape, diameter, angle, target.matrix[:, 2], self.tilt)
            mask = rasterise((thing.parts,), self.size)[0]
            inside = int(mask.sum())
            whole = abs(np.linalg.det(thing.matrix[:, :2])) * _area(shape)
            if kind != "strap" and spread > 0.2 and inside < 0.7 * whole:
                continue
            left = [int((other & ~mask).sum()) for other in self.visible]
            if small and any(
                now < seen.sum() for now, seen in zip(left, self.visible, strict=True)
            ):
                continue  # on its own it can be told from a mark on another object
            if all(now >= 0.5 * area for now, area in zip(left, self.areas, strict=True)):
                self.visible = [other & ~mask for other in self.visible] + [mask]
                self.areas.append(inside)
                self.things.append(thing)
                return


def _pose(
    shape: Shape, diameter: float, angle: float, centre: NDArray[np.float64], tilt: float
) -> Thing:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = np.diag([1.0, tilt]) @ turn * diameter
    return Thing(shape, np.concatenate([linear, np.reshape(centre, (2, 1))], axis=1), diameter)


def _area(shape: Shape) -> float:
    """Area of a shape whose further rings are all holes in the first."""
    first, *holes = (abs(part_area(ring.astype(np.float32))) for ring in shape.rings)
    return first - sum(holes)


def fine_masks(layout: Layout) -> list[NDArray[np.bool_]]:
    """The mask (4H, 4W) of each thing as if nothing lay on it, four steps per pixel side."""
    fine = (layout.size[0] * SUPERSAMPLE, layout.size[1] * SUPERSAMPLE)
    return [
        rasterise((tuple(part * SUPERSAMPLE for part in thing.parts),), fine)[0]
        for thing in layout.things
    ]


def visible_instances(
    layout: Layout, masks: list[NDArray[np.bool_]]
) -> tuple[Polygons, NDArray[np.int64]]:
    """Polygons in pixels and labels of what can be seen of each object.

    Args:
        layout: the scene.
        masks: its `fine_masks`.
    """
    polygons: list[tuple[Part, ...]] = []
    labels: list[int] = []
    covered = np.zeros([side * SUPERSAMPLE for side in layout.size], dtype=bool)
    for thing, mask in zip(reversed(layout.things), reversed(masks), strict=True):
        if thing.shape.kind in CLASS_NAMES:
            rings = (_smooth(ring) for ring in mask_to_parts(mask & ~covered))
            # Specks below a pixel are no use to anyone.
            parts = tuple(ring for ring in rings if len(ring) > 2 and abs(part_area(ring)) >= 1)
            if parts:
                polygons.append(parts)
                labels.append(CLASS_NAMES.index(thing.shape.kind))
        covered |= mask
    return tuple(polygons[::-1]), np.array(labels[::-1], dtype=np.int64)


def _smooth(ring: Part) -> Part:
    """Turns an outline of steps along fine pixels into a smooth one in image pixels.

    The middles of the steps lie closer to the curve that was rasterised than their corners.
    """
    steps = np.roll(ring, -1, axis=0) - ring
    lengths = np.abs(steps).sum(axis=1).astype(np.int64)
    edge = np.repeat(np.arange(len(ring)), lengths)
    along = np.arange(len(edge)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + 0.5
    middles = ring[edge] + steps[edge] * (along / lengths[edge])[:, None]
    fine = cv2.approxPolyDP(middles.astype(np.float32), TOLERANCE * SUPERSAMPLE, closed=True)
    return (fine[:, 0] / SUPERSAMPLE).astype(np.float32)
