"""What `crispmask predict` leaves on disk: overlays, label files, COCO results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.data.coco import write_json_atomic
from crispmask.data.rings import format_label_line
from crispmask.errors import SourceError
from crispmask.types import Instances

Image = NDArray[np.uint8]
AddFrame = Callable[[Image, Instances], None]

KEPT_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
"""Overlays of other formats are written as .jpg."""


class ResultWriter:
    """Writes results into a folder while they come in; call `finish` at the end.

    Args:
        out: folder, made if it is missing.
        save_txt: write labels/<name>.txt with one YOLO polygon row per instance.
        save_json: write predictions.json: COCO results, images numbered from 1 in their
            order and named by `file_name`.
    """

    def __init__(self, out: Path, save_txt: bool = False, save_json: bool = False) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._out = out
        self._save_txt = save_txt
        self._save_json = save_json
        self._rows: list[dict[str, Any]] = []
        self._num_images = 0
        self._taken: set[str] = set()

    def add_image(self, path: Path, image: Image, instances: Instances) -> None:
        """Takes the result of an image file."""
        name = self._free_name(path.stem)
        suffix = path.suffix if path.suffix.lower() in KEPT_SUFFIXES else ".jpg"
        overlay = cv2.cvtColor(instances.plot(image), cv2.COLOR_RGB2BGR)
        # Written by hand: imwrite fails on names outside the system's code page on Windows.
        _, content = cv2.imencode(suffix, overlay)
        (self._out / f"{name}{suffix}").write_bytes(content.tobytes())
        self._record(name, str(path), image, instances)

    @contextmanager
    def video(self, path: Path, fps: float) -> Iterator[AddFrame]:
        """Writes an .mp4; the frames go into the function it gives, in their order."""
        name = self._free_name(path.stem)
        target = self._out / f"{name}.mp4"
        writer: cv2.VideoWriter | None = None
        num_frames = 0

        def add_frame(frame: Image, instances: Instances) -> None:
            nonlocal writer, num_frames
            if writer is None:  # the size is known from the first frame on
                size = (frame.shape[1], frame.shape[0])
                writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
                if not writer.isOpened():
                    raise SourceError(f"{target}: OpenCV cannot write videos here")
            writer.write(cv2.cvtColor(instances.plot(frame), cv2.COLOR_RGB2BGR))
            num_frames += 1
            self._record(f"{name}_{num_frames}", f"{path}#{num_frames}", frame, instances)

        try:
            yield add_frame
        finally:
            if writer is not None:
                writer.release()

    def finish(self) -> None:
        """Writes what belongs to all images together."""
        if self._save_json:
            write_json_atomic(self._out / "predictions.json", self._rows)

    def _record(self, name: str, file_name: str, image: Image, instances: Instances) -> None:
        self._num_images += 1
        if self._save_json:
            rows = instances.to_coco(self._num_images)
            self._rows += [{**row, "file_name": file_name} for row in rows]
        if self._save_txt:
            size = (image.shape[0], image.shape[1])
            lines = [
                format_label_line(int(label), parts, size)
                for label, parts in zip(instances.labels, instances.polygons(), strict=True)
                if parts  # an empty mask has no outline
            ]
            folder = self._out / "labels"
            folder.mkdir(exist_ok=True)
            text = "".join(f"{line}\n" for line in lines)
            (folder / f"{name}.txt").write_text(text, encoding="utf-8")

    def _free_name(self, stem: str) -> str:
        """The stem, numbered where images of several folders share it."""
        name, number = stem, 1
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name.lower())
        return name
