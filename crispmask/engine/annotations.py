"""The COCO annotation files of a run, and whether those of an earlier run still hold."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crispmask.data.coco import coco_ground_truth, write_json_atomic
from crispmask.data.index import DatasetIndex
from crispmask.engine.workdir import WorkDir
from crispmask.errors import DatasetError

Splits = dict[str, DatasetIndex]
"""Index of each split by its name: `train`, `val`."""

FINGERPRINT = "fingerprint.json"


def write_annotations(folder: Path, splits: Splits, names: Sequence[str]) -> None:
    """Writes instances_<split>.json of each split and what they were made from."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FINGERPRINT).unlink(missing_ok=True)  # never beside files it does not describe
    for split, index in splits.items():
        write_json_atomic(folder / f"instances_{split}.json", coco_ground_truth(index, names))
    write_json_atomic(folder / FINGERPRINT, fingerprint(splits, names))


def reuse_annotations(work_dir: WorkDir, splits: Splits, names: Sequence[str]) -> None:
    """Takes the annotation files of the work dir, or of the run before it.

    Raises:
        DatasetError: there are none, or the dataset has changed since.
    """
    folders = [work_dir.annotations]
    if work_dir.previous is not None:
        folders.append(work_dir.previous / "annotations")
    folder = next((f for f in folders if (f / FINGERPRINT).is_file()), None)
    if folder is None:
        raise DatasetError(
            f"--skip-conversion: {folders[-1]} holds no annotation files; train without it once"
        )
    try:
        before = json.loads((folder / FINGERPRINT).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(
            f"{folder / FINGERPRINT}: damaged; train without --skip-conversion"
        ) from error
    if changed := difference(before, fingerprint(splits, names)):
        raise DatasetError(f"{folder}: {changed}; train without --skip-conversion")
    if folder == work_dir.annotations:
        return
    work_dir.annotations.mkdir(parents=True, exist_ok=True)
    for name in [*(f"instances_{split}.json" for split in splits), FINGERPRINT]:
        shutil.copyfile(folder / name, work_dir.annotations / name)


def load_annotations(folder: Path, split: str) -> dict[str, Any]:
    """The COCO annotations of a split.

    Raises:
        DatasetError: missing or damaged.
    """
    path = folder / f"instances_{split}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path}: cannot be read ({error}); train without --skip-conversion"
        ) from error


def fingerprint(splits: Splits, names: Sequence[str]) -> dict[str, Any]:
    """What annotation files depend on: names, images and labels, by content."""
    return {
        "class_names": list(names),
        **{split: _split_fingerprint(index) for split, index in splits.items()},
    }


def _split_fingerprint(index: DatasetIndex) -> dict[str, Any]:
    # By file name: a dataset that was moved as a whole is still the same.
    images = "\n".join(index.path(i).name for i in range(len(index)))
    labels = (
        index.labels,
        index.crowd,
        index.image_offsets,
        index.part_offsets,
        index.point_offsets,
    )
    return {
        "num_images": len(index),
        "num_instances": index.num_instances(),
        "images": _digest(images.encode(), _bytes(index.sizes)),
        "labels": _digest(
            *map(_bytes, labels), np.ascontiguousarray(index.points, "<f4").tobytes()
        ),
    }


def difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What changed between two fingerprints, in words; empty if nothing did."""
    if before.get("class_names") != now["class_names"]:
        return "the class names changed since it was written"
    for split in (key for key in now if key != "class_names"):
        old, new = before.get(split, {}), now[split]
        for key, counted, word in (
            ("images", "num_images", "images"),
            ("labels", "num_instances", "instances"),
        ):
            if old.get(key) != new[key]:
                return (
                    f"the {split} {key} changed since it was written "
                    f"({old.get(counted, 0)} {word} then, {new[counted]} now)"
                )
    return ""


def _bytes(values: Any) -> bytes:
    return np.ascontiguousarray(values, dtype="<i8").tobytes()


def _digest(*chunks: bytes) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(len(chunk).to_bytes(8, "little"))
        digest.update(chunk)
    return digest.hexdigest()
