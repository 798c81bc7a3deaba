"""Random colours: hue, saturation and value, then contrast and brightness."""

from __future__ import annotations

import math
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


def change_colours(
    image: NDArray[np.uint8],
    colours: Colours,
    channels: int = 3,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Applies the change of hue, saturation and value, then that of contrast and brightness.

    Args:
        image: (H, W, 3) uint8 RGB, or (H, W, 4) with a channel without meaning.
        colours: the numbers.
        channels: of the result; a fourth one has no meaning.
        out: where the result is written, if it has three channels and there is one.

    Returns:
        (H, W, channels) uint8.
    """
    hsv = colours.hue, colours.saturation, colours.value
    if colours.contrast == colours.brightness == 0:
        return change_hsv(image, *hsv, channels, out)
    # On three channels, which OpenCV changes six times as fast as four.
    image = change_contrast(change_hsv(image, *hsv), colours.contrast, colours.brightness, out)
    return _with_channels(image, channels)


def change_hsv(
    image: NDArray[np.uint8],
    hue: float,
    saturation: float,
    value: float,
    channels: int = 3,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Turns the hue by `hue` circles, multiplies saturation and value by 1 + their change.

    As Ultralytics does it (ultralytics/data/augment.py): hues of 8 bits count from 0 to 179, a
    turn is rounded down to whole steps, and what passes the range stays at its end.

    Args:
        image: (H, W, 3) uint8 RGB, or (H, W, 4) with a channel to drop.
        hue: shift, fraction of the colour circle.
        saturation: relative change.
        value: relative change.
        channels: of the result; a fourth one has no meaning.
        out: as of `change_colours`.
    """
    if hue == saturation == value == 0:
        return _with_channels(image, channels, out)
    steps, backwards = _hue_steps(hue)
    there, back = (
        (cv2.COLOR_BGR2HSV, cv2.COLOR_HSV2BGR)
        if backwards
        else (cv2.COLOR_RGB2HSV, cv2.COLOR_HSV2RGB)
    )
    hsv = cv2.cvtColor(image, there)  # drops a fourth channel
    hsv = _change_levels(np.asarray(hsv, dtype=np.uint8), steps, saturation, value)
    if channels == 4:
        return np.asarray(cv2.cvtColor(hsv, back, dstCn=4), dtype=np.uint8)
    return np.asarray(cv2.cvtColor(hsv, back, dst=hsv if out is None else out), dtype=np.uint8)


def _hue_steps(hue: float) -> tuple[int, bool]:
    """Whole steps the hue is turned by, and whether red and blue are exchanged for that.

    A table for each channel costs three times a linear change, which can only add, not wrap: but
    the way back from HSV takes hues up to 255. Where that is not enough, hues are turned the
    other way round the mirrored circle that exchanging red and blue makes.
    """
    steps = math.floor(180 * hue) % 180
    backwards = steps > 180 - steps
    return (180 - steps if backwards else steps), backwards


def _change_levels(
    hsv: NDArray[np.uint8], steps: int, saturation: float, value: float
) -> NDArray[np.uint8]:
    """Changes (H, W, 3) HSV in place."""
    if steps <= 255 - 179:
        # Half a level less: tables round down, this rounds to the nearest.
        change = np.diag([1, 1 + saturation, 1 + value])
        changed = cv2.transform(hsv, np.column_stack([change, [steps, -0.499, -0.499]]), dst=hsv)
    else:
        x = np.arange(256)
        columns = [(x + steps) % 180, x * (1 + saturation), x * (1 + value)]
        tables = np.stack(columns, axis=1).clip(0, 255).astype(np.uint8)
        changed = cv2.LUT(hsv, tables[None], dst=hsv)
    return np.asarray(changed, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Tables:
    """A change of colours for those who have no OpenCV, as what it makes of each level.

    Attributes:
        levels: (4, 256) uint8: of hue (0 to 179), saturation and value, then, of each channel of
            RGB, of contrast and brightness.
        changes_hsv: whether the first three change anything.
        backwards: whether red and blue are exchanged on the way to HSV and on the way back.
        changes_contrast: whether the last one changes anything.
    """

    levels: NDArray[np.uint8]
    changes_hsv: bool
    backwards: bool
    changes_contrast: bool


def tables_of(colours: Colours) -> Tables:
    """The tables of `change_colours`, made by what it uses itself."""
    every_level = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    steps, backwards = _hue_steps(colours.hue)
    hsv = _change_levels(every_level.copy(), steps, colours.saturation, colours.value)
    contrast = change_contrast(every_level, colours.contrast, colours.brightness)
    return Tables(
        np.concatenate([hsv[0].T, contrast[0, :, :1].T]),
        not colours.hue == colours.saturation == colours.value == 0,
        backwards,
        not colours.contrast == colours.brightness == 0,
    )


def change_contrast(
    image: NDArray[np.uint8],
    contrast: float,
    brightness: float,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Multiplies (H, W, 3) by 1 + `contrast`, adds 255 `brightness` and keeps to the range."""
    if contrast == brightness == 0:
        return image
    matrix = np.column_stack([np.eye(3) * (1 + contrast), np.full(3, 255 * brightness)])
    return np.asarray(cv2.transform(image, matrix, dst=out), dtype=np.uint8)


def _with_channels(
    image: NDArray[np.uint8], channels: int, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    if image.shape[2] == channels:
        return image
    conversion = cv2.COLOR_RGBA2RGB if channels == 3 else cv2.COLOR_RGB2RGBA
    out = out if channels == 3 else None
    return np.asarray(cv2.cvtColor(image, conversion, dst=out), dtype=np.uint8)
