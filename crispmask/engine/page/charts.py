"""Small drawings as inline SVG; their colours follow the page, light or dark."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 420, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 40
_MOST_POINTS = 400
"""Points of a line; of longer ones some are left out."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        name: in the legend; empty for a line without.
        x: where it is known.
        y: finite values.
        colour: as CSS has it; empty takes the next one of the page.
        style: class of the path: `quiet`, `strong`, or nothing.
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    colour: str = ""
    style: str = ""


def line_chart(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    note: str = "",
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    log: bool = False,
) -> str:
    """A figure with lines, ticks and a legend, and the values for a readout by script."""
    lines = [_thinned(line) for line in lines if len(line.x)]
    heading = _caption(title, note)
    if not lines:
        return f'<figure class="chart">{heading}<p class="soft">no values</p></figure>'
    xs, ys = np.concatenate([v.x for v in lines]), np.concatenate([v.y for v in lines])
    x_range = x_range or (float(xs.min()), float(xs.max()))
    if x_range[0] == x_range[1]:
        x_range = (x_range[0] - 0.5, x_range[1] + 0.5)
    log = log and ys.min() > 0 and ys.max() > 20 * ys.min()
    low, high = y_range or (min(0.0, float(ys.min())), float(ys.max()))
    y_ticks = _log_ticks(ys) if log else _ticks(low, high, 5)
    y_range = y_range or (y_ticks[0], max(y_ticks[-1], float(ys.max())))
    x_ticks = [v for v in _ticks(*x_range, 6) if x_range[0] <= v <= x_range[1]]
    frame = _Frame(x_range, y_range, log)
    parts = [
        *(_tick_y(frame, v) for v in y_ticks if y_range[0] <= v <= y_range[1] * (1 + 1e-9)),
        *(_tick_x(frame, v) for v in x_ticks),
        f'<text class="axis" x="{(_LEFT + _WIDTH - _RIGHT) / 2:g}" y="{_HEIGHT - 4}">'
        f"{escape(x_label)}</text>",
    ]
    legend: list[str] = []
    told: list[dict[str, Any]] = []
    for line in lines:
        colour = line.colour or f"var(--s{len(legend)})"
        parts.append(_path(frame, line, colour))
        if line.name:
            legend.append(f'<li><i style="background:{colour}"></i>{escape(line.name)}</li>')
            told.append({"name": line.name, "x": _short(line.x), "y": _short(line.y)})
    named = f'<ul class="legend">{"".join(legend)}</ul>' if len(legend) > 1 else ""
    data = {"left": _LEFT, "width": _WIDTH - _LEFT - _RIGHT, "range": x_range, "lines": told}
    return (
        f'<figure class="chart">{heading}{named}<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'tabindex="0" aria-label="{escape(title)}" data-label="{escape(x_label)}" '
        f'data-chart="{escape(json.dumps(data))}">{"".join(parts)}'
        f'<line class="cursor" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" visibility="hidden"/></svg>'
        f'<output aria-live="polite"></output></figure>'
    )


def histogram(
    title: str, counts: NDArray[np.int64], edges: NDArray[np.float64], x_label: str, note: str = ""
) -> str:
    """A figure with a bar between each two edges."""
    heading = _caption(title, note)
    if not counts.sum():
        return f'<figure class="chart">{heading}<p class="soft">nothing to count</p></figure>'
    top = _ticks(0, float(counts.max()), 4)
    top = [v for v in top if v == int(v)]
    frame = _Frame((float(edges[0]), float(edges[-1])), (0, max(top[-1], float(counts.max()))))
    bars = []
    for count, low, high in zip(counts.tolist(), edges[:-1], edges[1:], strict=True):
        x1, x2, y = frame.x(float(low)), frame.x(float(high)), frame.y(count)
        if count:
            bars.append(
                f'<rect class="column" x="{x1 + 0.5:.1f}" y="{y:.1f}" '
                f'width="{max(x2 - x1 - 1, 0.5):.1f}" height="{frame.y(0) - y:.1f}">'
                f"<title>{low:g} to {high:g}: {count}</title></rect>"
            )
    ticks = [v for v in _ticks(*frame.x_range, 6) if frame.x_range[0] <= v <= frame.x_range[1]]
    return (
        f'<figure class="chart">{heading}<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{"".join(_tick_y(frame, v) for v in top)}{"".join(bars)}'
        f"{''.join(_tick_x(frame, v) for v in ticks)}"
        f'<text class="axis" x="{(_LEFT + _WIDTH - _RIGHT) / 2:g}" y="{_HEIGHT - 4}">'
        f"{escape(x_label)}</text></svg></figure>"
    )


def density(title: str, xy: NDArray[np.float64], note: str = "", cells: int = 24) -> str:
    """A figure of where points in [0, 1] x [0, 1] are, y downwards."""
    heading = _caption(title, note)
    counts, _, _ = np.histogram2d(xy[:, 1], xy[:, 0], bins=cells, range=[[0, 1], [0, 1]])
    most = max(float(counts.max()), 1.0)
    side = 250 / cells
    squares = [
        f'<rect class="column" x="{column * side:.1f}" y="{row * side:.1f}" width="{side:.1f}" '
        f'height="{side:.1f}" fill-opacity="{math.sqrt(counts[row, column] / most):.2f}">'
        f"<title>{int(counts[row, column])}</title></rect>"
        for row, column in np.argwhere(counts > 0).tolist()
    ]
    return (
        f'<figure class="chart">{heading}<svg class="square" viewBox="0 0 250 250" role="img" '
        f'aria-label="{escape(title)}"><rect class="ground" width="250" height="250"/>'
        f"{''.join(squares)}</svg></figure>"
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """From values to pixels of the drawing."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    log: bool = False

    def x(self, value: float) -> float:
        low, high = self.x_range
        return _LEFT + (value - low) / (high - low or 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return _HEIGHT - _BOTTOM - (value - low) / (high - low or 1) * (_HEIGHT - _TOP - _BOTTOM)


def _caption(title: str, note: str) -> str:
    told = f' <span class="soft">{escape(note)}</span>' if note else ""
    return f"<figcaption>{escape(title)}{told}</figcaption>"


def _thinned(line: Line) -> Line:
    if len(line.x) <= _MOST_POINTS:
        return line
    kept = np.unique(np.linspace(0, len(line.x) - 1, _MOST_POINTS).round().astype(int))
    return Line(line.name, line.x[kept], line.y[kept], line.colour, line.style)


def _path(frame: _Frame, line: Line, colour: str) -> str:
    points = [(frame.x(x), frame.y(y)) for x, y in zip(line.x, line.y, strict=True)]
    d = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dots = ""
    if len(points) <= 25 and not line.style:
        dots = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}"/>' for x, y in points
        )
    return f'<path class="{line.style}" d="{d}" stroke="{colour}"/>{dots}'


def _tick_y(frame: _Frame, value: float) -> str:
    y = frame.y(value)
    return (
        f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
    )


def _tick_x(frame: _Frame, value: float) -> str:
    return (
        f'<text class="tick" x="{frame.x(value):.1f}" y="{_HEIGHT - _BOTTOM + 17}" '
        f'text-anchor="middle">{value:g}</text>'
    )


def _ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers from at most `low` to at least the last one below `high`."""
    if not high > low:
        high = low + 1
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _log_ticks(values: NDArray[np.float64]) -> list[float]:
    low, high = math.floor(math.log10(values.min())), math.ceil(math.log10(values.max()))
    return [10.0**power for power in range(low, high + 1)]


def _short(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
