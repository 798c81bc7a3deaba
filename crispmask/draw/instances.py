"""Instances drawn over their image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.draw.outline import outline_coverage
from crispmask.draw.palette import Colour, class_colour
from crispmask.draw.tags import place_tag
from crispmask.draw.text import render_tag, shorten, text_width
from crispmask.geometry.mask_runs import MaskRuns, Rectangle, mask_area, mask_crop, mask_extent
from crispmask.types import class_name

_FILL_OPACITY = 0.42
_BOX_OPACITY = 0.75
_HALO_OPACITY = 0.45
_SMALLEST_TEXT = 9


def draw_instances(
    image: NDArray[np.uint8],
    masks: NDArray[np.bool_] | MaskRuns,
    labels: NDArray[np.integer],
    names: Sequence[str] = (),
    scores: NDArray[np.floating] | None = None,
    boxes: NDArray[np.floating] | None = None,
) -> NDArray[np.uint8]:
    """A copy of an image with masks, outlines, and a tag with class and score per instance.

    Lines and letters grow with the image. Small instances are drawn over large ones; an
    instance without a single pixel and without a box is left out.

    Args:
        image: (H, W, 3) RGB.
        masks: (N, H, W), or their runs.
        labels: (N,) class indices.
        names: class names; a label beyond them is written as a number.
        scores: (N,) in [0, 1].
        boxes: (N, 4) xyxy in pixels; drawn as thin rectangles.

    Returns:
        (H, W, 3) RGB.
    """
    canvas = np.ascontiguousarray(image).copy()
    if not len(masks) or not image.size:
        return canvas
    extents = [mask_extent(masks, i) for i in range(len(masks))]
    line = max(1, round(max(image.shape[:2]) / 480))
    areas = np.array([mask_area(masks, i) for i in range(len(masks))])
    for i in np.argsort(-areas, kind="stable").tolist():
        extent = extents[i]
        if extent is not None:
            crop = mask_crop(masks, i, extent)
            _draw_mask(canvas, crop, extent, class_colour(int(labels[i])), line)
    if boxes is not None:
        for label, box in zip(labels, boxes, strict=True):
            _draw_box(canvas, box, class_colour(int(label)), line)
    anchors = [extent if boxes is None else _whole(boxes[i]) for i, extent in enumerate(extents)]
    _draw_tags(canvas, anchors, labels, names, scores)
    return canvas


def _draw_mask(
    canvas: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    extent: Rectangle,
    colour: Colour,
    line: int,
) -> None:
    """Fills and outlines a mask on the canvas, which is the part of it inside its extent."""
    (x1, y1, x2, y2), margin = extent, line + 3
    view, (left, top) = _around(canvas, extent, margin)
    part = np.zeros(view.shape[:2], dtype=np.bool_)
    part[y1 - top : y2 - top, x1 - left : x2 - left] = mask
    solid = np.empty_like(view)
    solid[:] = colour
    filled = cv2.addWeighted(view, 1 - _FILL_OPACITY, solid, _FILL_OPACITY, 0)
    np.copyto(view, filled, where=part[:, :, None])
    # A dark rim around the line keeps it visible on a background of its own colour.
    dark: Colour = (colour[0] // 4, colour[1] // 4, colour[2] // 4)
    _blend(view, outline_coverage(part, line + 2), dark, _HALO_OPACITY)
    _blend(view, outline_coverage(part, line), colour, 1.0)


def _blend(
    view: NDArray[np.uint8], coverage: NDArray[np.uint8], colour: Colour, opacity: float
) -> None:
    rows, columns = coverage.nonzero()
    alpha = coverage[rows, columns, None].astype(np.float32) * (opacity / 255)
    old = view[rows, columns].astype(np.float32)
    mixed = old + (np.array(colour, dtype=np.float32) - old) * alpha
    view[rows, columns] = np.round(mixed).astype(np.uint8)


def _draw_box(
    canvas: NDArray[np.uint8], box: NDArray[np.floating], colour: Colour, line: int
) -> None:
    x1, y1, x2, y2 = _whole(box)
    view, (left, top) = _around(canvas, (x1, y1, x2, y2), line)
    edge = np.zeros(view.shape[:2], dtype=np.uint8)
    # Pixels are half a line inside the box: at the border of the image they stay visible.
    corner = (max(x1, x2 - 1) - left, max(y1, y2 - 1) - top)
    cv2.rectangle(edge, (x1 - left, y1 - top), corner, 255, max(1, line // 2))
    _blend(view, edge, colour, _BOX_OPACITY)


def _around(
    canvas: NDArray[np.uint8], box: Rectangle, margin: int
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The part of a canvas around a box, and the x and y of its corner."""
    x1, y1, x2, y2 = box
    left, top = max(x1 - margin, 0), max(y1 - margin, 0)
    return canvas[top : max(y2 + margin, 0), left : max(x2 + margin, 0)], (left, top)


def _draw_tags(
    canvas: NDArray[np.uint8],
    anchors: Sequence[Rectangle | None],
    labels: NDArray[np.integer],
    names: Sequence[str],
    scores: NDArray[np.floating] | None,
) -> None:
    """Tags of all instances; the first one has the first choice of a place."""
    height, width = canvas.shape[:2]
    pixels = max(_SMALLEST_TEXT, min(round(0.02 * (height * width) ** 0.5), 64))
    taken: list[Rectangle] = []
    for i, anchor in enumerate(anchors):
        label = int(labels[i])
        name = class_name(names, label)
        ending = "" if scores is None else f" {scores[i]:.2f}"
        room = width - 2 * pixels - text_width(ending, pixels)
        name = shorten(name, room, pixels)
        if anchor is None or not name or height < 2 * pixels:
            continue  # nothing to point at, or an image too small for letters
        tag, alpha = render_tag(name + ending, class_colour(label), pixels)
        place = place_tag(anchor, (tag.shape[0], tag.shape[1]), (height, width), taken)
        view = canvas[place[1] : place[3], place[0] : place[2]]
        view[:] = np.round(view + (tag.astype(np.float32) - view) * alpha).astype(np.uint8)
        taken.append(place)


def _whole(box: NDArray[np.floating]) -> Rectangle:
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    return x1, y1, x2, y2
