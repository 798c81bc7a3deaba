"""What is printed on the cards."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.data.scenes.layout import Thing
from crispmask.data.scenes.noise import Field, fractal_noise, warp
from crispmask.types import Size

_INKS = ((186, 44, 52), (32, 78, 148), (24, 116, 112), (212, 140, 30), (120, 56, 128))
_PAPERS = ((244, 242, 236), (240, 232, 212), (232, 238, 242))


def draw_print(
    thing: Thing, matrix: NDArray[np.float64], size: Size, rng: np.random.Generator
) -> Field:
    """The colour (h, w, 3) of a card in linear light on the pixels of its crop.

    The card is drawn upright at about the resolution it is seen with, then put in place.
    """
    side = max(int(thing.diameter), 8)
    page = np.empty((side, side, 3), np.uint8)
    page[:] = _PAPERS[int(rng.integers(len(_PAPERS)))]
    inks = [_INKS[k] for k in rng.permutation(len(_INKS))[:2]]
    # The visible part of the page: the middle, as wide as the side and two thirds as high.
    top, bottom = int(0.2 * side), int(0.8 * side)
    match thing.shape.style:
        case "letter":
            cv2.rectangle(page, (0, 0), (side, int(0.31 * side)), inks[0], -1)
            _lines(page, int(0.4 * side), bottom - int(0.05 * side), 0.1, rng.uniform(0.5, 0.9))
        case "picture":
            _picture(page, inks[0], rng)
        case "stripes":
            for k in range(5):
                x = int((0.02 + 0.22 * k) * side)
                cv2.rectangle(page, (x, 0), (x + int(0.09 * side), side), inks[k % 2], -1)
            cv2.circle(
                page, (side // 2, side // 2), int(0.17 * side), (246, 244, 238), -1, cv2.LINE_AA
            )
            cv2.circle(page, (side // 2, side // 2), int(0.09 * side), inks[0], -1, cv2.LINE_AA)
        case "pips":
            for column in (0.2, 0.5, 0.8):
                for row in (0.36, 0.64):
                    centre = (int(column * side), int(row * side))
                    cv2.circle(page, centre, max(side // 14, 1), inks[0], -1, cv2.LINE_AA)
            box = (int(0.05 * side), int(0.22 * side)), (int(0.95 * side), int(0.78 * side))
            cv2.rectangle(page, *box, inks[0], max(side // 80, 1), cv2.LINE_AA)
        case _:
            cv2.rectangle(page, (int(0.26 * side), 0), (int(0.34 * side), side), inks[0], -1)
            cv2.rectangle(page, (int(0.9 * side), 0), (side, side), inks[0], -1)
            _lines(page, top + int(0.12 * side), bottom, 0.42, 0.84)
    linear = (page.astype(np.float32) / np.float32(255)) ** np.float32(2.2)
    linear *= 1 + 0.02 * fractal_noise(rng, (side, side), 4, 2)[..., None]
    # The page's pixel (a, b) is the shape's point (a / side - 1/2, b / side - 1/2); OpenCV
    # counts from the centre of the first pixel.
    to_unit = np.array(
        [[1 / side, 0, 0.5 / side - 0.5], [0, 1 / side, 0.5 / side - 0.5], [0, 0, 1]]
    )
    forward = matrix @ to_unit
    forward[:, 2] -= 0.5
    return warp(linear, forward, size, cv2.BORDER_REPLICATE)


def _lines(page: NDArray[np.uint8], top: int, bottom: int, left: float, right: float) -> None:
    """Lines of text too small to read."""
    side = len(page)
    gap = max(side // 13, 3)
    for number, y in enumerate(range(top, bottom, gap)):
        end = right - 0.12 * ((number * 7) % 3)
        cv2.line(
            page,
            (int(left * side), y),
            (int(end * side), y),
            (92, 92, 98),
            max(side // 60, 1),
            cv2.LINE_AA,
        )


def _picture(page: NDArray[np.uint8], ink: tuple[int, int, int], rng: np.random.Generator) -> None:
    """A framed landscape: sky, sun and hills."""
    side = len(page)
    a, b, c, d = int(0.24 * side), int(0.76 * side), int(0.06 * side), int(0.94 * side)
    sky = np.linspace(0, 1, b - a)[:, None, None]
    page[a:b, c:d] = ((1 - sky) * [70, 130, 190] + sky * [226, 214, 190]).astype(np.uint8)
    view = page[a:b, c:d]
    sun = (int(rng.uniform(0.2, 0.8) * (d - c)), int(0.3 * (b - a)))
    cv2.circle(view, sun, max(side // 16, 1), (250, 236, 170), -1, cv2.LINE_AA)
    x = np.linspace(0, 1, 40)
    for level, tone in ((0.6, 1.0), (0.78, 0.6)):
        hills = level + 0.09 * np.sin(x * rng.uniform(5, 10) + rng.uniform(0, 6))
        ridge = np.stack([x * (d - c), hills * (b - a)], axis=1)
        foot = [[d - c, b - a], [0, b - a]]
        outline = np.concatenate([ridge, foot]).astype(np.int32)
        cv2.fillPoly(view, [outline], [int(value * tone) for value in ink], cv2.LINE_AA)
