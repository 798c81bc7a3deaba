"""Exports of labelling tools, in the folders and files they write."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crispmask.cli import main
from crispmask.data.scan import build_index
from crispmask.data.set_aside import read_with_val
from crispmask.data.spec import inspect_spec, read_spec
from crispmask.errors import DatasetError
from crispmask.models.files import REQUIRED, write_file
from crispmask.validate import _read_split, trained_val_fraction

ROW = "{label} 0.10 0.10 0.60 0.10 0.60 0.70 0.10 0.70\n"


def put(folder: Path, image: str, label: str | None, seed: int) -> None:
    """An image with one instance of class 0 or 1, at two paths below a folder."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    (folder / image).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((128, 96)).save(folder / image)
    if label is not None:
        (folder / label).parent.mkdir(parents=True, exist_ok=True)
        (folder / label).write_text(ROW.format(label=seed % 2))


def roboflow(folder: Path) -> Path:
    """YOLOv8 format: paths lead out of the folder, as if data.yaml lay one level deeper."""
    for i, split in enumerate(("train", "valid", "test")):
        for k in range(3):
            stem = f"IMG_{k}_jpg.rf.{k}f{i}c0ffee"
            put(folder, f"{split}/images/{stem}.jpg", f"{split}/labels/{stem}.txt", 10 * i + k)
    (folder / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\n"
        "nc: 2\nnames: ['bolt', 'nut']\n\nroboflow:\n  workspace: w\n  project: p\n  version: 1\n"
        "  license: CC BY 4.0\n  url: https://universe.roboflow.com/w/p/dataset/1\n"
    )
    (folder / "README.roboflow.txt").write_text("p - v1\n")
    (folder / "README.dataset.txt").write_text("# p > v1\n")
    return folder / "data.yaml"


def ultralytics(folder: Path) -> Path:
    """The YAML lies apart; `path` starts from a folder `datasets`."""
    home = folder / "datasets" / "coco8-seg"
    for i, split in enumerate(("train", "val")):
        for k in range(4):
            put(home, f"images/{split}/{k:012}.jpg", f"labels/{split}/{k:012}.txt", 10 * i + k)
    (home / "labels/train.cache").write_bytes(b"\x93NUMPY")
    (folder / "coco8-seg.yaml").write_text(
        "# COCO8-seg\npath: coco8-seg # dataset root dir\ntrain: images/train # train images\n"
        "val: images/val # val images\ntest: # test images (optional)\n\n"
        "names:\n  0: bolt\n  1: nut\n\ndownload: https://example.com/coco8-seg.zip\n"
    )
    return folder / "coco8-seg.yaml"


def label_studio(folder: Path) -> Path:
    """YOLO with images: no data.yaml, names in classes.txt, a hash before each file name."""
    for k in range(6):
        stem = f"{k}a3f09be-Straße {k}"
        put(folder, f"images/{stem}.png", f"labels/{stem}.txt", k)
    (folder / "classes.txt").write_text("bolt\nnut\n")
    categories = [{"id": 0, "name": "bolt"}, {"id": 1, "name": "nut"}]
    info = {"year": 2026, "version": "1.0", "contributor": "Label Studio"}
    (folder / "notes.json").write_text(json.dumps({"categories": categories, "info": info}))
    return folder


def cvat_segmentation(folder: Path) -> Path:
    """Ultralytics YOLO Segmentation 1.0: one subset, a list of its images, no val."""
    names = [f"frame_{k:06}.PNG" for k in range(5)]
    for k, name in enumerate(names):
        label = None if k == 4 else f"labels/train/frame_{k:06}.txt"
        put(folder, f"images/train/{name}", label, k)
    (folder / "train.txt").write_text("".join(f"data/images/train/{name}\n" for name in names))
    (folder / "data.yaml").write_text("names:\n  0: bolt\n  1: nut\npath: .\ntrain: train.txt\n")
    return folder


def cvat_yolo(folder: Path) -> Path:
    """YOLO 1.1: obj.data and obj.names, images and labels side by side."""
    for k in range(4):
        put(folder, f"obj_train_data/{k}.jpg", f"obj_train_data/{k}.txt", k)
    for k in range(2):
        put(folder, f"obj_valid_data/v{k}.jpg", f"obj_valid_data/v{k}.txt", 10 + k)
    for split in ("train", "valid"):
        images = sorted((folder / f"obj_{split}_data").glob("*.jpg"))
        lines = [f"data/obj_{split}_data/{path.name}\n" for path in images]
        (folder / f"{split}.txt").write_text("".join(lines))
    (folder / "obj.names").write_text("bolt\nnut\n")
    (folder / "obj.data").write_text(
        "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n"
        "backup = backup/\n"
    )
    return folder


