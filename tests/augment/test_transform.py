from __future__ import annotations

import random
from typing import Any

import cv2
import numpy as np
import pytest
from augment_references import disc_sample, empty_sample, smooth_sample
from numpy.typing import NDArray

from crispmask.augment.pipeline import Pipeline
from crispmask.augment.transform import apply_transform
from crispmask.config import AugmentConfig
from crispmask.errors import ConfigError
from crispmask.geometry.raster import rasterise
from crispmask.types import Sample


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def darken(image: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    image //= int(generator.integers(2, 5))  # in place: the array is its own
    return image


class Turn:
    """Turns by quarters, with the interface of Albumentations; `old` draws from `random`."""

    available_keys = frozenset({"image", "masks"})

    def __init__(self, quarters: int | None = 1) -> None:
        self.quarters = quarters
        self.generator = random.Random()

    def set_random_seed(self, seed: int) -> None:
        self.generator = random.Random(seed)

    def __call__(self, image: Any, masks: Any = None) -> dict[str, Any]:
        count = self.generator.randrange(4) if self.quarters is None else self.quarters
        turned = {"image": np.rot90(image, count)}
        if masks is not None:
            turned["masks"] = [np.rot90(mask, count) for mask in masks]
        return turned


class OldTurn(Turn):
    set_random_seed = None  # type: ignore[assignment]  # older ones have none

    def __init__(self) -> None:
        self.quarters = None
        self.generator = random  # type: ignore[assignment]  # a module, as theirs

    def __getattribute__(self, name: str) -> Any:
        if name == "set_random_seed":
            raise AttributeError(name)
        return super().__getattribute__(name)


def test_a_function_changes_pixels_only() -> None:
    sample = smooth_sample(0)
    before = sample.image.copy()
    changed = apply_transform(darken, sample, rng())
    np.testing.assert_array_equal(sample.image, before)
    np.testing.assert_array_equal(changed.image, before // int(rng().integers(2, 5)))
    assert changed.polygons is sample.polygons
    twice = apply_transform([darken, darken], sample, rng())
    assert twice.image.max() < changed.image.max()


def test_masks_go_with_the_image() -> None:
    sample = disc_sample(20, 30, 12, size=64)
    turned = apply_transform(Turn(), sample, rng())
    np.testing.assert_array_equal(turned.image, np.rot90(sample.image))
    np.testing.assert_array_equal(
        rasterise(turned.polygons, (64, 64)),
        np.rot90(rasterise(sample.polygons, (64, 64)), 1, (1, 2)),
    )
    assert turned.labels.tolist() == [1]


def test_what_does_not_move_keeps_its_polygons() -> None:
    sample = smooth_sample(2)
    same = apply_transform(Turn(0), sample, rng())
    assert all(a is b for a, b in zip(same.polygons, sample.polygons, strict=True))


def test_instances_that_leave_are_dropped() -> None:
    class Away(Turn):
        def __call__(self, image: Any, masks: Any = None) -> dict[str, Any]:
            return {"image": image, "masks": [masks[0], np.zeros_like(masks[1])]}

    sample = smooth_sample(2)
    left = apply_transform(Away(), sample, rng())
    assert left.labels.tolist() == [2]
    assert len(left.polygons) == 1


@pytest.mark.parametrize("transform", [Turn(None), OldTurn()])
def test_the_generator_decides_and_the_global_one_does_not(transform: Any) -> None:
    sample = disc_sample(20, 30, 12, size=64)
    state = random.getstate()
    images = []
    for seed in (0, 1, 2, 3, 0, 1, 2, 3):
        images.append(apply_transform(transform, sample, np.random.default_rng(seed)).image)
        if isinstance(transform, OldTurn):
            assert random.getstate() == state
    for first, second in zip(images[:4], images[4:], strict=True):
        np.testing.assert_array_equal(first, second)
    assert any((image != images[0]).any() for image in images)


def test_without_instances() -> None:
    turned = apply_transform(Turn(), empty_sample(8, 8), rng())
    assert turned.polygons == ()
    assert turned.labels.shape == (0,)


@pytest.mark.parametrize(
    ("result", "found"),
    [(np.zeros((4, 4, 3), np.uint8), "uint8 (4, 4, 3)"), (None, "NoneType")],
)
def test_wrong_results_are_told(result: Any, found: str) -> None:
    def broken(image: Any, generator: Any) -> Any:
        return result

    with pytest.raises(ConfigError, match="transform broken must return") as error:
        apply_transform(broken, smooth_sample(0), rng())
    assert found in str(error.value)


def test_the_pipeline_applies_it_before_colours_and_in_step() -> None:
    def red(image: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
        image[:] = (200, 0, 0)
        return image

    config = AugmentConfig(hsv_h=0.0, hsv_s=0.0)
    sample = Pipeline(config, 64, red)(
        lambda i: smooth_sample(i, index=i), 1, range(3), np.random.default_rng(0)
    )
    assert (sample.image == sample.image[0, 0]).all()
    assert sample.image[0, 0, 0] != 200
    discs = [disc_sample(60, 90, 40, size=160, index=k) for k in range(3)]
    config = AugmentConfig(hsv_v=0.0, brightness_contrast_p=0.0, mixup=0.0)
    for seed in range(4):
        turned = Pipeline(config, 160, Turn(None))(
            discs.__getitem__, 1, range(3), np.random.default_rng(seed)
        )
        bright = turned.image[..., 0] >= 128
        covered = rasterise(turned.polygons, (160, 160)).any(axis=0)
        assert (covered & ~bright).sum() <= 60


def test_real_albumentations() -> None:
    A = pytest.importorskip("albumentations", reason="albumentations is not installed")
    pipeline = A.Compose([A.HorizontalFlip(p=0.5), A.Affine(rotate=(-40, 40), p=1), A.Blur(p=0.5)])
    sample = disc_sample(20, 30, 12, size=64)
    results = [apply_transform(pipeline, sample, np.random.default_rng(k)) for k in (0, 1, 0)]
    for changed in results:
        bright = cv2.GaussianBlur(changed.image[..., 0], (3, 3), 0) >= 128
        (mask,) = rasterise(changed.polygons, (64, 64))
        assert (bright & mask).sum() / (bright | mask).sum() > 0.9
    np.testing.assert_array_equal(results[0].image, results[2].image)
    assert (results[0].image != results[1].image).any()


def test_samples_of_functions_are_repeatable() -> None:
    def load(i: int) -> Sample:
        return smooth_sample(i, index=i)

    pipeline = Pipeline(AugmentConfig(mixup=0.5), 64, [darken, Turn(None)])
    for seed in range(3):
        first, second = (
            pipeline(load, 0, range(3), np.random.default_rng(seed)).image for _ in range(2)
        )
        np.testing.assert_array_equal(first, second)
