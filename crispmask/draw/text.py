"""Short texts as anti-aliased patches."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crispmask.draw.palette import Colour, text_colour

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

_OVERSAMPLING = 4


@cache
def load_font(pixels: int) -> FreeTypeFont | ImageFont:
    """A font with letters of most alphabets, `pixels` high."""
    # OpenCV's own letters are thin strokes and know no umlauts. Matplotlib ships DejaVu Sans; where
    # only exported models are run it may be missing, and Pillow's own font has to do.
    from PIL import ImageFont

    package = find_spec("matplotlib")
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), pixels)
    return ImageFont.load_default(pixels)


def text_width(text: str, pixels: int) -> float:
    """Width of a text in pixels."""
    return load_font(pixels).getlength(text)


def shorten(text: str, max_width: float, pixels: int) -> str:
    """The text, or its beginning and an ellipsis, at most `max_width` pixels wide.

    Empty if not even one letter fits.
    """
    if text_width(text, pixels) <= max_width:
        return text
    for end in range(len(text) - 1, 0, -1):
        shorter = text[:end].rstrip() + "…"
        if text_width(shorter, pixels) <= max_width:
            return shorter
    return ""


def render_tag(
    text: str, colour: Colour, pixels: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A filled tag with rounded corners and a text of contrasting colour.

    Args:
        text: one line.
        colour: of the tag.
        pixels: font size.

    Returns:
        Its pixels (h, w, 3) and their opacity (h, w, 1) in [0, 1]; h depends on `pixels` only.
    """
    from PIL import Image, ImageDraw

    font = load_font(pixels)
    pad_x, height = max(2, round(pixels * 0.35)), round(pixels * 1.4)
    width = round(font.getlength(text)) + 2 * pad_x
    large = (width * _OVERSAMPLING, height * _OVERSAMPLING)
    opacity = Image.new("L", large)
    ImageDraw.Draw(opacity).rounded_rectangle(
        (0, 0, large[0] - 1, large[1] - 1), radius=pixels * 0.2 * _OVERSAMPLING, fill=255
    )
    tag = Image.new("RGB", (width, height), colour)
    # Anchored at the middle of the letters without descenders, so that all tags line up.
    baseline = height / 2 + pixels * 0.36
    ImageDraw.Draw(tag).text(
        (pad_x, baseline), text, fill=text_colour(colour), font=font, anchor="ls"
    )
    alpha = np.asarray(opacity.resize((width, height), Image.Resampling.BOX), dtype=np.float32)
    return np.asarray(tag, dtype=np.uint8), alpha[:, :, None] / np.float32(255)
