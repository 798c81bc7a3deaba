"""The worst and the best images, with annotations and predictions that can be switched."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.data.images import read_image
from crispmask.draw import class_colour
from crispmask.engine.page.contents import Contents
from crispmask.engine.plots.sheets import drawn_size, resize_mask
from crispmask.errors import DatasetError
from crispmask.geometry.letterbox import resize_image
from crispmask.geometry.outline import mask_to_parts
from crispmask.geometry.rle import decode_masks
from crispmask.metrics.errors import ERROR_KINDS, classify
from crispmask.metrics.outcomes import Outcomes
from crispmask.metrics.quality import ImageQuality, image_quality
from crispmask.types import Part, Size

_WORST, _BEST = 8, 4
_LOWEST = 0.05
"""Score below which predictions are left out, whatever the confidence."""
_MOST_INSTANCES = 60
"""Predictions, and annotations, drawn in one image."""
_MOST_LETTERS = 120_000
"""Of all outlines in one image; those of lower scores are left out beyond it."""
_JPEG_QUALITY = 78


def pictures(contents: Contents, outcomes: Outcomes) -> str:
    """The section; empty if no image has an instance or a prediction."""
    quality = image_quality(outcomes.above(contents.conf))
    order = quality.worst_first().tolist()
    if not order:
        return (
            '<section class="card" id="images"><h2>Images</h2>'
            '<p class="soft">no image has an instance or a prediction</p></section>'
        )
    kinds, _ = classify(outcomes)
    worst = order[:_WORST]
    best = [i for i in reversed(order) if i not in worst][:_BEST]
    groups = []
    for title, chosen in (("Worst", worst), ("Best", best)):
        shown = "".join(_figure(contents, outcomes, quality, kinds, i) for i in chosen)
        if shown:
            groups.append(f'<h3>{title}</h3><div class="shots">{shown}</div>')
    return (
        '<section class="card" id="images"><h2>Images</h2>'
        '<p class="soft">Panoptic quality of each image from the confidence '
        f"{contents.conf:.2f} on: IoU of the hits, less for every wrong and every missed one.</p>"
        f"{_tools(contents.conf)}{''.join(groups)}</section>"
    )


def _tools(conf: float) -> str:
    return (
        '<div class="tools script">'
        '<label><input type="checkbox" data-all="truth" checked> ground truth</label>'
        '<label><input type="checkbox" data-all="found" checked> predictions</label>'
        '<label><input type="checkbox" data-all="tags"> names</label>'
        f'<label>confidence from <input type="range" id="conf" min="{_LOWEST}" max="0.95" '
        f'step="0.01" value="{conf:.2f}"><output for="conf">{conf:.2f}</output></label></div>'
        '<p class="key"><span class="truth-key">ground truth</span>'
        '<span class="found-key">prediction</span><span class="wrong-key">wrong one</span></p>'
    )


def _figure(
    contents: Contents,
    outcomes: Outcomes,
    quality: ImageQuality,
    kinds: NDArray[np.int64],
    position: int,
) -> str:
    """One image; empty if it cannot be read any more.

    Args:
        contents: of the page.
        outcomes: of all predictions.
        quality: of all images.
        kinds: kind of mistake of each prediction, -1 for none.
        position: of the image, by image id.
    """
    index = contents.index
    size = drawn_size(index.size(position))
    path = index.path(position)
    try:
        image = resize_image(read_image(path, at_least=size), size)
    except DatasetError:
        return ""
    setting = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    content = cv2.imencode(".jpg", image[..., ::-1], setting)[1].tobytes()
    truth = _truth(contents, position, size)
    found = _found(contents, outcomes, kinds, position, size)
    height, width = size
    name = escape(path.name)
    told = (
        f"{quality.right[position]} right, {quality.wrong[position]} wrong, "
        f"{quality.missed[position]} missed"
    )
    layers = "".join(
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" aria-hidden="true" '
        f'style="font-size:{max(size) * 0.026:.1f}px">{"".join(drawn)}</svg>'
        for kind, drawn in (("truth", truth), ("found", found))
    )
    return (
        f'<figure class="shot"><div class="view"><img alt="{name}" width="{width}" '
        f'height="{height}" src="data:image/jpeg;base64,'
        f'{base64.b64encode(content).decode("ascii")}">{layers}</div>'
        f'<figcaption><span class="place">{name}</span> '
        f'<b>{quality.quality[position]:.3f}</b> <span class="soft">{told}</span>'
        '<span class="switches"><label><input type="checkbox" class="show-truth" checked> '
        'ground truth</label><label><input type="checkbox" class="show-found" checked> '
        'predictions</label><button type="button" class="enlarge script" aria-pressed="false">'
        "enlarge</button></span></figcaption></figure>"
    )


def _truth(contents: Contents, position: int, size: Size) -> list[str]:
    polygons, labels = contents.index.annotation(position, size)
    # The largest ones, and these first: small ones stay on top.
    extents = [sum(abs(cv2.contourArea(part)) for part in parts) for parts in polygons]
    drawn = []
    for i in np.argsort(-np.array(extents), kind="stable")[:_MOST_INSTANCES].tolist():
        d = outline_path(polygons[i])
        if d:
            name = escape(contents.names[int(labels[i])])
            drawn.append(f'<path d="{d}"><title>{name}, annotated</title></path>')
    return drawn


def _found(
    contents: Contents, outcomes: Outcomes, kinds: NDArray[np.int64], position: int, size: Size
) -> list[str]:
    mine = np.flatnonzero((outcomes.images == position) & (outcomes.scores >= _LOWEST))
    drawn, letters = [], 0
    for i in mine[:_MOST_INSTANCES].tolist():  # best score first
        row: Mapping[str, Any] = contents.predictions[int(outcomes.rows[i])]
        mask = resize_mask(decode_masks([row["segmentation"]])[0], size)
        parts = mask_to_parts(mask)
        d = outline_path(parts)
        letters += len(d)
        if letters > _MOST_LETTERS:
            break
        if d:
            x, y = np.concatenate(parts).min(0)
            drawn.append(_instance(contents, outcomes, kinds, i, d, float(x), float(y)))
    return drawn[::-1]


def _instance(
    contents: Contents,
    outcomes: Outcomes,
    kinds: NDArray[np.int64],
    i: int,
    d: str,
    x: float,
    y: float,
) -> str:
    score, label = float(outcomes.scores[i]), int(outcomes.labels[i])
    name = escape(contents.names[label])
    if kinds[i] >= 0:
        verdict = {"both": "wrong class and place"}.get(
            ERROR_KINDS[kinds[i]], f"{ERROR_KINDS[kinds[i]]} error"
        )
    elif outcomes.ignored[i, 0]:
        verdict = "in a crowd"
    else:
        near = (outcomes.pairs[:, 0] == i) & (outcomes.pairs[:, 1] == outcomes.partners[i, 0])
        verdict = f"right, IoU {outcomes.overlaps[near].max(initial=0):.2f}"
    style = ("wrong " if kinds[i] >= 0 else "") + ("low" if score < contents.conf else "")
    colour = "rgb({},{},{})".format(*class_colour(label))
    return (
        f'<g class="{style.strip()}" data-score="{score:.4f}" style="--c:{colour}"><path d="{d}"/>'
        f'<title>{name} {score:.2f}: {verdict}</title><text x="{x:.0f}" y="{max(y, 14):.0f}">'
        f"{name} {score:.2f}</text></g>"
    )


def outline_path(parts: Sequence[Part], tolerance: float = 0.75) -> str:
    """The rings of an instance as the `d` of an SVG path, to be filled by the even-odd rule.

    Args:
        parts: rings (V, 2) in pixels of the drawing.
        tolerance: pixels a simplified ring may be away; 0.75 takes the steps of pixels away.
    """
    rings = []
    for part in parts:
        ring = cv2.approxPolyDP(np.ascontiguousarray(part, dtype=np.float32), tolerance, True)[:, 0]
        if len(ring) >= 3:
            rings.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in ring.tolist()) + "Z")
    return "".join(rings)
