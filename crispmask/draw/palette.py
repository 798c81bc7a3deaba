"""One colour per class, the same everywhere."""

from __future__ import annotations

import colorsys

Colour = tuple[int, int, int]
"""RGB, 0 to 255."""

# Ordered so that the first few are far apart: most datasets have few classes.
_PALETTE: tuple[Colour, ...] = (
    (255, 107, 53),  # orange
    (33, 150, 243),  # azure
    (132, 204, 22),  # lime
    (236, 64, 142),  # pink
    (250, 204, 36),  # yellow
    (139, 92, 246),  # violet
    (20, 196, 178),  # turquoise
    (22, 128, 66),  # green
    (54, 76, 214),  # indigo
    (240, 160, 240),  # orchid
    (214, 40, 40),  # red
    (164, 98, 48),  # brown
    (150, 224, 252),  # sky
    (157, 23, 77),  # wine
    (190, 190, 60),  # olive
    (255, 170, 150),  # salmon
    (96, 118, 148),  # slate
    (112, 26, 150),  # purple
    (150, 245, 180),  # mint
    (255, 224, 170),  # sand
)
_GOLDEN_RATIO = 0.618033988749895
_TONES = ((0.75, 0.95), (0.55, 0.75), (0.90, 0.70))
"""Saturation and value of further classes in turn: neighbours in hue differ in tone."""


def class_colour(label: int) -> Colour:
    """The colour of a class: designed for the first 20, then hues a golden ratio apart."""
    if label < len(_PALETTE):
        return _PALETTE[label]
    further = label - len(_PALETTE)
    hue = (further * _GOLDEN_RATIO + 0.05) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, *_TONES[further % len(_TONES)])
    return round(red * 255), round(green * 255), round(blue * 255)


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever is easier to read on a colour.

    Relative luminance as in WCAG 2 with the exponent 2.2; the two contrasts are equal at 0.18.
    """
    red, green, blue = ((value / 255) ** 2.2 for value in background)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    # A bit above the break-even: on saturated colours white reads better than the formula says.
    return (17, 17, 17) if luminance > 0.3 else (255, 255, 255)
