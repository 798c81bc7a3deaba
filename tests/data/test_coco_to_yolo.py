from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from crispmask.cli import main
from crispmask.data.coco import coco_ground_truth, write_json_atomic
from crispmask.data.coco_file import read_coco_file
from crispmask.data.coco_to_yolo import write_yolo_dataset
from crispmask.data.index import DatasetIndex
from crispmask.data.scan import build_index
from crispmask.data.scenes import write_sample_dataset
from crispmask.data.spec import DatasetSpec, read_spec
from crispmask.errors import DatasetError
from crispmask.geometry.raster import rasterise
from crispmask.geometry.runs import mask_of_runs, read_runs

H, W = 40, 60
SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]


def write_coco(folder: Path, annotations: list[dict[str, Any]], **changes: Any) -> Path:
    """A COCO file of one image beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (W, H)).save(folder / "ä b.png")
    content = {
        "images": [{"id": 7, "file_name": "ä b.png", "height": H, "width": W}],
        "annotations": [
            {"id": 100 + i, "image_id": 7, "category_id": 5, "iscrowd": 0, **row}
            for i, row in enumerate(annotations)
        ],
        "categories": [
            {"id": 90, "name": "dog"},
            {"id": 5, "name": "cat"},
        ],
    }
    path = folder / "coco.json"
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")
    return path


def convert(folder: Path, annotations: list[dict[str, Any]]) -> tuple[DatasetSpec, DatasetIndex]:
    path = write_coco(folder / "coco", annotations)
    write_yolo_dataset({"train": path}, path.parent, folder / "yolo")
    spec = read_spec(folder / "yolo")
    return spec, build_index(spec.train, len(spec.names))


def masks(index: DatasetIndex, i: int = 0) -> NDArray[np.bool_]:
    return rasterise(index.annotation(i, index.size(i))[0], index.size(i))


def same_masks(before: DatasetIndex, after: DatasetIndex) -> int:
    """Compares every mask at the size of its image; returns how many there are."""
    assert len(before) == len(after)
    count = 0
    for i in range(len(before)):
        assert before.path(i).name == after.path(i).name
        polygons, labels = before.annotation(i, before.size(i))
        others, other_labels = after.annotation(i, after.size(i))
        np.testing.assert_array_equal(labels, other_labels)
        for mine, theirs in zip(polygons, others, strict=True):
            np.testing.assert_array_equal(
                rasterise((mine,), before.size(i)), rasterise((theirs,), after.size(i))
            )
            count += 1
    return count


def round_trip(data: Path, folder: Path) -> int:
    spec = read_spec(data)
    count = 0
    for split, paths in (("train", spec.train), ("val", spec.val)):
        before = build_index(paths, len(spec.names))
        content = coco_ground_truth(before, spec.names)
        folder.mkdir(parents=True, exist_ok=True)
        write_json_atomic(folder / f"{split}.json", content)
        images = Path(os.path.commonpath([path.parent for path in paths]))
        out = folder / split
        write_yolo_dataset({"train": folder / f"{split}.json"}, images, out, link=True)
        again = read_spec(out)
        assert again.names == spec.names
        count += same_masks(before, build_index(again.train, len(spec.names)))
    return count


def test_sample_dataset_comes_back_whole(tmp_path: Path) -> None:
    data = write_sample_dataset(tmp_path / "sample", num_images=8, imgsz=160, seed=3)
    assert round_trip(data, tmp_path / "coco") > 20


@pytest.mark.real
@pytest.mark.skipif(
    "CRISPMASK_DATA" not in os.environ, reason="CRISPMASK_DATA names no folder of datasets"
)
@pytest.mark.parametrize("name", ["facade3", "nuts"])
def test_real_datasets_come_back_whole(name: str, tmp_path: Path) -> None:
    data = Path(os.environ["CRISPMASK_DATA"]) / name / "data.yaml"
    assert round_trip(data, tmp_path / "coco") == {"facade3": 1237, "nuts": 165}[name]


def test_polygons_keep_their_coordinates(tmp_path: Path) -> None:
    other = [40.25, 5.5, 55.75, 5.5, 50.13, 20.01]
    spec, index = convert(
        tmp_path,
        [{"segmentation": [SQUARE]}, {"segmentation": [SQUARE, other], "category_id": 90}],
    )
    assert spec.names == ("cat", "dog")  # in the order of their ids
    assert index.labels.tolist() == [0, 1]
    rows = coco_ground_truth(index, spec.names)["annotations"]
    assert rows[0]["segmentation"] == [SQUARE]
    assert sorted(len(ring) for ring in rows[1]["segmentation"]) == [6, 8]
    assert sorted(rows[1]["segmentation"][1]) == sorted(other)


@pytest.mark.parametrize("compressed", [False, True])
def test_masks_are_outlined_exactly(tmp_path: Path, compressed: bool) -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((H, W)) < 0.5
    rle: dict[str, Any] = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    counts = rle["counts"].decode()
    if not compressed:
        counts = read_runs(counts)
    _, index = convert(tmp_path, [{"segmentation": {"size": [H, W], "counts": counts}}])
    np.testing.assert_array_equal(masks(index)[0], mask)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_runs_are_read_as_written(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = tuple(int(side) for side in rng.integers(1, 200, 2))
    mask = rng.random(size) < rng.uniform(0, 1)
    mask[rng.integers(size[0]) :] = False  # long runs too
    text = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    np.testing.assert_array_equal(mask_of_runs(read_runs(text), size), mask)


def test_overlapping_polygons_are_one_area(tmp_path: Path) -> None:
    shifted = [value + 10 for value in SQUARE]
    _, index = convert(tmp_path, [{"segmentation": [SQUARE, shifted]}])
    expected = np.zeros((H, W), dtype=bool)
    expected[10:30, 10:30] = expected[20:40, 20:40] = True
    np.testing.assert_array_equal(masks(index)[0], expected)


def test_what_reaches_over_the_border_is_cut(tmp_path: Path) -> None:
    _, index = convert(tmp_path, [{"segmentation": [[-20, -20, 20, -20, 20, 20, -20, 20]]}])
    expected = np.zeros((H, W), dtype=bool)
    expected[:20, :20] = True
    np.testing.assert_array_equal(masks(index)[0], expected)


def test_crowds_and_empty_masks_are_left_out_and_counted(tmp_path: Path) -> None:
    whole = {"size": [H, W], "counts": [0, H * W]}
    empty = {"size": [H, W], "counts": [H * W]}
    path = write_coco(
        tmp_path,
        [
            {"segmentation": whole, "iscrowd": 1},
            {"segmentation": empty},
            {"segmentation": [SQUARE]},
        ],
    )
    (done,) = write_yolo_dataset({"val": path}, tmp_path, tmp_path / "out")
    assert (done.num_instances, done.num_crowds, done.num_empty) == (1, 1, 1)
    labels, problems = read_coco_file(path).labels(read_coco_file(path).images[0], ["cat", "dog"])
    assert labels.crowd.tolist() == [True, False]
    assert problems == []


def test_groups_of_categories_are_no_classes(tmp_path: Path) -> None:
    categories = [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 5, "name": "cat", "supercategory": "animals"},
        {"id": 6, "name": "dog", "supercategory": "animals"},
    ]
    path = write_coco(tmp_path, [{"segmentation": [SQUARE]}], categories=categories)
    assert list(read_coco_file(path).categories.values()) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "annotation 100: no segmentation, only a box"),
        ({"segmentation": []}, "annotation 100: no segmentation"),
        ({"segmentation": [[1, 2, 3, 4]]}, "2 points, fewer than 3"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "an odd number"),
        ({"segmentation": [[1, 2, 3, "x", 5, 6]]}, "not a number"),
        ({"segmentation": [[1, 2, 3, 10**400, 5, 6]]}, "not a number"),
        ({"bbox": [1, 2, 3, 10**400]}, "annotation 100: no segmentation, only a box"),
        ({"segmentation": {"size": [H, W], "counts": [10**400]}}, "export it again"),
        ({"segmentation": [[1, 2, 3, float("nan"), 5, 6]]}, "not finite"),
        ({"segmentation": "polygon"}, "neither polygons nor a mask"),
        ({"segmentation": [[100, 0, 200, 0, 200, 20]]}, "outside of its image"),
        ({"segmentation": {"size": [3, 3], "counts": [9]}}, "a mask of size [3, 3]"),
        ({"segmentation": {"size": [H, W], "counts": [9]}}, "do not fill 60 x 40"),
        ({"segmentation": {"size": [H, W], "counts": "\x7f"}}, "not part of a compressed mask"),
        ({"segmentation": {"size": [H, W], "counts": "P"}}, "is cut"),
        ({"segmentation": {"size": [H, W]}}, "has no counts"),
        ({"segmentation": [SQUARE], "category_id": 1}, "category_id 1 does not exist"),
        ({"segmentation": [SQUARE], "image_id": 1}, "image_id 1 does not exist"),
    ],
)
def test_problems_name_file_and_annotation(tmp_path: Path, row: dict[str, Any], words: str) -> None:
    path = write_coco(tmp_path, [row])
    with pytest.raises(DatasetError) as caught:
        write_yolo_dataset({"train": path}, tmp_path, tmp_path / "out")
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert words in message
    assert "; " in message
    assert "\n" not in message
    assert sorted(p.name for p in tmp_path.iterdir()) == ["coco.json", "ä b.png"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ":1: not JSON"),
        ("1" * 5000, "cannot be read as text"),
        ("[]", "not a COCO annotation file"),
        ('{"images": [], "annotations": {}, "categories": []}', "not a COCO annotation file"),
        ('{"images": [{}], "annotations": [], "categories": []}', "a row lacks 'id'"),
        ('{"images": [], "annotations": [], "categories": []}', "no categories; "),
    ],
)
def test_files_that_are_not_coco(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "coco.json"
    path.write_text(text)
    with pytest.raises(DatasetError) as caught:
        write_yolo_dataset({"train": path}, tmp_path, tmp_path / "out")
    assert words in str(caught.value)


@pytest.mark.parametrize("side", [0, -3, 10**400])
def test_images_without_a_size(tmp_path: Path, side: int) -> None:
    images = [{"id": 7, "file_name": "a.png", "height": H, "width": side}]
    path = write_coco(tmp_path, [{"segmentation": [SQUARE]}], images=images)
    with pytest.raises(DatasetError, match=rf"coco\.json: a\.png is {side} x 40 pixels there; "):
        read_coco_file(path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cow", r"b/coco\.json: category 5 is 'cow', in another file 'cat'; give it the same name"),
        ("", r"b/coco\.json: category 5 is '', in another"),
        ("dog", r"b/coco\.json: category 5 is 'dog', in another"),
    ],
)
def test_files_that_disagree(tmp_path: Path, name: str, words: str) -> None:
    row = {"segmentation": [SQUARE]}
    train = write_coco(tmp_path / "a", [row])
    val = write_coco(tmp_path / "b", [row], categories=[{"id": 5, "name": name}])
    with pytest.raises(DatasetError, match=words):
        write_yolo_dataset({"train": train, "val": val}, tmp_path / "a", tmp_path / "out")
    val = write_coco(
        tmp_path / "b", [{**row, "category_id": 7}], categories=[{"id": 7, "name": "dog"}]
    )
    with pytest.raises(
        DatasetError, match=r"a/coco\.json: a category is called 'dog' like another"
    ):
        write_yolo_dataset({"train": train, "val": val}, tmp_path / "a", tmp_path / "out")


def test_images_are_found_below_the_folder_and_missing_ones_named(tmp_path: Path) -> None:
    path = write_coco(tmp_path / "coco", [{"segmentation": [SQUARE]}])
    deep = tmp_path / "images" / "Train" / "Data"
    deep.mkdir(parents=True)
    image = path.parent / "ä b.png"
    image.rename(deep / "ä b.png")
    write_yolo_dataset({"train": path}, tmp_path / "images", tmp_path / "out")
    with pytest.raises(DatasetError, match=r"1 images are not in .*: ä b\.png; correct --images"):
        write_yolo_dataset({"train": path}, path.parent, tmp_path / "other")
    Image.new("RGB", (W, H)).save(tmp_path / "images" / "ä b.png")
    (tmp_path / "images" / "ä b.png").rename(tmp_path / "images" / "Train" / "ä b.png")
    with pytest.raises(DatasetError, match="correct --images to the folder of"):
        write_yolo_dataset({"train": path}, tmp_path / "images", tmp_path / "other")
    Image.new("RGB", (H, W)).save(path.parent / "ä b.png")  # as if EXIF had turned it
    with pytest.raises(DatasetError, match="40 x 60 pixels, but 60 x 40 in"):
        write_yolo_dataset({"train": path}, path.parent, tmp_path / "other")


def test_nothing_leaves_the_folder(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "../images/ä b.png", "height": H, "width": W}]
    path = write_coco(tmp_path / "images", [{"segmentation": [SQUARE]}], images=images)
    write_yolo_dataset({"train": path}, path.parent, tmp_path / "out")
    assert (tmp_path / "out/images/train/ä b.png").is_file()


@pytest.mark.parametrize("file_name", ["images/ä b.png", "a\\images\\b/ä b.png"])
def test_labels_are_found_of_names_with_a_folder_images(tmp_path: Path, file_name: str) -> None:
    images = [{"id": 7, "file_name": file_name, "height": H, "width": W}]
    path = write_coco(tmp_path / "coco", [{"segmentation": [SQUARE]}], images=images)
    write_yolo_dataset({"train": path}, path.parent, tmp_path / "out")
    spec = read_spec(tmp_path / "out")
    assert build_index(spec.train, len(spec.names)).num_instances() == 1


def test_command_writes_both_splits_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write_coco(tmp_path / "a", [{"segmentation": [SQUARE]}])
    val = write_coco(tmp_path / "a" / "v", [{"segmentation": [SQUARE], "iscrowd": 1}])
    words = ["convert", "--from-coco", str(train), "--val-coco", str(val), "--link"]
    words += ["--images", str(tmp_path / "a"), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "train: 1 images, 1 instances\nval: 1 images, 0 instances, 1 crowds left out" in printed
    spec = read_spec(tmp_path / "out")
    assert [len(spec.train), len(spec.val)] == [1, 1]
    assert spec.train[0].is_symlink()
    assert main(words) == 2
    assert "nothing is overwritten" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "o"], "either --data"),
        (["--out", "o", "--data", "d", "--from-coco", "f"], "either --data"),
        (["--out", "o", "--from-coco", "f"], "needs --images"),
        (["--out", "o", "--data", "d", "--val-coco", "f"], "--val-coco goes with"),
    ],
)
def test_flags_that_do_not_fit(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", *words]) == 2
    assert message in capsys.readouterr().err