EXPORTS: dict[str, tuple[Callable[[Path], Path], tuple[int, int, int], float]] = {
    "roboflow": (roboflow, (3, 3, 3), 0.0),
    "ultralytics": (ultralytics, (4, 4, 0), 0.0),
    "label studio": (label_studio, (4, 2, 0), 0.34),
    "cvat segmentation": (cvat_segmentation, (4, 1, 0), 0.2),
    "cvat yolo": (cvat_yolo, (4, 2, 0), 0.0),
}
"""How each is written, the images of its splits, and the fraction set aside for val."""


@pytest.mark.parametrize(("write", "counts", "fraction"), EXPORTS.values(), ids=EXPORTS)
def test_exports_load_as_they_come(
    tmp_path: Path, write: Callable[[Path], Path], counts: tuple[int, ...], fraction: float
) -> None:
    spec = read_with_val(write(tmp_path), fraction)
    assert spec.names == ("bolt", "nut")
    assert tuple(map(len, (spec.train, spec.val, spec.test))) == counts
    index = build_index([*spec.train, *spec.val], 2)
    labels = len(index) - (1 if write is cvat_segmentation else 0)
    assert len(index.labels) == labels
    assert set(index.labels.tolist()) == {0, 1}
    assert read_with_val(spec.file, fraction) == spec  # as config.yaml has it
    assert not (set(spec.train) & set(spec.val))


