"""A comparison as one page that needs no other file and no network."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.compare.config import CompareConfig, Row
from crispmask.compare.lines import draw_lines
from crispmask.compare.score import Entry
from crispmask.compare.table import cells, figures_shown
from crispmask.compare.yolo import NO_COUNTERPART
from crispmask.config import DecodeConfig
from crispmask.data.index import DatasetIndex
from crispmask.draw import draw_instances
from crispmask.engine.report import from_coco
from crispmask.engine.thumbnails import small_image
from crispmask.geometry.letterbox import fit_size
from crispmask.geometry.raster import rasterise
from crispmask.pages import document, text_of, write_document

_SIDE = 420
"""Longest side of a picture on the page, pixels."""

_LOWER_IS_BETTER = {"latency_ms", "memory_mb", "parameters", "gflops", "train_minutes"}
_NO_BEST = {"best_epoch", "epoch_seconds"}


def write_page(
    file: Path,
    config: CompareConfig,
    rows: Sequence[Row],
    entries: Sequence[Entry],
    val: DatasetIndex,
    names: tuple[str, ...],
) -> None:
    """Writes the page.

    Args:
        file: the .html.
        config: the comparison.
        rows: its models.
        entries: their scores.
        val: the validation split, for the pictures.
        names: class names by label.
    """
    title = f"{len(rows)} models on {Path(config.data).resolve().parent.name}"
    body = [
        f'<section class="card">{_table(rows, entries)}{_notes(config, rows)}</section>',
        _curves(rows, entries),
        _pictures(config, rows, entries, val, names),
        _settings(config),
    ]
    style = text_of("crispmask.compare", "page.css")
    write_document(file, document(title, [config.data], "\n".join(body), style))


def _colour(i: int) -> str:
    return f"var(--s{i % 6})"


def _table(rows: Sequence[Row], entries: Sequence[Entry]) -> str:
    keys = figures_shown(entries)
    head = "".join(f"<th>{escape(text)}</th>" for text in keys.values())
    best = {key: _best(key, rows, entries) for key in keys}
    lines = []
    for i, row in enumerate(rows):
        texts = "".join(
            f"<td{' class=best' if best[key] == row.name else ''}>{escape(text)}</td>"
            for key, text in zip(keys, cells(entries, row, keys), strict=True)
        )
        key = f'<span class="key" style="background:{_colour(i)}"></span>'
        lines.append(f"<tr><th>{key}{escape(row.name)}</th>{texts}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr><th>model</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _best(key: str, rows: Sequence[Row], entries: Sequence[Entry]) -> str | None:
    """The row with the best mean of a figure, where more than one has it."""
    means = {
        row.name: float(np.mean(values))
        for row in rows
        if (values := [e.score[key] for e in entries if e.row == row and key in e.score])
    }
    if len(means) < 2 or key in _NO_BEST:
        return None
    return (min if key in _LOWER_IS_BETTER else max)(means, key=lambda name: means[name])


def _notes(config: CompareConfig, rows: Sequence[Row]) -> str:
    notes = [
        "Every model is scored by the same COCO evaluator, on masks at the size of the image "
        "files, with its checkpoint of the best epoch.",
        "Milliseconds per image: from pixels to masks at the size of the image, one image at a "
        "time, the median.",
    ]
    if config.seeds > 1:
        notes.append(f"Mean and standard deviation of {config.seeds} seeds.")
    if any(row.kind == "yolo" for row in rows):
        notes.append(
            "YOLO was trained by its own package; its milliseconds are those it prints, for "
            "preparation, network and masks."
        )
        if config.recipe == "matched":
            notes.append(f"Without a counterpart there, and left as they are: {NO_COUNTERPART}.")
    return f'<p class="soft" style="margin-top:12px">{escape(" ".join(notes))}</p>'


def _curves(rows: Sequence[Row], entries: Sequence[Entry]) -> str:
    lines = [(rows.index(e.row), e.curve) for e in entries if e.curve]
    if not lines:
        return ""
    legend = "".join(
        f'<span><span class="key" style="background:{_colour(i)}"></span>{escape(row.name)}</span>'
        for i, row in enumerate(rows)
        if row.trained
    )
    note = (
        " YOLO's curve is its own figure, at a quarter of the resolution: not comparable."
        if any(row.kind == "yolo" for row in rows)
        else ""
    )
    picture = draw_lines([(_colour(i), curve) for i, curve in lines], "epoch", "mask mAP50-95")
    return (
        '<section class="card"><h2>Validation while training</h2>'
        f'<p class="soft">Mask mAP50-95 of the trainer itself.{note}</p>{picture}'
        f'<div class="legend">{legend}</div></section>'
    )


def _pictures(
    config: CompareConfig,
    rows: Sequence[Row],
    entries: Sequence[Entry],
    val: DatasetIndex,
    names: tuple[str, ...],
) -> str:
    count = min(config.pictures, len(val))
    if not count:
        return ""
    chosen = np.linspace(0, len(val) - 1, count).round().astype(int).tolist()
    found = {row.name: _predictions(row, entries, chosen) for row in rows}
    strips = []
    for i in chosen:
        size = fit_size(val.size(i), _SIDE, upscale=False)
        image = small_image(val, i, size)
        polygons, labels = val.annotation(i, size)
        figures = [
            _figure("labels", draw_instances(image, rasterise(polygons, size), labels, names))
        ]
        for row in rows:
            instances = from_coco(found[row.name].get(i, []), size, names)
            picture = draw_instances(
                image, instances.masks, instances.labels, names, instances.scores
            )
            figures.append(_figure(row.name, picture))
        strips.append(
            f'<p class="soft">{escape(val.path(i).name)}</p><div class="strip">'
            f"{''.join(figures)}</div>"
        )
    return (
        '<section class="card"><h2>The same images</h2>'
        f'<p class="soft">Instances with a score of {DecodeConfig.conf} or more, first seed.</p>'
        f"{''.join(strips)}</section>"
    )


def _predictions(
    row: Row, entries: Sequence[Entry], chosen: list[int]
) -> dict[int, list[dict[str, Any]]]:
    """The sure predictions of a row for the images shown, by position of the image."""
    folder = next(e.folder for e in entries if e.row == row)
    text = (folder / "predictions.json").read_text(encoding="utf-8")
    by_image: dict[int, list[dict[str, Any]]] = {i: [] for i in chosen}
    for prediction in json.loads(text):
        position = prediction["image_id"] - 1
        if position in by_image and prediction["score"] >= DecodeConfig.conf:
            by_image[position].append(prediction)
    return by_image


def _figure(caption: str, picture: NDArray[np.uint8]) -> str:
    ok, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85]
    )
    assert ok
    content = base64.b64encode(encoded.tobytes()).decode("ascii")
    return (
        f'<figure><img alt="" loading="lazy" src="data:image/jpeg;base64,{content}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _settings(config: CompareConfig) -> str:
    shown = {
        "data": config.data,
        "models": config.models,
        "epochs": config.epochs,
        "batch": config.batch,
        "imgsz": config.imgsz,
        "weights": config.weights,
        "recipe": config.recipe,
        "seeds": config.seeds,
        "train": config.train or "nothing more",
    }
    items = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in shown.items()
    )
    return f'<section class="card"><h2>Settings</h2><dl>{items}</dl></section>'
