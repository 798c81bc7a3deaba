"""Everything the doctor can find, in one table, and what a finding is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning", "info"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""Worst first."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem.

    Attributes:
        code: its name, which stays the same from version to version.
        severity: error: training refuses it, or learns or measures something wrong; warning:
            worth a look; info: good to know.
        meaning: what it is.
        fix: what to do.
    """

    code: str
    severity: Severity
    meaning: str
    fix: str


_ROWS = (
    # data.yaml and lists
    Kind("yaml-key", "error", "a key is in data.yaml twice", "remove one of them"),
    Kind("yaml-path", "error", "path leads to no folder", "correct path, or remove it"),
    Kind("yaml-names", "error", "names is missing or no list of names", "write the class names"),
    Kind("yaml-nc", "error", "nc is no number, or disagrees with names", "correct or remove nc"),
    Kind("yaml-split", "error", "train or val is missing or leads to no images", "correct it"),
    Kind("yaml-val", "warning", "no images to validate on", "train with --val-fraction 0.2"),
    Kind("list-line", "error", "a list of images names what is not there", "correct the line"),
    # images
    Kind("image-unreadable", "error", "missing, or not a known image format", "save it again"),
    Kind("image-truncated", "error", "the end of the image is missing", "fetch it again"),
    Kind("image-damaged", "error", "parts of the image cannot be decoded", "fetch it again"),
    Kind("leak", "error", "the same image file in two splits", "keep it in one of them"),
    Kind("leak-similar", "warning", "nearly the same picture in two splits", "keep one"),
    Kind("image-duplicate", "warning", "the same image file twice in a split", "remove one"),
    Kind("image-similar", "warning", "nearly the same picture twice in a split", "keep one"),
    Kind("image-small", "warning", "a side shorter than 32 pixels", "check where it comes from"),
    Kind("image-size", "error", "another size than its COCO file says", "use the right image"),
    Kind("image-turned", "info", "turned by EXIF: labels must fit the upright image", "look at it"),
    # label files
    Kind("label-unreadable", "error", "a label file that is no UTF-8 text", "save it as text"),
    Kind("label-shared", "warning", "two images have the same label file", "rename one image"),
    Kind("label-orphan", "warning", "a label file without image", "add the image or remove it"),
    Kind("label-missing", "info", "no label file: the image is background", "add one if it is not"),
    # rows of label files
    Kind("row-number", "error", "a field is no number", "write class x1 y1 x2 y2 x3 y3 ..."),
    Kind("row-class", "error", "a class that data.yaml does not have", "correct the class"),
    Kind(
        "row-box",
        "error",
        "a box in place of a polygon",
        "draw a polygon; --boxes rectangle makes one",
    ),
    Kind("row-points", "error", "fewer than three points, or half of one", "draw it again"),
    Kind("row-outside", "error", "coordinates outside 0 to 1", "divide by width and height"),
    Kind("row-mask", "error", "a mask that cannot be decoded", "export it again"),
    Kind("row-zero-area", "error", "a polygon without area", "draw it again or remove it"),
    Kind("row-crossing", "warning", "the outline crosses itself", "draw it again"),
    Kind("row-duplicate", "warning", "the same row twice; it counts once", "remove one"),
    Kind("row-repeated", "warning", "nearly the same polygon twice", "remove one"),
    Kind("row-two-classes", "warning", "nearly the same polygon with two classes", "choose one"),
    Kind("row-tiny", "warning", "smaller than a mask pixel at --imgsz", "raise --imgsz"),
    Kind("row-clipped", "info", "up to 0.01 outside the image: clipped", "nothing to do"),
    # the dataset as a whole
    Kind("split-empty", "error", "no instance in all of train or val", "check the label folder"),
    Kind("split-background", "warning", "most images have no label file", "check the names"),
    Kind("class-empty", "warning", "a class without instances in a split", "add some"),
    Kind("class-rare", "warning", "50 times fewer instances than another class", "add some"),
)

KINDS = {kind.code: kind for kind in _ROWS}
"""All kinds by code, in the order they are reported."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding.

    Attributes:
        code: a key of `KINDS`.
        file: the file to correct.
        line: of the file, from 1; 0 if it is the file as a whole.
        message: what exactly is wrong.
        split: train, val or test; empty if it is none of them.
        image: the image it shows in, if any.
        other: the image it repeats, if any.
        annotation: its id in a COCO file; empty elsewhere.
        weight: how bad it is among its kind; the worst are shown.
    """

    code: str
    file: Path
    line: int
    message: str
    split: str = ""
    image: Path | None = None
    other: Path | None = None
    annotation: str = ""
    weight: float = 0.0

    @property
    def severity(self) -> Severity:
        """Of its kind."""
        return KINDS[self.code].severity
