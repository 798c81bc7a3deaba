"""The changes of a training sample, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from crispmask.augment.affine import affine_matrix, draw_affine
from crispmask.augment.colour import change_colours, draw_colours
from crispmask.augment.flip import flip_horizontal, flip_vertical
from crispmask.augment.mixup import draw_mixup_ratio, mix
from crispmask.augment.mosaic import draw_mosaic, mosaic_tiles
from crispmask.augment.tiles import render, whole_tile
from crispmask.config import AugmentConfig
from crispmask.types import Sample


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Mosaic, affine, mixup, colours, flips: the order of Ultralytics.

    Attributes:
        config: ranges and probabilities.
        imgsz: side of the square images that come out.
    """

    config: AugmentConfig
    imgsz: int

    def __call__(
        self,
        load: Callable[[int], Sample],
        index: int,
        num_samples: int,
        rng: np.random.Generator,
    ) -> Sample:
        """The changed sample, its image (imgsz, imgsz, 3).

        Args:
            load: gives the unchanged sample at a position; its image has any size, but
                nothing is gained by one larger than `imgsz`.
            index: position of the sample.
            num_samples: positions that partners are drawn from.
            rng: equal states give equal samples.
        """
        config = self.config
        sample = self._place(load, index, num_samples, rng)
        if rng.random() < config.mixup:
            other = self._place(load, int(rng.integers(num_samples)), num_samples, rng)
            sample = mix(sample, other, draw_mixup_ratio(rng))
        sample = replace(sample, image=change_colours(sample.image, draw_colours(config, rng)))
        if rng.random() < config.flipud:
            sample = flip_vertical(sample)
        if rng.random() < config.fliplr:
            sample = flip_horizontal(sample)
        return sample

    def _place(
        self,
        load: Callable[[int], Sample],
        index: int,
        num_samples: int,
        rng: np.random.Generator,
    ) -> Sample:
        """Mosaic or single image, through one affine change."""
        if rng.random() < self.config.mosaic:
            mosaic = draw_mosaic(self.imgsz, num_samples, rng)
            samples = [load(i) for i in (index, *mosaic.partners)]
            tiles = mosaic_tiles(samples, mosaic, self.imgsz)
            source = (float(self.imgsz), float(self.imgsz))
            target = (self.imgsz / 2, self.imgsz / 2)
        else:
            tiles = [whole_tile(load(index), self.imgsz)]
            # About the middle of the image, not of the square with its padding.
            height, width = tiles[0].size
            source = target = (width / 2, height / 2)
        matrix = affine_matrix(draw_affine(self.config, rng), self.imgsz, source, target)
        return render(tiles, matrix, self.imgsz)
