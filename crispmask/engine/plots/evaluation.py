"""How good the best model is, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crispmask.engine.plots.style import (
    ACCENT,
    ASIDE,
    GREY,
    INK,
    line_colours,
    new_figure,
    say,
    shorten_name,
)
from crispmask.metrics.coco import CocoMetrics
from crispmask.metrics.confidence import THRESHOLDS, Calibration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LINES = 10
_WEAKEST = 5
_MOST_NUMBERS = 15


def plot_pr_curve(metrics: CocoMetrics, out_png: str | Path) -> None:
    """Draws mask precision over recall at IoU 0.50 and 0.75, per class and on average."""
    curves = metrics.curves
    with new_figure(12.5, 5.2, out_png) as figure:
        left, right = figure.subplots(1, 2)
        best = metrics.confidence.best
        note = f"best F1 {best.f1:.2f}\nat confidence {best.confidence:.2f}" if best.f1 > 0 else ""
        _draw_curves(left, "IoU 0.50", curves.precision50, curves.recall, metrics.names, note)
        _draw_curves(right, "IoU 0.75", curves.precision75, curves.recall, metrics.names)


def plot_f1_curve(metrics: CocoMetrics, out_png: str | Path) -> None:
    """Draws F1 over the confidence, per class and on average, and the calibration of scores."""
    confidence = metrics.confidence
    f1 = np.where(confidence.defined[:, None], confidence.f1, -1.0)
    best = confidence.best
    with new_figure(12.5, 5.2, out_png) as figure:
        left, right = figure.subplots(1, 2)
        left.set_title("F1 over confidence, mask IoU 0.50")
        left.set(xlabel="confidence", ylabel="F1", xlim=(0, 1), ylim=(0, 1.02))
        peaks = f1.max(axis=1, initial=-1)
        note = f"best {best.f1:.2f}\nat confidence {best.confidence:.2f}" if best.f1 > 0 else ""
        _draw_classes(left, THRESHOLDS, f1, peaks, best.f1, metrics.names, "best F1", note)
        if best.f1 > 0:
            left.axvline(best.confidence, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        _draw_calibration(right, metrics.calibration)


def _draw_calibration(axes: Axes, calibration: Calibration) -> None:
    """Share of right predictions over their score; the area of a point grows with their number."""
    axes.set_title("Calibration")
    axes.set(xlabel="score", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
    full = calibration.count > 0
    if not full.any():
        say(axes, "no predictions")
        return
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    expected, observed = calibration.expected[full], calibration.observed[full]
    axes.plot(expected, observed, color=ACCENT)
    sizes = 12 + 110 * calibration.count[full] / calibration.count.max()
    axes.scatter(expected, observed, sizes, color=ACCENT, linewidths=0, zorder=3, clip_on=False)
    axes.set_title(f"expected error {calibration.error:.3f}", loc="right", **ASIDE)


def _draw_curves(
    axes: Axes,
    title: str,
    precision: NDArray[np.float64],
    recall: NDArray[np.float64],
    names: Sequence[str],
    note: str = "",
) -> None:
    axes.set_title(f"Precision over recall, mask {title}")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    areas = np.where(precision[:, :1].max(axis=1, initial=-1) > -1, precision.mean(axis=1), -1)
    whole = float(areas[areas > -1].mean()) if (areas > -1).any() else 0.0
    _draw_classes(axes, recall, precision, areas, whole, names, "AP", note)


def _draw_classes(
    axes: Axes,
    x: NDArray[np.float64],
    values: NDArray[np.float64],
    figures: NDArray[np.float64],
    whole: float,
    names: Sequence[str],
    title: str,
    note: str,
) -> None:
    """A line for each class and their mean, with a legend beside the axes.

    Args:
        axes: to draw on.
        x: (R,).
        values: (K, R), rows of -1 for classes without instances.
        figures: (K,) told of each class in the legend.
        whole: told of their mean.
        names: class names by label.
        title: what the figures are.
        note: last words of the legend.
    """
    defined = [label for label in range(len(names)) if values[label, 0] > -1]
    if not defined:
        say(axes, "no instances")
        return
    # Of many classes the weakest ones get a colour and a name: they are worth a look.
    weakest = sorted(defined, key=lambda label: float(figures[label]))[:_WEAKEST]
    few = len(defined) <= _MOST_LINES
    named = defined if few else weakest
    for label in set(defined) - set(named):
        axes.plot(x, values[label], color=GREY, linewidth=0.5, alpha=0.45)
    for label, colour in zip(named, line_colours(named), strict=True):
        text = f"{shorten_name(names[label])}  {figures[label]:.3f}"
        axes.plot(x, values[label], color=colour, linewidth=1.4, label=text)
    text = "all classes" if few else f"mean of {len(defined)} classes"
    text = f"{text}  {whole:.3f}"
    axes.plot(x, values[defined].mean(axis=0), color=INK, linewidth=2.6, label=text)
    if note:
        axes.plot([], [], " ", label=note)  # a line of the legend without a sign
    title = title if few else f"{title}, {_WEAKEST} weakest classes"
    axes.legend(title=title, loc="upper left", bbox_to_anchor=(1.0, 1.0), alignment="left")


def plot_confusion(matrix: NDArray[np.integer], names: Sequence[str], out_png: str | Path) -> None:
    """Draws a confusion matrix, each row as fractions of its annotated instances.

    Args:
        matrix: (K + 1, K + 1) counts, rows annotated, columns predicted, background last.
            The last row is drawn as fractions of all predictions without annotation.
        names: class names by label.
        out_png: the picture.
    """
    from matplotlib.colors import LinearSegmentedColormap

    size = len(names) + 1
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(max(4.2, 1.6 + 0.8 * size), 9.0)
    if size > 30:
        side = 12.5
    texts = [shorten_name(name, 20) for name in names]
    colours = LinearSegmentedColormap.from_list("share", ["#ffffff", "#8fc1ee", ACCENT, "#0b2545"])
    with new_figure(side + 1.2, side, out_png) as figure:
        axes = figure.subplots()
        picture = axes.imshow(fractions, cmap=colours, vmin=0, vmax=1, aspect="equal")
        axes.set_title("Confusion matrix")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        font_size = 9.0 if size <= 30 else max(2.5, 9.0 * 42 / size)
        if size > 150:  # no letter would be readable
            axes.set_xticks([])
            axes.set_yticks([])
        else:
            cell = (side - 1.6) / size  # inches; a letter takes about 0.075
            turned = max(map(len, [*texts, "background"])) * 0.075 > cell
            axes.set_xticks(
                range(size),
                [*texts, "background"],
                fontsize=font_size,
                rotation=(90 if size > _MOST_NUMBERS else 35) if turned else 0,
                ha=("center" if size > _MOST_NUMBERS else "right") if turned else "center",
                rotation_mode="anchor" if turned and size <= _MOST_NUMBERS else "default",
            )
            axes.set_yticks(range(size), [*texts, "background"], fontsize=font_size)
        axes.set(xlabel="predicted", ylabel="annotated")
        axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="#e4e7ec", linewidth=0.7 if size <= 30 else 0.3)
        axes.tick_params(which="minor", length=0)
        figure.colorbar(
            picture, ax=axes, shrink=0.75, aspect=30, label="share of the row"
        ).outline.set_visible(False)
        if size <= _MOST_NUMBERS:
            _write_counts(axes, np.asarray(matrix), fractions)


def _write_counts(axes: Axes, matrix: NDArray[np.integer], fractions: NDArray[np.float64]) -> None:
    last = len(matrix) - 1
    for (row, column), count in np.ndenumerate(matrix):
        if row == column == last:
            axes.text(column, row, "-", ha="center", va="center", color=GREY)
        elif count:
            colour = "white" if fractions[row, column] > 0.45 else INK
            axes.text(
                column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=8.5
            )
