"""What is wrong with the annotations of an image in a COCO file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crispmask.data.coco_images import CocoImages, CocoSource
from crispmask.data.spec import DatasetSpec
from crispmask.doctor.rows import Instance, RowFinding, RowReport, check_instances, line_text

_CODES = {
    "box": "row-box",
    "points": "row-points",
    "number": "row-number",
    "range": "row-outside",
    "class": "row-class",
    "mask": "row-mask",
    "empty": "row-zero-area",
}


@dataclass(frozen=True, slots=True)
class AnnotationReport:
    """All that is known of the annotations of an image.

    Attributes:
        rows: of those that can be used, crowds left out; the line of a finding is the id of its
            annotation.
        named: every finding with the id of its annotation, ? where that is no number.
        digest: the same for the same annotations.
    """

    rows: RowReport
    named: tuple[tuple[str, RowFinding], ...]
    digest: bytes


def check_annotations(source: CocoSource, i: int, imgsz: int) -> AnnotationReport:
    """Looks at every annotation of image i.

    Args:
        source: of its split.
        i: position in it.
        imgsz: longest side given to the network.
    """
    named = [
        (
            problem.annotation,
            RowFinding(_CODES[problem.kind], 0, problem.message.partition("; ")[0]),
        )
        for problem in source.problems.get(i, ())
    ]
    findings: list[RowFinding] = []
    distinct: dict[tuple[int, bytes], Instance] = {}
    digest = hashlib.blake2b(digest_size=8)
    for instance, crowd in instances_of(source, i):
        content = b"".join(part.tobytes() for part in instance.parts)
        digest.update(bytes([crowd]) + instance.label.to_bytes(4, "little", signed=True) + content)
        if crowd:
            continue
        if instance.label < 0:
            message = "its category is not among names"
            findings.append(RowFinding("row-class", instance.line, message))
            continue
        first = distinct.setdefault((instance.label, content), instance)
        if first is not instance:
            message = f"the same as annotation {line_text(first.line)}"
            findings.append(RowFinding("row-duplicate", instance.line, message))
    size = source.index.size(i)
    rows = check_instances(list(distinct.values()), findings, size, imgsz, "annotation")
    named += [(line_text(finding.line), finding) for finding in rows.findings]
    return AnnotationReport(rows, tuple(named), digest.digest())


def instances_of(source: CocoSource, i: int) -> list[tuple[Instance, bool]]:
    """The instances of image i in its pixels, and whether each is a crowd."""
    polygons, labels, crowd = source.index.annotation_with_crowds(i, source.index.size(i))
    return [
        (Instance(number, label, tuple(part.astype(np.float64) for part in parts)), is_crowd)
        for number, label, parts, is_crowd in zip(
            source.ids_of(i), labels.tolist(), polygons, crowd.tolist(), strict=True
        )
    ]


Lookup = Mapping[Path, tuple[CocoSource, int]]
"""What COCO files say of images, by path: their source and the position in it."""


def coco_lookup(spec: DatasetSpec) -> Lookup:
    """All images of a dataset that have a COCO file; of one in two splits the later one."""
    found: dict[Path, tuple[CocoSource, int]] = {}
    for paths in (spec.train, spec.val, spec.test):
        if isinstance(paths, CocoImages):
            found |= {path: (paths.source, i) for i, path in enumerate(paths)}
    return found
