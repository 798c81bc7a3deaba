"""The course of a training run."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crispmask.engine.plots.style import ASIDE, INK, SERIES, new_figure, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Columns = dict[str, NDArray[np.float64]]


def plot_results(csv_path: str | Path, out_png: str | Path) -> None:
    """Draws losses, learning rate, gradient norm, accuracy, time and memory per epoch.

    Args:
        csv_path: results.csv of a run. Columns may be missing and cells empty; of an epoch
            written twice, after a resumed run, the last row counts.
        out_png: the picture.
    """
    columns = read_results(csv_path)
    with new_figure(12.5, 6.8, out_png) as figure:
        panels = figure.subplots(2, 3).ravel()
        _draw_lines(
            panels[0],
            "Training loss",
            columns,
            {
                "train/total": "sum",
                "train/class": "class",
                "train/box": "box",
                "train/mask": "mask",
            },
        )
        _draw_lines(panels[1], "Learning rate", columns, {"lr": ""})
        panels[1].yaxis.set_major_formatter("{x:g}")
        _draw_lines(panels[2], "Gradient norm", columns, {"grad_norm": ""}, log=True)
        for axes, kind in ((panels[3], "mask"), (panels[4], "box")):
            keys = ("mAP50-95", "mAP50", "mAP75")
            named = {f"{kind}/{key}": key for key in keys}
            _draw_lines(axes, f"{kind.capitalize()} mAP, validation", columns, named)
            _mark_best(axes, columns, f"{kind}/mAP50-95")
        named = {"seconds/train": "training", "seconds/val": "validation"}
        _draw_lines(panels[5], "Seconds per epoch", columns, named)
        if (memory := columns.get("memory_mb")) is not None and (memory > 0).any():
            peak = np.nanmax(memory) / 1024
            panels[5].set_title(f"peak memory {peak:.1f} GiB", loc="right", **ASIDE)
        for axes in panels:
            _set_epochs(axes, columns["epoch"])


def read_results(csv_path: str | Path) -> Columns:
    """Columns of a results.csv by name, one value per epoch; NaN for empty or odd cells."""
    with open(csv_path, newline="", encoding="utf-8") as file:
        rows = [
            {key.strip(): value for key, value in row.items() if key}
            for row in csv.DictReader(file)
        ]
    by_epoch = {_number(row.get("epoch")): row for row in rows}
    epochs = sorted(epoch for epoch in by_epoch if np.isfinite(epoch))
    names = {name for row in rows for name in row}
    columns = {
        name: np.array([_number(by_epoch[epoch].get(name)) for epoch in epochs]) for name in names
    }
    return {**columns, "epoch": np.array(epochs, dtype=np.float64)}


def last_best(values: NDArray[np.float64]) -> int:
    """The index of the largest value, but NaN; the last of equal ones, as training keeps it."""
    return len(values) - 1 - int(np.nanargmax(values[::-1]))


def _number(text: str | None) -> float:
    try:
        return float(text) if text else float("nan")
    except ValueError:
        return float("nan")


def _draw_lines(
    axes: Axes, title: str, columns: Columns, named: dict[str, str], log: bool = False
) -> None:
    """One line per column that has values, epochs without a value skipped."""
    axes.set_title(title)
    drawn = []
    for colour, (column, name) in zip(SERIES, named.items(), strict=False):
        values = columns.get(column, np.zeros(0))
        defined = np.isfinite(values)
        if column.startswith(("mask/", "box/")):
            defined &= values >= 0  # -1: COCO has no answer
        if not defined.any():
            continue
        drawn.append(values[defined])
        few = defined.sum() <= 25
        axes.plot(
            columns["epoch"][defined],
            values[defined],
            color=INK if name == "sum" else colour,
            marker="o" if few else None,
            markersize=3.5,
            label=name,
        )
    if not drawn:
        axes.set_yticks([])
        say(axes, "no values")
        return
    if any(named.values()):
        axes.legend(ncols=2 if len(drawn) > 3 else 1)
    values = np.concatenate(drawn)
    if log and values.min() > 0 and values.max() > 20 * values.min():
        axes.set_yscale("log")
    elif values.min() >= 0:
        axes.set_ylim(bottom=0)


def _set_epochs(axes: Axes, epochs: NDArray[np.float64]) -> None:
    """The same epochs on every axes, also on those with values for a few of them only."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    if len(epochs):
        margin = max(0.5, 0.02 * (epochs[-1] - epochs[0]))
        axes.set_xlim(epochs[0] - margin, epochs[-1] + margin)


def _mark_best(axes: Axes, columns: Columns, column: str) -> None:
    """Writes the best value and its epoch beside the title."""
    values = columns.get(column, np.zeros(0))
    if not (values >= 0).any():
        return
    best = last_best(values)
    text = f"best {values[best]:.3f}, epoch {columns['epoch'][best]:.0f}"
    axes.set_title(text, loc="right", **ASIDE)
