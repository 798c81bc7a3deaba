"""Lines over epochs as an inline drawing, whose colours follow the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT = 900, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 12, 12, 40

_LEAST = 0.05
"""Where the axis of y ends at least: noise around zero is not blown up."""


def draw_lines(
    lines: Sequence[tuple[str, Sequence[tuple[float, float]]]], x_title: str, y_title: str
) -> str:
    """An SVG.

    Args:
        lines: colour and points (x, y) of each; at least one point in all, y from 0.
        x_title: below the axis.
        y_title: beside the axis.
    """
    points = [point for _, line in lines for point in line]
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    highest = max(_LEAST, *(y for _, y in points))
    y_step = nice_step(highest)
    y_high = y_step * math.ceil(highest / y_step - 1e-9)
    x_step = max(1, nice_step(max(x_high - x_low, 1)))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - y / y_high * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = []
    for i in range(round(y_high / y_step) + 1):
        _, y = place(x_low, i * y_step)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{i * y_step:g}</text>'
        )
    tick = math.ceil(x_low / x_step) * x_step
    while tick <= x_high:
        x, _ = place(tick, 0)
        parts.append(
            f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{tick:g}</text>'
        )
        tick += x_step
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    height = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(x_title)}</text>'
        f'<text transform="translate(12 {height}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_title)}</text>"
    )
    for colour, line in lines:
        placed = [place(x, y) for x, y in line]
        if len(placed) == 1:
            x, y = placed[0]
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" style="fill:{colour}"/>')
        else:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
            parts.append(f'<polyline class="line" style="stroke:{colour}" points="{path}"/>')
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(y_title)} by {escape(x_title)}">{"".join(parts)}</svg>'
    )


def nice_step(span: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides a span into 4 to 10 parts."""
    power = 10.0 ** math.floor(math.log10(span / 4))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= span / 4 * 1.000001)
