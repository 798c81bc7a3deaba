"""Every kind of problem, each in a dataset that has nothing else wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from doctor_pictures import SQUARE, WEDGE, picture, write_picture
from PIL import Image

from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec
from crispmask.doctor.examine import examine
from crispmask.doctor.kinds import KINDS, SEVERITIES
from crispmask.errors import DatasetError

Break = Callable[[Path], object]


def rows(*lines: str, name: str = "train/a") -> Break:
    """Adds rows to a label file that has two."""

    def add(folder: Path) -> None:
        file = folder / f"labels/{name}.txt"
        file.write_text(file.read_text() + "\n".join(lines) + "\n")

    return add


def yaml(text: str) -> Break:
    return lambda folder: (folder / "data.yaml").write_text(text)


def cut(folder: Path) -> None:
    file = folder / "images/train/a.jpg"
    file.write_bytes(file.read_bytes()[:-200])


def damage(folder: Path) -> None:
    file = folder / "images/train/a.jpg"
    file.write_bytes(file.read_bytes()[:-200] + b"\xff\xd9")


def copy(source: str, target: str, label: bool = True) -> Break:
    def do(folder: Path) -> None:
        shutil.copy(folder / f"images/{source}.jpg", folder / f"images/{target}.jpg")
        if label:
            shutil.copy(folder / f"labels/{source}.txt", folder / f"labels/{target}.txt")

    return do


def altered(target: str, change: Callable[[np.ndarray], np.ndarray], quality: int = 60) -> Break:
    """Writes a changed picture of train/a in place of another image."""

    def do(folder: Path) -> None:
        image = cv2.imread(str(folder / "images/train/a.jpg"))
        write_picture(folder / f"images/{target}.jpg", change(image), quality)

    return do


def turned(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(9)).save(folder / "images/train/a.jpg", exif=exif)


def many(folder: Path) -> None:
    """A hundred instances of one class in each split."""
    for name in ("train/a", "val/d"):
        lines = [
            f"0 {x:.2f} {y:.2f} {x + 0.08:.2f} {y:.2f} {x:.2f} {y + 0.08:.2f}"
            for x in np.arange(10) / 10
            for y in np.arange(16) / 20
        ]
        (folder / f"labels/{name}.txt").write_text("\n".join(lines))


def no_labels(split: str) -> Break:
    def empty(folder: Path) -> None:
        for file in (folder / f"labels/{split}").iterdir():
            file.write_text("")

    return empty


def lose_labels(folder: Path) -> None:
    (folder / "labels/train/a.txt").unlink()
    (folder / "labels/train/b.txt").unlink()


def listed(folder: Path) -> None:
    (folder / "list.txt").write_text(
        "images/train/a.jpg\nimages/train/b.jpg\nimages/train/c.jpg\nimages/train/gone.jpg\n"
    )
    yaml("train: list.txt\nval: images/val\nnames: [cat, dog]\n")(folder)


def coco(rows: list[dict[str, object]], height: int = 64) -> Break:
    """Makes a COCO file of the training split, with rows of its first image."""

    def write(folder: Path) -> None:
        content = {
            "images": [
                {
                    "id": i,
                    "file_name": f"{name}.jpg",
                    "height": height if i == 0 else 64,
                    "width": 96,
                }
                for i, name in enumerate("abc")
            ],
            "annotations": [
                {"id": 50 + i, "image_id": 0, "category_id": i % 2, **row}
                for i, row in enumerate(
                    [{"segmentation": [INSIDE]}, {"segmentation": [BESIDE]}, *rows]
                )
            ],
            "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
        }
        (folder / "train.json").write_text(json.dumps(content))
        yaml("train: train.json\nval: images/val\nnames: [cat, dog]\n")(folder)

    return write


INSIDE = [10, 10, 30, 10, 30, 30, 10, 30]
BESIDE = [60, 20, 90, 20, 70, 50]
TRAIN = "train: images/train\nval: images/val\n"
A, D = "images/train/a.jpg", "images/val/d.jpg"
ROW = "labels/train/a.txt"

CASES: dict[str, tuple[Break, list[tuple[str, str, int]]]] = {
    "key twice": (
        yaml(f"{TRAIN}names: [cat, dog]\nval: images/val\n"),
        [("yaml-key", "data.yaml", 4)],
    ),
    "no root": (yaml(f"{TRAIN}path: gone\nnames: [cat, dog]\n"), [("yaml-path", "data.yaml", 3)]),
    "no names": (yaml(TRAIN), [("yaml-names", "data.yaml", 0)]),
    "same name": (yaml(f"{TRAIN}names: [cat, cat]\n"), [("yaml-names", "data.yaml", 3)]),
    "nc too low": (yaml(f"{TRAIN}nc: 1\nnames: [cat, dog]\n"), [("yaml-nc", "data.yaml", 3)]),
    "no val": (
        yaml("train: images/train\nval: gone\nnames: [cat, dog]\n"),
        [("yaml-split", "data.yaml", 2)],
    ),
    "val is not named": (
        yaml("train: images/train\nnames: [cat, dog]\n"),
        [("yaml-val", "data.yaml", 0)],
    ),
    "gone from a list": (listed, [("list-line", "list.txt", 4)]),
    "text as image": (
        lambda folder: (folder / A).write_text("no image"),
        [("image-unreadable", A, 0)],
    ),
    "empty image": (lambda folder: (folder / A).write_text(""), [("image-unreadable", A, 0)]),
    "cut image": (cut, [("image-truncated", A, 0)]),
    "damaged image": (damage, [("image-damaged", A, 0)]),
    "leak": (copy("train/a", "val/d"), [("leak", D, 0)]),
    "resized leak": (
        altered("val/d", lambda image: cv2.resize(image, None, fx=3, fy=3)),
        [("leak-similar", D, 0)],
    ),
    "mirrored leak": (altered("val/d", lambda i: i[:, ::-1]), [("leak-similar", D, 0)]),
    "same file": (copy("train/a", "train/b"), [("image-duplicate", "images/train/b.jpg", 0)]),
    "recompressed": (altered("train/b", lambda i: i), [("image-similar", "images/train/b.jpg", 0)]),
    "brighter": (
        altered("train/b", lambda i: cv2.convertScaleAbs(i, alpha=0.7, beta=20)),
        [("image-similar", "images/train/b.jpg", 0)],
    ),
    "small image": (
        lambda folder: write_picture(folder / A, picture(9, 20, 30)),
        [("image-small", A, 0)],
    ),
    "coco without problems": (coco([]), []),
    "coco for other images": (coco([], height=60), [("image-size", A, 0)]),
    "coco mask": (
        coco([{"segmentation": {"size": [64, 96], "counts": [1, 2]}}]),
        [("row-mask", "train.json", 0)],
    ),
    "coco mask without pixels": (
        coco([{"segmentation": {"size": [64, 96], "counts": [64 * 96]}}]),
        [("row-zero-area", "train.json", 0)],
    ),
    "coco box": (coco([{"segmentation": []}]), [("row-box", "train.json", 0)]),
    "coco points": (coco([{"segmentation": [[1, 2, 3, 4]]}]), [("row-points", "train.json", 0)]),
    "coco number": (
        coco([{"segmentation": [[1, 2, 3, 4, 5, "x"]]}]),
        [("row-number", "train.json", 0)],
    ),
    "coco outside": (
        coco([{"segmentation": [[100, 100, 120, 100, 120, 120]]}]),
        [("row-outside", "train.json", 0)],
    ),
    "coco bow tie": (
        coco([{"segmentation": [[10, 40, 40, 60, 40, 40, 10, 60]]}]),
        [("row-crossing", "train.json", 0)],
    ),
    "coco twice": (coco([{"segmentation": [INSIDE]}]), [("row-duplicate", "train.json", 0)]),
    "coco two classes": (
        coco([{"segmentation": [INSIDE], "category_id": 1}]),
        [("row-two-classes", "train.json", 0)],
    ),
    "coco crowd": (
        coco([{"segmentation": {"size": [64, 96], "counts": [0, 64 * 96]}, "iscrowd": 1}]),
        [],
    ),
    "no coco": (
        lambda folder: (coco([])(folder), (folder / "train.json").write_text("{}")),
        [("yaml-split", "train.json", 0)],
    ),
    "turned image": (turned, [("image-turned", A, 0)]),
    "binary labels": (
        lambda folder: (folder / ROW).write_bytes(b"0 0.1 \xff\xfe"),
        [("label-unreadable", ROW, 0)],
    ),
    "two images of a name": (
        lambda folder: write_picture(folder / "images/train/a.png", picture(9)),
        [("label-shared", ROW, 0)],
    ),
    "orphan": (
        lambda folder: (folder / "labels/train/z.txt").write_text(f"0 {SQUARE}"),
        [("label-orphan", "labels/train/z.txt", 0)],
    ),
    "orphan in a folder": (
        lambda folder: write_label(folder / "labels/val/deep/z.txt"),
        [("label-orphan", "labels/val/deep/z.txt", 0)],
    ),
    "notes are no orphans": (
        lambda folder: (folder / "labels/train/about.txt").write_text("drawn by hand"),
        [],
    ),
    "missing labels": (
        lambda folder: (folder / ROW).unlink(),
        [("label-missing", A, 0)],
    ),
    "empty labels": (lambda folder: (folder / ROW).write_text(""), []),
    "no number": (rows("cat 0.1 0.1 0.2 0.2 0.3 0.1"), [("row-number", ROW, 3)]),
    "class": (rows("", f"2 {SQUARE}"), [("row-class", ROW, 4)]),
    "negative class": (rows(f"-1 {SQUARE}"), [("row-class", ROW, 3)]),
    "half a class": (rows(f"0.5 {SQUARE}"), [("row-class", ROW, 3)]),
    "box": (rows("0 0.5 0.5 0.2 0.2"), [("row-box", ROW, 3)]),
    "two points": (rows("# two", "0 0.1 0.1"), [("row-points", ROW, 4)]),
    "half a point": (rows(f"0 {SQUARE} 0.3"), [("row-points", ROW, 3)]),
    "outside": (rows("0 0.1 0.1 1.2 0.1 0.1 0.5"), [("row-outside", ROW, 3)]),
    "pixels": (rows("0 10 10 50 10 50 40"), [("row-outside", ROW, 3)]),
    "not finite": (rows("0 0.1 0.1 nan 0.1 0.1 0.5"), [("row-outside", ROW, 3)]),
    "box that is not finite": (rows("0 0.5 nan 0.2 inf"), [("row-outside", ROW, 3)]),
    "line": (rows("0 0.1 0.1 0.2 0.2 0.3 0.3"), [("row-zero-area", ROW, 3)]),
    "point": (rows("0 0.1 0.1 0.1 0.1 0.1 0.1"), [("row-zero-area", ROW, 3)]),
    "bow tie": (rows("0 0.1 0.6 0.4 0.9 0.4 0.6 0.1 0.9"), [("row-crossing", ROW, 3)]),
    "bridge to a hole": (
        rows("0 0.1 0.6 0.5 0.6 0.5 0.9 0.1 0.9 0.1 0.6 0.2 0.7 0.3 0.8 0.3 0.7 0.2 0.7 0.1 0.6"),
        [],
    ),
    "row twice": (rows(f"0 {SQUARE}"), [("row-duplicate", ROW, 3)]),
    "nearly twice": (rows("0 0.101 0.1 0.5 0.1 0.5 0.5 0.1 0.5"), [("row-repeated", ROW, 3)]),
    "two classes": (rows(f"1 {SQUARE}"), [("row-two-classes", ROW, 3)]),
    "tiny": (rows("0 0.1 0.7 0.12 0.7 0.12 0.73"), [("row-tiny", ROW, 3)]),
    "rounding": (rows("0 -0.005 0.6 0.3 0.6 0.3 0.9"), [("row-clipped", ROW, 3)]),
    "nothing to learn": (no_labels("train"), [("split-empty", "data.yaml", 0)]),
    "nothing to measure": (no_labels("val"), [("split-empty", "data.yaml", 0)]),
    "labels elsewhere": (
        lose_labels,
        [
            ("split-background", "data.yaml", 0),
            ("label-missing", A, 0),
            ("label-missing", "images/train/b.jpg", 0),
        ],
    ),
    "unused class": (
        yaml(f"{TRAIN}names: [cat, dog, cow]\n"),
        [("class-empty", "data.yaml", 0), ("class-empty", "data.yaml", 0)],
    ),
    "rare class": (many, [("class-rare", "data.yaml", 0)] * 2),
}


def write_label(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(f"0 {WEDGE}\n")


@pytest.mark.parametrize(("broken", "expected"), CASES.values(), ids=CASES)
def test_problem(clean: Path, broken: Break, expected: list[tuple[str, str, int]]) -> None:
    broken(clean)
    found = examine(clean, imgsz=96)
    places = [(p.code, p.file.relative_to(clean).as_posix(), p.line) for p in found.problems]
    assert places == expected


def test_a_dataset_without_problems(clean: Path) -> None:
    found = examine(clean, imgsz=96)
    assert found.problems == ()
    train, val = found.counts["train"], found.counts["val"]
    assert (train.images, train.instances, train.parts, train.backgrounds) == (3, 6, 6, 0)
    assert (val.images, val.class_instances, val.class_images) == (2, (2, 2), (2, 2))
    assert train.image_sizes == (((64, 96), 3),)


def test_every_kind_has_its_case() -> None:
    assert {code for _, expected in CASES.values() for code, _, _ in expected} == set(KINDS)


def test_the_table_is_in_order_and_speaks() -> None:
    assert all(code == kind.code and kind.meaning and kind.fix for code, kind in KINDS.items())
    assert {kind.severity for kind in KINDS.values()} == set(SEVERITIES)


@pytest.mark.parametrize("name", [name for name in CASES if name != "rare class"])
def test_what_training_refuses_is_an_error(clean: Path, name: str) -> None:
    """The reader of the training accepts what has no error, and refuses what it cannot read."""
    CASES[name][0](clean)
    codes = {problem.code for problem in examine(clean, imgsz=96).problems}
    errors = {code for code in codes if KINDS[code].severity == "error"}
    try:
        spec = read_spec(clean)
        for paths in (spec.train, spec.val):
            build_index(paths, len(spec.names))
    except DatasetError:
        assert errors
    else:
        harm = {"image-damaged", "leak", "row-zero-area", "split-empty"}
        assert errors <= harm


def test_all_rows_of_a_file_are_told(clean: Path) -> None:
    rows("0 0.1", "9 0.1 0.1 0.2 0.1 0.1 0.2", "0 1 1 1 1", f"0 {SQUARE}", "x")(clean)
    problems = examine(clean).problems
    assert [(p.code, p.line) for p in problems] == [
        ("row-number", 7),
        ("row-class", 4),
        ("row-box", 5),
        ("row-points", 3),
        ("row-duplicate", 6),
    ]
    assert problems[1].message == "class 9 but data.yaml has 2 (0 to 1)"
    assert problems[1].image == clean / A


def test_size_decides_what_is_tiny(clean: Path) -> None:
    rows("0 0.1 0.7 0.16 0.7 0.16 0.79 0.1 0.79")(clean)  # 5.8 x 5.8 of 96 x 64 pixels
    assert not examine(clean, imgsz=96).problems
    assert not examine(clean, imgsz=960).problems  # small images are not enlarged
    assert [p.code for p in examine(clean, imgsz=64).problems] == ["row-tiny"]


def test_split(clean: Path) -> None:
    rows("x", name="train/a")(clean)
    rows("x", name="val/d")(clean)
    assert len(examine(clean).problems) == 2
    found = examine(clean, split="val")
    assert [p.file.name for p in found.problems] == ["d.txt"]
    assert list(found.counts) == ["val"]
    with pytest.raises(DatasetError, match="no images in test"):
        examine(clean, split="test")


def test_without_decoding_exact_copies_and_cuts_are_found(clean: Path) -> None:
    cut(clean)
    copy("train/b", "val/d")(clean)
    altered("val/e", lambda image: picture(2), 50)(clean)
    found = examine(clean, decode=False)
    assert [p.code for p in found.problems] == ["image-truncated", "leak"]


def test_copies_with_other_labels_say_so(clean: Path) -> None:
    copy("train/a", "val/d", label=False)(clean)
    (clean / "labels/val/d.txt").write_text(f"1 {SQUARE}\n0 {WEDGE}\n")
    (problem,) = examine(clean).problems
    assert problem.message == "the same file as a.jpg in train, with other labels"
    assert problem.other == clean / A


def test_the_same_folder_twice(clean: Path) -> None:
    yaml("train: images/train\nval: images/train\nnames: [cat, dog]\n")(clean)
    rows("x")(clean)
    problems = examine(clean).problems
    assert [p.code for p in problems] == ["leak", "leak", "leak", "row-number"]
    assert problems[0].message == "is in train and in val"


def test_links_and_unicode(clean: Path, tmp_path: Path) -> None:
    store = tmp_path / "store ü"
    shutil.move(clean / "images/train", store)
    (clean / "images/train").symlink_to(store)
    write_picture(store / "bäume 木.jpg", picture(7))
    (clean / "labels/train/bäume 木.txt").write_text("0 0.1 0.1\n")
    (problem,) = examine(clean).problems
    assert (problem.file, problem.line) == (clean / "labels/train/bäume 木.txt", 1)


def test_one_image_and_none(clean: Path) -> None:
    for name in ("train/b", "train/c", "val/d", "val/e"):
        (clean / f"images/{name}.jpg").unlink()
        (clean / f"labels/{name}.txt").unlink()
    assert [p.code for p in examine(clean).problems] == ["yaml-split"]
    (clean / "images/train/a.jpg").unlink()
    with pytest.raises(DatasetError, match=r"data\.yaml:1: no images in"):
        examine(clean)


@pytest.mark.slow
def test_processes_find_the_same(clean: Path) -> None:
    for i in range(80):
        write_picture(clean / f"images/train/n{i}.jpg", picture(100 + i))
        (clean / f"labels/train/n{i}.txt").write_text(f"0 {SQUARE}\n1 {WEDGE}\n")
    damage(clean)
    rows("x", name="train/n7")(clean)
    calls: list[tuple[int, int]] = []
    many_workers = examine(clean, workers=2, on_progress=lambda *call: calls.append(call))
    assert many_workers.problems == examine(clean, workers=1).problems
    assert [p.code for p in many_workers.problems] == ["image-damaged", "row-number"]
    assert calls[-1] == (85, 85)
