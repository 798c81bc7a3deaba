"""`crispmask convert`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crispmask.cli.arguments import parse
from crispmask.data.coco import coco_ground_truth, write_json_atomic
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec


@dataclass(frozen=True)
class ConvertConfig:
    """Writes the annotations of a YOLO-format dataset as COCO files; images stay in place."""

    data: str
    """Path to data.yaml."""
    out: str
    """Folder of the files: annotations/instances_<split>.json."""
    to: Literal["coco"] = "coco"
    """Format to write."""


def convert(argv: Sequence[str], prog: str) -> int:
    """Writes one COCO file per split that has images."""
    config = parse(ConvertConfig, argv, prog)
    spec = read_spec(config.data)
    for split, paths in (("train", spec.train), ("val", spec.val), ("test", spec.test)):
        if not paths:
            continue
        content = coco_ground_truth(build_index(paths, len(spec.names)), spec.names)
        target = Path(config.out) / "annotations" / f"instances_{split}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(target, content)
        print(f"{target}: {len(paths)} images, {len(content['annotations'])} instances")
    return 0