@pytest.mark.parametrize(("write", "counts", "fraction"), EXPORTS.values(), ids=EXPORTS)
def test_check_finds_no_error(
    tmp_path: Path,
    write: Callable[[Path], Path],
    counts: tuple[int, ...],
    fraction: float,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", f"data={write(tmp_path)}"]) == 0
    out = capsys.readouterr().out
    assert ("warning yaml-val no images to validate on" in out) == bool(fraction)
    assert "label-orphan" not in out


MAP_KEYS = [f"{kind}/{key}" for kind in ("mask", "box") for key in ("mAP50-95", "mAP50", "AR100")]


@pytest.mark.slow
@pytest.mark.parametrize(("write", "counts", "fraction"), EXPORTS.values(), ids=EXPORTS)
def test_training_and_validation(
    tmp_path: Path,
    write: Callable[[Path], Path],
    counts: tuple[int, ...],
    fraction: float,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, run = write(tmp_path / "data"), tmp_path / "run"
    words = [f"data={data}", "workers=0", "device=cpu", f"val_fraction={fraction}"]
    train = ["train", *words, "architecture=rtmdet-ins", "model=tiny", "weights=none"]
    train += ["epochs=1", "imgsz=64", "batch=2", f"work_dir={run}"]
    assert main(train) == 0
    note = f"{counts[1]} of {counts[0] + counts[1]} training images are set aside"
    assert (note in capsys.readouterr().out) == bool(fraction)
    words_of_val = [f"weights={run / 'weights/best.pt'}", *words[:-1], f"out={tmp_path / 'v'}"]
    assert main(["val", *words_of_val]) == 0  # the fraction is in the checkpoint
    assert (f"--val-fraction {fraction:g}, as " in capsys.readouterr().out) == bool(fraction)
    measured = json.loads((tmp_path / "v/metrics.json").read_text())
    of_the_run = json.loads((run / "metrics.json").read_text())
    assert measured.keys() == of_the_run.keys()
    for key in MAP_KEYS:  # scores may differ by rounding: the batches are others
        assert measured[key] == pytest.approx(of_the_run[key], abs=1e-6)
    assert main(["convert", words[0], words[-1], f"out={tmp_path / 'coco'}"]) == 0
    written = json.loads((tmp_path / "coco/annotations/instances_val.json").read_text())
    assert len(written["images"]) == counts[1]


def test_images_set_aside_are_always_the_same(tmp_path: Path) -> None:
    label_studio(tmp_path)
    first = read_with_val(tmp_path, 0.34)
    assert read_with_val(tmp_path, 0.34) == first
    assert sorted([*first.train, *first.val]) == list(read_spec(tmp_path).train)
    shutil.copytree(tmp_path, tmp_path.parent / "moved")
    moved = read_with_val(tmp_path.parent / "moved", 0.34)
    assert [path.name for path in moved.val] == [path.name for path in first.val]
    assert set(read_with_val(tmp_path, 0.5).val) > set(first.val)
    assert len(read_with_val(tmp_path, 0.001).val) == 1
    assert len(read_with_val(tmp_path, 0.999).train) == 1


def test_validation_splits_as_the_checkpoint_was_trained(tmp_path: Path) -> None:
    label_studio(tmp_path)
    weights, other = tmp_path / "best.pt", tmp_path / "other.pt"
    content = {**dict.fromkeys(REQUIRED, "x"), "state_dict": {}}
    write_file(weights, {**content, "config": {"val_fraction": 0.34}})
    write_file(other, {**content, "config": "of another program"})
    assert trained_val_fraction(weights) == 0.34
    assert trained_val_fraction(other) == trained_val_fraction("a.onnx") == 0
    aside = read_with_val(tmp_path, 0.34)
    assert _read_split(tmp_path, "val", 0, weights)[1] == aside.val
    assert _read_split(tmp_path, "train", 0, weights)[1] == aside.train
    assert len(_read_split(tmp_path, "val", 0.5, weights)[1]) == 3
    with pytest.raises(DatasetError, match="no images to validate on"):
        _read_split(tmp_path, "val", 0, other)
    named = read_spec(roboflow(tmp_path / "r")).val
    assert _read_split(tmp_path / "r", "val", 0, weights)[1] == named


def test_images_of_a_coco_file_are_set_aside(tmp_path: Path) -> None:
    label_studio(tmp_path)
    assert main(["convert", f"data={tmp_path}", f"out={tmp_path}"]) == 0
    (tmp_path / "data.yaml").write_text("train: annotations/instances_train.json\n")
    spec = read_with_val(tmp_path, 0.34)
    train, val = (build_index(paths, 2) for paths in (spec.train, spec.val))
    assert (len(train), len(val)) == (4, 2)
    assert sorted([*train.labels.tolist(), *val.labels.tolist()]) == [0, 0, 0, 1, 1, 1]
    for index in (train, val):
        assert index.labels.tolist() == [int(index.path(i).name[0]) % 2 for i in range(len(index))]


def test_without_val_it_is_said_what_to_do(tmp_path: Path) -> None:
    label_studio(tmp_path)
    with pytest.raises(DatasetError, match=r"classes\.txt: no images to .* --val-fraction 0\.2$"):
        read_with_val(tmp_path)
    with pytest.raises(DatasetError, match=r"has 3 images to validate on; leave"):
        read_with_val(roboflow(tmp_path / "r"), 0.2)
    assert main(["train", f"data={tmp_path}", "val_fraction=1"]) == 2
    for k in range(1, 6):
        next((tmp_path / "images").glob(f"{k}*")).unlink()
    with pytest.raises(DatasetError, match="1 images cannot be split"):
        read_with_val(tmp_path, 0.5)


def test_class_names_beside_folders_of_splits(tmp_path: Path) -> None:
    label_studio(tmp_path)
    for split in ("train", "val"):
        put(tmp_path, f"images/{split}/x.jpg", f"labels/{split}/x.txt", 1)
    spec = read_spec(tmp_path)
    assert [len(spec.train), len(spec.val)] == [1, 1]


def test_a_folder_with_one_yaml_of_another_name(tmp_path: Path) -> None:
    ultralytics(tmp_path)
    assert read_spec(tmp_path).file == tmp_path / "coco8-seg.yaml"
    (tmp_path / "other.yaml").write_text("nc: 1\n")
    with pytest.raises(DatasetError, match=r"data\.yaml: no such file"):
        read_spec(tmp_path)


def test_an_export_without_its_images(tmp_path: Path) -> None:
    label_studio(tmp_path)
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(DatasetError, match=r"no folder .*images; correct train"):
        read_spec(tmp_path)
    (tmp_path / "classes.txt").write_text("bolt\nbolt\n")
    kinds = [problem.kind for problem in inspect_spec(tmp_path)[1]]
    assert kinds == ["names", "split", "val"]
