"""Fitting images into the network's input: one scale for both sides, then padding."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.types import Size


def fit_size(original: Size, imgsz: int | Size, upscale: bool = True) -> Size:
    """The size an image takes to fit, with its ratio kept.

    Args:
        original: (height, width).
        imgsz: the longest side, or the (height, width) to fit inside.
        upscale: whether a small image grows.
    """
    height, width = original
    if isinstance(imgsz, int):
        scale = imgsz / max(height, width)
    else:
        scale = min(imgsz[0] / height, imgsz[1] / width)
    if not upscale:
        scale = min(scale, 1.0)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def resize_image(image: NDArray[Any], size: Size) -> NDArray[Any]:
    """The image at a new size, itself if it has that size already.

    Averages areas when it shrinks to half or less, where interpolation would skip pixels.

    Args:
        image: (H, W) or (H, W, C), a type OpenCV can resize.
        size: (height, width).
    """
    height, width = image.shape[:2]
    if (height, width) == size:
        return image
    shrinks = max(height / size[0], width / size[1]) >= 2
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized: NDArray[Any] = cv2.resize(image, (size[1], size[0]), interpolation=interpolation)
    return resized.reshape(*size, *image.shape[2:])  # OpenCV drops a channel axis of one


def pad_image(image: NDArray[Any], size: Size, value: tuple[float, float, float]) -> NDArray[Any]:
    """The image in the top left of a canvas.

    Args:
        image: (H, W, 3).
        size: (height, width) of the canvas, at least that of the image.
        value: RGB of the canvas; with floats the result is float32, with ints it keeps its type.
    """
    whole = all(isinstance(channel, (int, np.integer)) for channel in value)
    canvas = np.empty((*size, 3), dtype=image.dtype if whole else np.float32)
    paste_image(canvas, image, value)
    return canvas


def paste_image(
    canvas: NDArray[Any], image: NDArray[Any], value: tuple[float, float, float]
) -> None:
    """Fills a canvas with the image in its top left, and with `value` elsewhere.

    Args:
        canvas: (H, W, 3), overwritten.
        image: (h, w, 3), not larger.
        value: RGB.
    """
    height, width = image.shape[:2]
    canvas[:height, :width] = image
    canvas[height:] = value
    canvas[:height, width:] = value


def round_up(x: int, multiple: int) -> int:
    """The smallest multiple that is not below x."""
    return -(-x // multiple) * multiple


def letterbox(
    image: NDArray[Any], frame: int | Size, value: tuple[float, float, float]
) -> tuple[NDArray[Any], Size]:
    """An image as the input of a network, and its (height, width) in there without padding.

    Args:
        image: (H, W, 3).
        frame: longest side, or the (height, width) to fit into; the sides of the input are the
            next multiples of 32.
        value: RGB of the padding, as of `pad_image`.
    """
    valid = fit_size((image.shape[0], image.shape[1]), frame)
    height, width = valid if isinstance(frame, int) else frame
    size = (round_up(height, 32), round_up(width, 32))
    return pad_image(resize_image(image, valid), size, value), valid
