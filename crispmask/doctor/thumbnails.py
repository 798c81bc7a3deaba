"""Small pictures of problems: the image with its polygons, the problem among them highlighted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from crispmask.data.images import read_image
from crispmask.data.labels import read_label_text
from crispmask.data.paths import label_path
from crispmask.data.rings import split_rings
from crispmask.data.rows import parse_rows
from crispmask.doctor.annotations import Lookup, instances_of
from crispmask.doctor.kinds import Problem
from crispmask.doctor.picture import Listener
from crispmask.draw import class_colour
from crispmask.draw.palette import Colour
from crispmask.errors import DatasetError
from crispmask.types import Size

Window = tuple[float, float, float, float]
"""x1, y1, x2, y2 of what is shown, in pixels of the image; it may reach beyond it."""

_FRAME: Size = (360, 480)
_BACKGROUND: Colour = (128, 128, 128)
_SIGNAL: Colour = (255, 0, 200)
_OUTSIDE = 0.3
"""Fraction of the image shown beyond each border at most."""

_ZOOM_BELOW = 0.12
"""Extent of a highlighted polygon, fraction of the image, below which it is shown from near."""

_FRACTION_BITS = 4


@dataclass(frozen=True, slots=True)
class _Outline:
    """An instance to be drawn; `line` is that of its row, or the id of its annotation."""

    line: int
    label: int
    rings: list[NDArray[np.float64]]


def draw_problem(
    problem: Problem, num_classes: int, lookup: Lookup = MappingProxyType({})
) -> NDArray[np.uint8] | None:
    """The picture of a problem, (H, W, 3) RGB; None where there is nothing to see.

    Args:
        problem: with two images they stand side by side.
        num_classes: labels must be below.
        lookup: the images that have a COCO file.
    """
    if problem.image is None:
        return None
    images = [problem.image] if problem.other is None else [problem.image, problem.other]
    frame = (_FRAME[0], _FRAME[1] // len(images) - 4 * (len(images) - 1))
    line = (problem.line or None) if problem.file == label_path(problem.image) else None
    if problem.annotation.isdecimal():
        line = int(problem.annotation)
    views = [
        _view(path, line, list(_outlines(path, num_classes, lookup)), frame) for path in images
    ]
    shown = [view for view in views if view is not None]
    if not shown:
        return None
    height = max(view.shape[0] for view in shown)
    canvas = np.full((height, sum(v.shape[1] + 8 for v in shown) - 8, 3), 255, dtype=np.uint8)
    left = 0
    for view in shown:
        top = (height - view.shape[0]) // 2
        canvas[top : top + view.shape[0], left : left + view.shape[1]] = view
        left += view.shape[1] + 8
    return canvas


def encode_jpeg(image: NDArray[np.uint8], quality: int = 82) -> bytes:
    """The content of a JPEG file; image (H, W, 3) RGB."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", image[..., ::-1], settings)[1].tobytes()


def _view(
    path: Path, line: int | None, outlines: Sequence[_Outline], frame: Size
) -> NDArray[np.uint8] | None:
    image = _whatever_is_left(path)
    if image is None:
        return None
    size = (image.shape[0], image.shape[1])
    chosen = next((o.rings for o in outlines if o.line == line), None)
    window = _window(chosen, size)
    canvas, scale = _cut_out(image, window, frame)
    for outline in outlines:
        if outline.rings is not chosen:
            _draw(canvas, outline.rings, size, window, scale, class_colour(outline.label), 1)
    if chosen is not None:
        _draw(canvas, chosen, size, window, scale, (255, 255, 255), 5)
        _draw(canvas, chosen, size, window, scale, _SIGNAL, 2)
    return canvas


def _whatever_is_left(path: Path) -> NDArray[np.uint8] | None:
    """The image, of a damaged one what can be decoded."""
    try:
        with Listener():  # it was told already
            return read_image(path)
    except DatasetError:
        pass
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except Exception:  # decoders raise anything on damaged files
        return None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _outlines(path: Path, num_classes: int, lookup: Lookup) -> Iterator[_Outline]:
    """Every instance that has points."""
    if path in lookup:
        source, i = lookup[path]
        height, width = source.index.size(i)
        for instance, _ in instances_of(source, i):
            rings = [part / (width, height) for part in instance.parts]
            yield _Outline(instance.line, max(instance.label, 0), rings)
        return
    try:
        rows, problems = parse_rows(read_label_text(label_path(path)), num_classes)
    except DatasetError:
        return
    for row in rows:
        yield _Outline(row.line, row.label, split_rings(row.points))
    for problem in problems:
        bad = problem.row
        if bad is None:
            continue
        if problem.kind == "box":
            centre, half = bad.points[0], bad.points[1] / 2
            corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
            yield _Outline(bad.line, bad.label, [centre + corners * half])
        else:
            yield _Outline(bad.line, bad.label, split_rings(bad.points))


def _window(outline: list[NDArray[np.float64]] | None, size: Size) -> Window:
    """What to show: all of the image, more where points lie outside, less around what is tiny."""
    height, width = size
    if outline is None:
        return 0, 0, width, height
    points = np.concatenate(outline)
    low, high = points.min(axis=0), points.max(axis=0)
    if (low >= 0).all() and (high <= 1).all() and (high - low).max() < _ZOOM_BELOW:
        x, y = (low + high) / 2 * (width, height)
        reach = max(float(((high - low) * (width, height)).max()) * 2, 24.0)
        return x - reach, y - reach * 0.75, x + reach, y + reach * 0.75
    margin = 0.03 if (low < 0).any() or (high > 1).any() else 0.0
    x1, y1 = np.clip(low - margin, -_OUTSIDE, 0) * (width, height)
    x2, y2 = np.clip(high + margin, 1, 1 + _OUTSIDE) * (width, height)
    return float(x1), float(y1), float(x2), float(y2)


def _cut_out(
    image: NDArray[np.uint8], window: Window, frame: Size
) -> tuple[NDArray[np.uint8], float]:
    """The window scaled to fit into the frame, and pixels of the result per pixel of the image."""
    x1, y1, x2, y2 = window
    scale = min(frame[1] / (x2 - x1), frame[0] / (y2 - y1))
    size = (max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale)))
    if scale < 0.5:  # first with averages, which the warp below does not make
        height, width = image.shape[:2]
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        fx, fy = small[0] / width, small[1] / height
    else:
        fx = fy = 1.0
    # OpenCV puts the centre of the first pixel at 0, we at 0.5.
    matrix = np.array(
        [
            [scale / fx, 0, scale / fx * 0.5 - 0.5 - x1 * scale],
            [0, scale / fy, scale / fy * 0.5 - 0.5 - y1 * scale],
        ]
    )
    cut = cv2.warpAffine(
        image,
        matrix,
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=_BACKGROUND,
    )
    return np.asarray(cut, dtype=np.uint8), scale


def _draw(
    canvas: NDArray[np.uint8],
    outline: list[NDArray[np.float64]],
    size: Size,
    window: Window,
    scale: float,
    colour: Colour,
    thickness: int,
) -> None:
    for ring in outline:
        points = (ring * (size[1], size[0]) - window[:2]) * scale
        points = (points.clip(-9999, 9999) * 2**_FRACTION_BITS).round().astype(np.int32)
        cv2.polylines(canvas, [points], True, colour, thickness, cv2.LINE_AA, _FRACTION_BITS)
