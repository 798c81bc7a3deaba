"""The sections with curves: training, thresholds, labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from crispmask.data.index import DatasetIndex
from crispmask.draw import class_colour
from crispmask.engine.page.charts import Line, density, histogram, line_chart
from crispmask.engine.page.contents import Contents
from crispmask.engine.plots.labels import normalised_boxes
from crispmask.engine.plots.results import last_best, read_results
from crispmask.metrics.confidence import THRESHOLDS

_MOST_LINES = 8
"""Classes up to which each has a named curve."""

_TRAINING: tuple[tuple[str, Mapping[str, str], bool], ...] = (
    (
        "Training loss",
        {"train/total": "sum", "train/class": "class", "train/box": "box", "train/mask": "mask"},
        False,
    ),
    (
        "Mask mAP, validation",
        {"mask/mAP50-95": "mAP50-95", "mask/mAP50": "mAP50", "mask/mAP75": "mAP75"},
        False,
    ),
    ("Box mAP, validation", {"box/mAP50-95": "mAP50-95", "box/mAP50": "mAP50"}, False),
    ("Learning rate", {"lr": "learning rate"}, False),
    ("Gradient norm", {"grad_norm": "gradient norm"}, True),
    ("Seconds per epoch", {"seconds/train": "training", "seconds/val": "validation"}, False),
)


def training(contents: Contents) -> str:
    """Curves of results.csv; nothing where there is none."""
    if contents.results is None or not contents.results.is_file():
        return ""
    columns = read_results(contents.results)
    charts = []
    for title, named, log in _TRAINING:
        lines = []
        for column, name in named.items():
            values = columns.get(column, np.zeros(0))
            known = np.isfinite(values)
            if column.startswith(("mask/", "box/")):
                known &= values >= 0  # -1: COCO has no answer
            lines.append(Line(name, columns["epoch"][known], values[known]))
        note = ""
        if title.startswith("Mask") and len(lines[0].y):
            best = last_best(lines[0].y)
            note = f"best {lines[0].y[best]:.3f} in epoch {lines[0].x[best]:g}"
        charts.append(line_chart(title, lines, "epoch", note, log=log))
    return _section("training", "Training", charts)


def thresholds(contents: Contents) -> str:
    """Precision over recall, what a confidence does, and whether scores mean what they say."""
    curves, confidence = contents.metrics.curves, contents.metrics.confidence
    charts = []
    for level, precision in (("0.50", curves.precision50), ("0.75", curves.precision75)):
        lines = class_lines(precision, curves.recall, contents.names)
        charts.append(_unit_chart(f"Precision over recall, mask IoU {level}", lines, "recall"))
    best = confidence.best
    note = f"best {best.f1:.2f} at {best.confidence:.2f}" if best.f1 > 0 else ""
    f1 = np.where(confidence.defined[:, None], confidence.f1, -1.0)
    lines = class_lines(f1, THRESHOLDS, contents.names, areas=False)
    charts.append(_unit_chart("F1 over confidence, mask IoU 0.50", lines, "confidence", note))
    known = confidence.defined
    lines = [
        Line(name, THRESHOLDS, values[known].mean(axis=0))
        for name, values in (("precision", confidence.precision), ("recall", confidence.recall))
        if known.any()
    ]
    charts.append(_unit_chart("Precision and recall over confidence", lines, "confidence"))
    return _section("curves", "Curves", [*charts, _calibration(contents)])


def _calibration(contents: Contents) -> str:
    calibration = contents.metrics.calibration
    full = calibration.count > 0
    ends = np.array([0.0, 1.0])
    lines = [
        Line("as it should be", ends, ends, "var(--soft)", "thin"),
        Line("share that is right", calibration.expected[full], calibration.observed[full]),
    ]
    note = f"expected calibration error {calibration.error:.3f}"
    return _unit_chart("Calibration of the scores", lines if full.any() else [], "score", note)


def _unit_chart(title: str, lines: Sequence[Line], x_label: str, note: str = "") -> str:
    return line_chart(title, lines, x_label, note, x_range=(0, 1), y_range=(0, 1))


def class_lines(
    values: NDArray[np.float64], x: NDArray[np.float64], names: Sequence[str], areas: bool = True
) -> list[Line]:
    """A line of each class and their mean.

    Args:
        values: (K, R), rows of -1 for classes without instances.
        x: (R,).
        names: class names by label.
        areas: whether the area under each is told.
    """
    known = [label for label in range(len(names)) if len(x) and values[label, 0] > -1]
    if not known:
        return []
    few = len(known) <= _MOST_LINES
    mean = values[known].mean(axis=0)
    whole = f"all classes{_area(mean, areas)}" if few else f"mean of {len(known)} classes"
    lines = []
    for label in known:
        colour = "rgb({}, {}, {})".format(*class_colour(label)) if few else "var(--soft)"
        name = f"{names[label]}{_area(values[label], areas)}" if few else ""
        lines.append(Line(name, x, values[label], colour, "thin" if few else "quiet"))
    return [*lines, Line(whole, x, mean, "var(--text)", "strong")]


def _area(values: NDArray[np.float64], told: bool) -> str:
    return f" {values.mean():.3f}" if told else ""


def labels(contents: Contents) -> str:
    """What each split is made of."""
    charts, rows = [], []
    for split, index in contents.splits.items():
        boxes, _ = normalised_boxes(index)
        alone = ~np.asarray(index.crowd)
        per_image = np.diff(np.concatenate([[0], np.cumsum(alone)])[index.image_offsets])
        sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
        step = -(-(int(per_image.max(initial=0)) + 1) // 30)
        edges = np.arange(0, per_image.max(initial=0) + step + 1, step) - 0.5
        charts += [
            histogram(
                f"Instances per image, {split}",
                np.histogram(per_image, edges)[0],
                edges,
                "instances",
            ),
            histogram(
                f"Size of the instances, {split}",
                *np.histogram(sides, np.linspace(0, 1, 26)),
                "side of the box, fraction of that of the image",
            ),
            density(f"Centres of the instances, {split}", (boxes[:, :2] + boxes[:, 2:]) / 2),
        ]
        rows.append(
            f"<tr><th>{split}</th><td>{len(index):,}</td><td>{(per_image == 0).sum():,}</td>"
            f"<td>{index.num_instances():,}</td><td>{(~alone).sum():,}</td>"
            f"<td>{_sizes(index)}</td></tr>"
        )
    table = (
        '<div class="scroll"><table><tr class="head"><th></th><td>images</td>'
        "<td>without instances</td><td>instances</td><td>crowds</td><td>image sizes</td></tr>"
        f"{''.join(rows)}</table></div>"
    )
    return _section("labels", "Labels", charts, table)


def _sizes(index: DatasetIndex) -> str:
    """The sizes of the images, width x height."""
    sizes = np.unique(index.sizes, axis=0) if len(index) else np.zeros((0, 2), dtype=np.int64)
    if not len(sizes):
        return "-"
    if len(sizes) == 1:
        return f"{sizes[0, 1]} x {sizes[0, 0]}"
    low, high = index.sizes.min(0), index.sizes.max(0)
    return f"{low[1]} to {high[1]} wide, {low[0]} to {high[0]} high"


def _section(anchor: str, title: str, charts: Sequence[str], above: str = "") -> str:
    return (
        f'<section class="card" id="{anchor}"><h2>{title}</h2>{above}'
        f'<div class="charts">{"".join(charts)}</div></section>'
    )
