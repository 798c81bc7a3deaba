"""The changes of a training sample, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.augment.affine import Matrix, affine_matrix, draw_affine, mirror
from crispmask.augment.colour import Colours, change_colours, draw_colours
from crispmask.augment.copy_paste import choose_pasted
from crispmask.augment.mixup import blend, draw_mixup_ratio
from crispmask.augment.mosaic import draw_mosaic, mosaic_tiles
from crispmask.augment.paint import paint
from crispmask.augment.pieces import Layer
from crispmask.augment.tiles import Tile, place_instances, whole_tile
from crispmask.augment.transform import Transform, apply_transform
from crispmask.config import AugmentConfig
from crispmask.types import Polygons, Sample

Load = Callable[[int], Sample]


@dataclass(frozen=True, slots=True)
class Scene:
    """Images on their way to the output, and the instances that arrive.

    Attributes:
        layers: what is painted, later ones on top.
        polygons: N instances, output pixels.
        labels: (N,) int64.
    """

    layers: tuple[Layer, ...]
    polygons: Polygons
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that was drawn for a sample: the pixels are still to be painted.

    Attributes:
        index: of the sample.
        imgsz: side of the output.
        scenes: one, or the two of a mixup.
        ratio: weight of the first scene.
        colours: change of colours.
    """

    index: int
    imgsz: int
    scenes: tuple[Scene, ...]
    ratio: float
    colours: Colours

    @property
    def polygons(self) -> Polygons:
        """The instances of all scenes, output pixels."""
        return tuple(parts for scene in self.scenes for parts in scene.polygons)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Their labels, (N,)."""
        return np.concatenate([scene.labels for scene in self.scenes])


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Mosaic, copy-paste, affine, mixup, the user's transform, colours, flips: Ultralytics' order.

    A flip commutes with all that comes between the warp and it, so it is part of the warp.

    Attributes:
        config: ranges and probabilities.
        imgsz: side of the square images that come out.
        transform: the user's own change.
    """

    config: AugmentConfig
    imgsz: int
    transform: Transform | None = None

    def __call__(
        self,
        load: Load,
        index: int,
        partners: Sequence[int],
        rng: np.random.Generator,
        out: NDArray[np.uint8] | None = None,
    ) -> Sample:
        """The changed sample, its image (imgsz, imgsz, 3).

        Args:
            load: gives the unchanged sample at a position; its image has any size, but
                nothing is gained by one larger than `imgsz`.
            index: position of the sample.
            partners: positions that the other images of mosaic and mixup are drawn from.
            rng: equal states give equal samples.
            out: (imgsz, imgsz, 3) that the image may be written to.
        """
        plan = self.plan(load, index, partners, rng)
        if len(plan.scenes) == 1 and self.transform is None:
            image = paint(plan.scenes[0].layers, self.imgsz, plan.colours, out)
            return Sample(image, plan.polygons, plan.labels, index)
        image = paint(plan.scenes[0].layers, self.imgsz)
        if len(plan.scenes) == 2:
            image = blend(image, paint(plan.scenes[1].layers, self.imgsz), plan.ratio)
        sample = Sample(image, plan.polygons, plan.labels, index)
        if self.transform is not None:
            image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGBA2RGB), dtype=np.uint8)
            sample = apply_transform(self.transform, replace(sample, image=image), rng)
        return replace(sample, image=change_colours(sample.image, plan.colours))

    def plan(
        self, load: Load, index: int, partners: Sequence[int], rng: np.random.Generator
    ) -> Plan:
        """Draws all numbers and moves the instances; arguments as when called."""
        config = self.config
        flip = mirror(
            width=self.imgsz if rng.random() < config.fliplr else None,
            height=self.imgsz if rng.random() < config.flipud else None,
        )
        scenes = [self._scene(load, index, partners, flip, rng)]
        ratio = 1.0
        if rng.random() < config.mixup:
            other = partners[int(rng.integers(len(partners)))]
            scenes.append(self._scene(load, other, partners, flip, rng))
            ratio = draw_mixup_ratio(rng)
        return Plan(index, self.imgsz, tuple(scenes), ratio, draw_colours(config, rng))

    def _scene(
        self,
        load: Load,
        index: int,
        partners: Sequence[int],
        flip: Matrix,
        rng: np.random.Generator,
    ) -> Scene:
        """Mosaic or single image, through one affine change."""
        if rng.random() < self.config.mosaic:
            mosaic = draw_mosaic(self.imgsz, partners, rng)
            samples = [load(i) for i in (index, *mosaic.partners)]
            tiles = mosaic_tiles(samples, mosaic, self.imgsz)
            source = (float(self.imgsz), float(self.imgsz))
            target = (self.imgsz / 2, self.imgsz / 2)
        else:
            tiles = [whole_tile(load(index), self.imgsz)]
            # About the middle of the image, not of the square with its padding.
            height, width = tiles[0].size
            source = target = (width / 2, height / 2)
        matrix = flip @ affine_matrix(draw_affine(self.config, rng), self.imgsz, source, target)
        return make_scene(tiles, matrix, self.imgsz, 2 * source[0], self.config.copy_paste)


def make_scene(
    tiles: Sequence[Tile],
    matrix: Matrix,
    imgsz: int,
    width: float = 0.0,
    copy_paste: float = 0.0,
) -> Scene:
    """Tiles with their instances, some of them pasted once more.

    Args:
        tiles: placed samples whose regions do not overlap.
        matrix: from the canvas to the output.
        imgsz: side of the output.
        width: of the canvas.
        copy_paste: fraction of the instances that may be pasted.
    """
    layers = [Layer(tile, matrix) for tile in tiles]
    visible = [tile.instances() for tile in tiles]
    instances = tuple(parts for of_tile in visible for parts in of_tile)
    owner = np.repeat(np.arange(len(tiles)), [len(of_tile) for of_tile in visible])
    labels = np.concatenate([tile.sample.labels for tile in tiles])
    placed, kept = place_instances(instances, matrix, imgsz)
    labels_placed = labels[kept]
    if copy_paste and instances:
        chosen = choose_pasted(instances, width, copy_paste)
        mirrored = matrix @ mirror(width=width)
        pasted, kept = place_instances(tuple(instances[i] for i in chosen), mirrored, imgsz)
        origin = np.array(chosen, dtype=np.int64)[kept]
        layers += [
            Layer(tiles[owner[i]], mirrored, parts)
            for i, parts in zip(origin.tolist(), pasted, strict=True)
        ]
        placed += pasted
        labels_placed = np.concatenate([labels_placed, labels[origin]])
    return Scene(tuple(layers), placed, labels_placed)
