"""What a dataset is made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from crispmask.engine.plots.style import (
    ACCENT,
    ASIDE,
    GREY,
    line_colours,
    new_figure,
    say,
    shorten_name,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BARS = 80
_MOST_POINTS = 3000


class LabelArrays(Protocol):
    """The flat arrays of a dataset index that are needed here."""

    @property
    def labels(self) -> NDArray[np.integer]:
        """(N,) class indices."""

    @property
    def crowd(self) -> NDArray[np.bool_]:
        """(N,) whether it is a crowd; these are left out."""

    @property
    def image_offsets(self) -> NDArray[np.integer]:
        """(I + 1,) first instance of each image."""

    @property
    def part_offsets(self) -> NDArray[np.integer]:
        """(N + 1,) first part of each instance."""

    @property
    def point_offsets(self) -> NDArray[np.integer]:
        """(P + 1,) first point of each part."""

    @property
    def points(self) -> NDArray[np.floating]:
        """(V, 2) xy, fractions of the image."""


def plot_labels(index: LabelArrays, names: Sequence[str], out_png: str | Path) -> None:
    """Draws instances per class and image, and where and how large they are.

    Args:
        index: the dataset, such as a `DatasetIndex`.
        names: class names by label.
        out_png: the picture.
    """
    boxes, instances = normalised_boxes(index)
    labels = np.asarray(index.labels, dtype=np.int64)[instances]
    alone = ~np.asarray(index.crowd)
    counts = np.bincount(np.asarray(index.labels)[alone], minlength=len(names))[: len(names)]
    per_image = np.diff(np.concatenate([[0], np.cumsum(alone)])[index.image_offsets])
    height = max(7.0, 0.125 * min(len(names), _MOST_BARS) + 1.2)
    with new_figure(12.5, height, out_png) as figure:
        cells = figure.add_gridspec(2, 3)
        _draw_classes(figure.add_subplot(cells[:, 0]), counts, names)
        panels = [figure.add_subplot(cells[i, j]) for i in (0, 1) for j in (1, 2)]
        _draw_map(panels[0], "Centres", (boxes[:, :2] + boxes[:, 2:]) / 2, labels)
        panels[0].invert_yaxis()  # as in the image
        panels[0].set(xlabel="x / image width", ylabel="y / image height")
        _draw_map(panels[1], "Sizes", boxes[:, 2:] - boxes[:, :2], labels)
        panels[1].set(xlabel="width / image width", ylabel="height / image height")
        _draw_lengths(panels[2], boxes)
        _draw_per_image(panels[3], per_image)


def normalised_boxes(index: LabelArrays) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Extents of the instances that have points and are no crowds.

    Returns:
        (N', 4) xyxy as fractions of the image, and (N',) the instances they are of.
    """
    bounds = np.asarray(index.point_offsets)[np.asarray(index.part_offsets)]  # (N + 1,)
    filled = np.flatnonzero(np.diff(bounds))
    starts = bounds[filled]
    alone = ~np.asarray(index.crowd)[filled]
    instances = filled[alone].astype(np.int64)
    if not len(starts):
        return np.zeros((0, 4)), instances
    points = np.asarray(index.points, dtype=np.float64)
    low = np.minimum.reduceat(points, starts)
    high = np.maximum.reduceat(points, starts)
    return np.concatenate([low, high], axis=1)[alone].clip(0, 1), instances


def _draw_classes(axes: Axes, counts: NDArray[np.int64], names: Sequence[str]) -> None:
    """Bars, first class on top; of very many classes only the most frequent ones."""
    labels = np.arange(len(counts))
    title = f"Instances per class ({counts.sum():,})"
    if len(counts) > _MOST_BARS:
        labels = np.argsort(-counts, kind="stable")[:_MOST_BARS]
        rest = len(counts) - _MOST_BARS
        title += (
            f"\n{_MOST_BARS} most frequent, {rest} more hold {np.delete(counts, labels).sum():,}"
        )
    axes.set_title(title)
    rows = np.arange(len(labels))
    axes.barh(rows, counts[labels], color=line_colours(labels.tolist()), height=0.75)
    size = 9 if len(labels) <= 30 else 6
    axes.set_yticks(rows, [shorten_name(names[i]) for i in labels.tolist()], fontsize=size)
    axes.set_ylim(max(len(labels), 6) - 0.4, -0.6)
    axes.set_xlim(0, max(counts.max(initial=0), 1) * 1.15)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    for row, label in enumerate(labels):
        axes.annotate(
            f"{counts[label]:,}",
            (counts[label], row),
            (3, 0),
            textcoords="offset points",
            va="center",
            fontsize=size,
            color=GREY,
        )


def _draw_map(axes: Axes, title: str, xy: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
    """One point per instance in the colour of its class, or the density of very many."""
    from matplotlib.colors import LinearSegmentedColormap

    axes.set_title(title)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_box_aspect(1)
    axes.grid(visible=False)
    if not len(xy):
        say(axes, "no instances")
        return
    if len(xy) <= _MOST_POINTS:
        colours = line_colours(labels.tolist())
        size = 22 if len(xy) <= 500 else 8
        axes.scatter(xy[:, 0], xy[:, 1], s=size, c=colours, alpha=0.55, linewidths=0, clip_on=False)
        return
    density, _, _ = np.histogram2d(xy[:, 0], xy[:, 1], bins=32, range=[[0, 1], [0, 1]])
    tones = LinearSegmentedColormap.from_list("density", ["#ffffff", ACCENT, "#0b2545"])
    edges = np.linspace(0, 1, 33)
    # The square root shows single instances beside crowded places.
    axes.pcolormesh(edges, edges, np.sqrt(density).T, cmap=tones, rasterized=True)


def _draw_lengths(axes: Axes, boxes: NDArray[np.float64]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title("Relative size")
    axes.set(xlabel=r"$\sqrt{\mathrm{box\ area}\ /\ \mathrm{image\ area}}$", ylabel="instances")
    sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    axes.hist(sides, bins=list(np.linspace(0, 1, 41)), color=ACCENT)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0, 1)
    if not len(sides):
        say(axes, "no instances")


def _draw_per_image(axes: Axes, per_image: NDArray[np.int64]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title("Instances per image")
    axes.set(xlabel="instances", ylabel="images")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if not len(per_image):
        say(axes, "no images")
        return
    step = -(-(int(per_image.max()) + 1) // 40)
    edges = np.arange(0, per_image.max() + step + 1, step) - 0.5
    axes.hist(per_image, bins=list(edges), color=ACCENT, rwidth=0.85)
    empty = int((per_image == 0).sum())
    without = f", {empty:,} without" if empty else ""
    axes.set_title(f"{len(per_image):,} images{without}", loc="right", **ASIDE)
