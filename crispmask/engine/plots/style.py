"""One look for all plots, without the global state of pyplot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crispmask.draw import class_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#22262e"
"""Titles and main lines."""
GREY = "#8b929e"
"""What stands back: axes, single classes among many."""
ACCENT = "#1f77c9"
"""Bars, points, and the darkest tone of maps."""
SERIES = ("#1f77c9", "#e8590c", "#2b9348", "#7c3aed", "#c2255c", "#5c6773")
"""Lines of one axes in turn, dark enough for a white page."""

ASIDE: Any = {"fontsize": 8.5, "weight": "normal"}
"""Text of a second title at the right, for `loc="right"`."""

_STYLE: Any = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e7ec",
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


@contextmanager
def new_figure(width: float, height: float, path: str | Path) -> Iterator[Figure]:
    """A figure of `width` x `height` inches in the common style, saved to `path` at the end."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout=layout, facecolor="white")
        FigureCanvasAgg(figure)
        yield figure
        figure.savefig(path, dpi=150)


def say(axes: Axes, text: str) -> None:
    """Writes why axes are empty into their middle."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def shorten_name(name: str, longest: int = 24) -> str:
    """A class name, its middle left out if it is longer than `longest` characters."""
    if len(name) > longest:
        name = f"{name[: longest - longest // 3 - 1]}…{name[-(longest // 3) :]}"
    return name.replace("$", r"\$")  # else Matplotlib reads a formula


def line_colours(labels: Sequence[int]) -> list[tuple[float, float, float]]:
    """The colours of classes, the light ones darkened for lines on white."""
    colours = []
    for label in labels:
        red, green, blue = (value / 255 for value in class_colour(label))
        luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        tone = min(1.0, 0.62 / max(luminance, 1e-6))
        colours.append((red * tone, green * tone, blue * tone))
    return colours
