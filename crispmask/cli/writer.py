"""What `crispmask predict` leaves on disk while results come in."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.data.rings import format_label_line
from crispmask.engine.predictions import Predictions
from crispmask.errors import OutputError, SourceError
from crispmask.geometry.mask_runs import mask_area, mask_crop, mask_extent
from crispmask.neighbours.label_studio import label_config
from crispmask.types import Instances, class_name

Image = NDArray[np.uint8]
AddFrame = Callable[[Image, Instances], None]

KEPT_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
"""Overlays of other formats are written as .jpg."""

COLUMNS = (
    *("image", "width", "height", "instance", "class", "label", "score"),
    *("x1", "y1", "x2", "y2", "area"),
)
"""Of predictions.csv; positions in pixels, area in pixels of the mask."""


@dataclass(frozen=True)
class Wanted:
    """Which results are written.

    Attributes:
        overlays: pictures and videos with the instances drawn.
        txt: labels/<name>.txt, one YOLO polygon row per instance.
        json: predictions.json, COCO results; images numbered from 1, named by `file_name`.
        csv: predictions.csv, one row per instance.
        crops: crops/<class>/<name>_<number>.png, cut out along the mask.
        label_studio: label_studio.json and label_config.xml.
    """

    overlays: bool = True
    txt: bool = False
    json: bool = False
    csv: bool = False
    crops: bool = False
    label_studio: bool = False


class ResultWriter:
    """Writes results into a folder while they come in; a context manager.

    Args:
        out: folder, made if it is missing.
        wanted: which results.
        names: class names by label.
    """

    def __init__(self, out: Path, wanted: Wanted, names: tuple[str, ...] = ()) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._out = out
        self._wanted = wanted
        self._names = names
        self._rows = Predictions(out)  # on the disk: a stream may run for days
        self._tasks = Predictions(out)
        self._num_images = 0
        self._taken: set[str] = set()  # in small letters: some disks know no others
        self._num_frames: dict[str, int] = {}  # of each video, whose frames are not in `_taken`
        self._table: IO[str] | None = None
        if wanted.csv:
            self._table = (out / "predictions.csv").open("w", encoding="utf-8", newline="")
            csv.writer(self._table).writerow(COLUMNS)

    def __enter__(self) -> ResultWriter:
        return self

    def __exit__(self, *_: object) -> None:
        """Writes what belongs to all images together, also after an interruption."""
        if self._table:
            self._table.close()
        if self._wanted.json:
            self._rows.save(self._out / "predictions.json")
        if self._wanted.label_studio:
            self._tasks.save(self._out / "label_studio.json")
            text = label_config(self._names)
            (self._out / "label_config.xml").write_text(text, encoding="utf-8")

    def add_image(self, source: str, path: PurePath, image: Image, instances: Instances) -> None:
        """Takes the result of a picture.

        Args:
            source: what results name it.
            path: what files are named after.
            image: (H, W, 3).
            instances: found in it.
        """
        name = self._free_name(path.stem)
        if self._wanted.overlays:
            _write(self._out / f"{name}{overlay_suffix(path)}", instances.plot(image))
        self._record(name, source, image, instances)

    @contextmanager
    def video(self, source: str, path: PurePath, fps: float) -> Iterator[AddFrame]:
        """Writes an .mp4; the frames go into the function it gives, in their order."""
        name = self._free_name(path.stem)
        target = self._out / f"{name}.mp4"
        writer: cv2.VideoWriter | None = None
        num_frames = 0

        def add_frame(frame: Image, instances: Instances) -> None:
            nonlocal writer, num_frames
            num_frames += 1
            frame_name = f"{name}_{num_frames}"
            if frame_name.lower() in self._taken:  # a picture before the video was called so
                frame_name = self._free_name(frame_name)
            self._num_frames[name.lower()] = num_frames
            if self._wanted.overlays:
                if writer is None:  # the size is known from the first frame on
                    size, codec = (frame.shape[1], frame.shape[0]), cv2.VideoWriter.fourcc(*"mp4v")
                    writer = cv2.VideoWriter(str(target), codec, fps, size)
                    if not writer.isOpened():
                        raise SourceError(f"{target}: OpenCV cannot write videos here")
                writer.write(cv2.cvtColor(instances.plot(frame), cv2.COLOR_RGB2BGR))
            self._record(frame_name, f"{source}#{num_frames}", frame, instances)

        try:
            yield add_frame
        finally:
            if writer is not None:
                writer.release()

    def _record(self, name: str, source: str, image: Image, instances: Instances) -> None:
        self._num_images += 1
        wanted = self._wanted
        if wanted.json:
            rows = instances.to_coco(self._num_images)
            rows = [{**row, "file_name": source} for row in rows]
            self._rows.add(self._num_images, rows)
        if wanted.label_studio:
            self._tasks.add(self._num_images, [instances.to_label_studio(source)])
        if wanted.txt:
            self._write_labels(name, instances)
        if self._table:
            csv.writer(self._table).writerows(_csv_rows(source, instances))
            self._table.flush()  # of a stream somebody may be reading along
        if wanted.crops:
            self._write_crops(name, image, instances)

    def _write_labels(self, name: str, instances: Instances) -> None:
        lines = [
            format_label_line(int(label), parts, instances.size)
            for label, parts in zip(instances.labels, instances.polygons(), strict=True)
            if parts  # an empty mask has no outline
        ]
        folder = self._out / "labels"
        folder.mkdir(exist_ok=True)
        text = "".join(f"{line}\n" for line in lines)
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")

    def _write_crops(self, name: str, image: Image, instances: Instances) -> None:
        masks = instances.compact_masks
        for i, label in enumerate(instances.labels.tolist()):
            if (extent := mask_extent(masks, i)) is None:
                continue
            x1, y1, x2, y2 = extent
            alpha = mask_crop(masks, i, extent).astype(np.uint8) * 255
            folder = self._out / "crops" / _as_folder(class_name(instances.names, label))
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / f"{name}_{i + 1}.png", np.dstack([image[y1:y2, x1:x2], alpha]))

    def _free_name(self, stem: str) -> str:
        """The stem, numbered where images of several folders share it."""
        stem = file_stem(stem)
        name, number = stem, 1
        while self._is_taken(name.lower()):
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name.lower())
        return name

    def _is_taken(self, name: str) -> bool:
        """Whether a picture, a video or a frame is called so."""
        video, _, number = name.rpartition("_")
        is_frame = number.isdecimal() and 0 < int(number) <= self._num_frames.get(video, 0)
        return name in self._taken or is_frame


def file_stem(stem: str) -> str:
    """The stem of a source as that of its results on any system."""
    return _for_any_system(stem) or "image"


def overlay_suffix(path: PurePath) -> str:
    """How the picture that is drawn of a picture is named at its end."""
    return path.suffix if path.suffix.lower() in KEPT_SUFFIXES else ".jpg"


def _write(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Writes RGB or RGBA pixels."""
    code = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
    # By hand: imwrite fails on names outside the system's code page on Windows.
    converted = cv2.cvtColor(pixels, code)
    for suffix in (path.suffix, ".png"):  # JPEG ends at 65500 pixels, WebP at 16383
        if (content := _encoded(suffix, converted)) is not None:
            path.with_suffix(suffix).write_bytes(content)
            return
    height, width = pixels.shape[:2]
    raise OutputError(f"{path}: no format for a picture of {width} x {height} pixels")


def _encoded(suffix: str, pixels: NDArray[Any]) -> bytes | None:
    """The file of BGR or BGRA pixels; None where its format does not know such a size."""
    try:
        done, content = cv2.imencode(suffix, pixels)
    except cv2.error:
        return None
    return content.tobytes() if done else None


def _csv_rows(source: str, instances: Instances) -> Iterator[list[Any]]:
    height, width = instances.size
    for i, label in enumerate(instances.labels.tolist()):
        area = mask_area(instances.compact_masks, i)
        box = [round(float(value), 2) for value in instances.boxes[i]]
        name, score = class_name(instances.names, label), round(float(instances.scores[i]), 4)
        yield [source, width, height, i + 1, name, label, score, *box, area]


def _as_folder(name: str) -> str:
    """A class name as the name of a folder on any system."""
    return _for_any_system(name).strip(" .") or "_"


def _for_any_system(name: str) -> str:
    return re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", name)
