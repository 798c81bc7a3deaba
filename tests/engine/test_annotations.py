from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec
from crispmask.engine.annotations import Splits, reuse_annotations, write_annotations
from crispmask.engine.workdir import WorkDir
from crispmask.errors import DatasetError


def read(data: Path) -> tuple[Splits, tuple[str, ...]]:
    spec = read_spec(data)
    splits = {"train": spec.train, "val": spec.val}
    return {k: build_index(paths, len(spec.names)) for k, paths in splits.items()}, spec.names


def rename_class(folder: Path) -> None:
    file = folder / "data.yaml"
    file.write_text(file.read_text().replace("shape_1", "other"))


def edit_label(folder: Path) -> None:
    file = folder / "labels/train/000.txt"
    file.write_text(file.read_text().replace("0.", "0.0", 1))


def add_image(folder: Path) -> None:
    Image.new("RGB", (128, 96)).save(folder / "images/val/new.png")


def remove_image(folder: Path) -> None:
    (folder / "images/train/000.jpg").unlink()


def replace_image(folder: Path) -> None:
    Image.new("RGB", (64, 64)).save(folder / "images/val/000.jpg")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (rename_class, "the class names changed"),
        (edit_label, "the train labels changed"),
        (add_image, "the val images changed since it was written (3 images then, 4 now)"),
        (remove_image, "the train images changed since it was written (6 images then, 5 now)"),
        (replace_image, "the val images changed"),
    ],
)
def test_a_changed_dataset_is_told(
    yolo_dataset, tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    data = yolo_dataset()
    write_annotations(tmp_path / "run/annotations", *read(data))
    reuse_annotations(WorkDir(tmp_path / "run"), *read(data))
    change(data.parent)
    with pytest.raises(DatasetError) as caught:
        reuse_annotations(WorkDir(tmp_path / "run"), *read(data))
    assert words in str(caught.value)
    assert "train without --skip-conversion" in str(caught.value)


def test_files_of_the_run_before_are_taken_over(yolo_dataset, tmp_path: Path) -> None:
    splits, names = read(yolo_dataset())
    write_annotations(tmp_path / "run/annotations", splits, names)
    reuse_annotations(WorkDir(tmp_path / "run_2", tmp_path / "run"), splits, names)
    for name in ("instances_train.json", "instances_val.json", "fingerprint.json"):
        first, second = (tmp_path / run / "annotations" / name for run in ("run", "run_2"))
        assert first.read_bytes() == second.read_bytes()
    with pytest.raises(DatasetError, match="train without it once"):
        reuse_annotations(WorkDir(tmp_path / "none"), splits, names)
