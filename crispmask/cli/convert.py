"""`crispmask convert`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crispmask.cli.arguments import parse
from crispmask.config import check_val_fraction
from crispmask.data.coco import coco_ground_truth, write_json_atomic
from crispmask.data.coco_to_yolo import write_yolo_dataset
from crispmask.data.scan import build_index
from crispmask.data.set_aside import read_with_val
from crispmask.data.spec import read_spec
from crispmask.errors import ConfigError


@dataclass(frozen=True)
class ConvertConfig:
    """Writes a YOLO-format dataset as COCO files, or COCO files as a YOLO-format dataset."""

    out: str
    """Folder to write: annotations/instances_<split>.json, or images, labels and data.yaml."""
    data: str = ""
    """Path to data.yaml, to write COCO files; the images stay in place."""
    to: Literal["coco"] = "coco"
    """Format to write from --data."""
    from_coco: str = ""
    """Path of a COCO annotation file, to write a YOLO-format dataset."""
    images: str = ""
    """Folder of the images of --from-coco."""
    split: Literal["train", "val", "test"] = "train"
    """Split that --from-coco becomes."""
    val_coco: str = ""
    """Path of a second COCO file, which becomes the split val."""
    val_fraction: float = 0.0
    """Fraction of the training images that become val, as a run with that flag had them."""
    link: bool = False
    """Link to the images instead of copying them."""

    def __post_init__(self) -> None:
        if bool(self.data) == bool(self.from_coco):
            raise ConfigError("give either --data with --to coco, or --from-coco with --images")
        if self.from_coco and not self.images:
            raise ConfigError("--from-coco needs --images, the folder of its images")
        check_val_fraction(self.val_fraction)
        if self.val_coco and (self.data or self.split == "val"):
            raise ConfigError("--val-coco goes with --from-coco of another split than val")


def convert(argv: Sequence[str], prog: str) -> int:
    """Converts in the direction that the flags say."""
    config = parse(ConvertConfig, argv, prog)
    return _to_coco(config) if config.data else _to_yolo(config)


def _to_coco(config: ConvertConfig) -> int:
    """Writes one COCO file per split that has images."""
    spec = read_spec(config.data)
    if config.val_fraction:
        spec = read_with_val(config.data, config.val_fraction)
    for note in spec.notes:
        print(note)
    for split, paths in (("train", spec.train), ("val", spec.val), ("test", spec.test)):
        if not paths:
            continue
        content = coco_ground_truth(build_index(paths, len(spec.names)), spec.names)
        target = Path(config.out) / "annotations" / f"instances_{split}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(target, content)
        print(f"{target}: {len(paths)} images, {len(content['annotations'])} instances")
    return 0


def _to_yolo(config: ConvertConfig) -> int:
    """Writes a dataset of one split per COCO file."""
    files: dict[str, Path] = {config.split: Path(config.from_coco)}
    if config.val_coco:
        files["val"] = Path(config.val_coco)
    out = Path(config.out)
    for done in write_yolo_dataset(files, Path(config.images), out, config.link):
        left_out = [
            f"{count} {what} left out"
            for count, what in ((done.num_crowds, "crowds"), (done.num_empty, "without area"))
            if count
        ]
        print(
            ", ".join(
                [
                    f"{done.split}: {done.num_images} images",
                    f"{done.num_instances} instances",
                    *left_out,
                ]
            )
        )
    print(out / "data.yaml")
    return 0
