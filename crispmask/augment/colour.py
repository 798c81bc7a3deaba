"""Random colours. Both changes work value by value, so tables of 256 entries do them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.config import AugmentConfig


@dataclass(frozen=True, slots=True)
class Colours:
    """One drawn change of colours.

    Attributes:
        hue: shift, fraction of the colour circle.
        saturation: relative change.
        value: relative change.
        contrast: relative change.
        brightness: shift, fraction of full scale.
    """

    hue: float = 0.0
    saturation: float = 0.0
    value: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0


def draw_colours(config: AugmentConfig, rng: np.random.Generator) -> Colours:
    """Draws each number uniformly; contrast and brightness with their probability only."""
    hue, saturation, value = rng.uniform(-1, 1, size=3) * (
        config.hsv_h,
        config.hsv_s,
        config.hsv_v,
    )
    contrast, brightness = 0.0, 0.0
    if rng.random() < config.brightness_contrast_p:
        contrast = rng.uniform(-config.contrast, config.contrast)
        brightness = rng.uniform(-config.brightness, config.brightness)
    return Colours(float(hue), float(saturation), float(value), contrast, brightness)


def change_colours(image: NDArray[np.uint8], colours: Colours) -> NDArray[np.uint8]:
    """Applies the change of hue, saturation and value, then that of contrast and brightness.

    Args:
        image: (H, W, 3) uint8 RGB.
        colours: the numbers.
    """
    image = change_hsv(image, colours.hue, colours.saturation, colours.value)
    return change_contrast(image, colours.contrast, colours.brightness)


def change_hsv(
    image: NDArray[np.uint8], hue: float, saturation: float, value: float
) -> NDArray[np.uint8]:
    """Turns the hue by `hue` circles, multiplies saturation and value by 1 + their change.

    As Ultralytics does it (ultralytics/data/augment.py); OpenCV counts the hue of 8-bit
    images from 0 to 179.
    """
    if hue == saturation == value == 0:
        return image
    x = np.arange(256)
    tables = np.stack([(x + 180 * hue) % 180, x * (1 + saturation), x * (1 + value)], axis=1).clip(
        0, 255
    )
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv = cv2.LUT(hsv, tables.astype(np.uint8)[None])
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.uint8)


def change_contrast(
    image: NDArray[np.uint8], contrast: float, brightness: float
) -> NDArray[np.uint8]:
    """Multiplies by 1 + `contrast`, adds 255 `brightness` and keeps to the range."""
    if contrast == brightness == 0:
        return image
    table = (np.arange(256) * (1 + contrast) + 255 * brightness).round().clip(0, 255)
    return np.asarray(cv2.LUT(image, table.astype(np.uint8)), dtype=np.uint8)
