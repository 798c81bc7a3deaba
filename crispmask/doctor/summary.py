"""The findings as values for a JSON file."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from crispmask.doctor.counts import SIZE_NAMES, SplitCounts
from crispmask.doctor.examine import Examination
from crispmask.doctor.kinds import KINDS, SEVERITIES, Problem
from crispmask.version import __version__

FORMAT = 1
"""Goes up when a key changes its meaning or goes away."""


def as_json(found: Examination) -> dict[str, Any]:
    """Summary and all problems; paths are absolute."""
    return {
        "format": FORMAT,
        "crispmask": __version__,
        "data": str(found.spec.file),
        "root": str(found.spec.root),
        "names": list(found.names),
        "notes": list(found.spec.notes),
        "imgsz": found.imgsz,
        "decoded": found.decoded,
        "exit_code": 1 if found.number("error") else 0,
        "counts": {severity: found.number(severity) for severity in SEVERITIES},
        "codes": {
            code: {**asdict(KINDS[code]), "count": len(problems)}
            for code, problems in found.by_code().items()
        },
        "splits": {split: _counts(counts) for split, counts in found.counts.items()},
        "problems": [_problem(problem) for problem in found.problems],
    }


def _counts(counts: SplitCounts) -> dict[str, Any]:
    values = asdict(counts)
    values["image_sizes"] = [
        {"height": height, "width": width, "images": images}
        for (height, width), images in counts.image_sizes
    ]
    values["size_counts"] = dict(zip(SIZE_NAMES, counts.size_counts, strict=True))
    return values


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "code": problem.code,
        "severity": problem.severity,
        "file": str(problem.file),
        "line": problem.line or None,
        "annotation": problem.annotation or None,
        "message": problem.message,
        "split": problem.split or None,
        "image": None if problem.image is None else str(problem.image),
        "other": None if problem.other is None else str(problem.other),
    }
