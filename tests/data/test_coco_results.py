"""Results files of other programs: whose ids, which classes, which masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as pycoco_mask

from crispmask.data.coco_results import ResultsFile, read_results
from crispmask.errors import DatasetError
from crispmask.geometry.rle import decode_masks, encode_masks, is_rle
from crispmask.validate import validate_predictions

SIZE = (20, 30)
FILES = ("a/0007.jpg", "a/0002.jpg", "b/cat.png", "a/x.png", "b/x.png")


def truth() -> dict[str, Any]:
    return {
        "images": [
            {"id": i + 1, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
            for i, name in enumerate(FILES)
        ],
        "annotations": [],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def a_mask() -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[4:12, 3:20] = True
    return mask


def row(**more: Any) -> dict[str, Any]:
    base = {
        "image_id": 1,
        "category_id": 1,
        "score": 0.5,
        "segmentation": encode_masks(a_mask()[None])[0],
    }
    return {key: value for key, value in {**base, **more}.items() if value is not None}


def read(tmp_path: Path, *rows: Any, **more: Any) -> ResultsFile:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(list(rows)), encoding="utf-8")
    return read_results(path, truth(), **more)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (3, 3),
        ("a/0007.jpg", 1),
        ("a/0007", 1),
        ("0007.jpg", 1),
        ("cat", 3),
        ("cat.png", 3),
        ("7", 1),
        (7, 1),
    ],
)
def test_images_are_named_by_id_or_file(tmp_path: Path, said: Any, expected: int) -> None:
    assert read(tmp_path, row(image_id=said)).rows[0]["image_id"] == expected


def test_file_names_come_before_ids(tmp_path: Path) -> None:
    assert read(tmp_path, row(image_id=1, file_name="cat.png")).rows[0]["image_id"] == 3


def test_numbers_that_are_both_are_ids_and_told_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read(tmp_path, row(image_id=2)).rows[0]["image_id"] == 2
    assert not caplog.records  # 0002.jpg is image 2
    ground_truth = truth()
    ground_truth["images"] = ground_truth["images"][1::-1]
    ground_truth["images"][0]["id"], ground_truth["images"][1]["id"] = 1, 2
    path = tmp_path / "results.json"
    path.write_text(json.dumps([row(image_id=2)]), encoding="utf-8")
    assert read_results(path, ground_truth).rows[0]["image_id"] == 2
    assert "--image-ids names" in caplog.text
    caplog.clear()
    assert read_results(path, ground_truth, image_ids="names").rows[0]["image_id"] == 1
    assert read_results(path, ground_truth, image_ids="ids").rows[0]["image_id"] == 2
    assert not caplog.records


def test_ids_of_another_annotation_file(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.json"
    content = {
        "images": [{"id": 90, "file_name": "cat.png"}, {"id": 91, "file_name": "no.png"}],
        "categories": [{"id": 17, "name": "dog"}, {"id": 3, "name": "cow"}],
        "annotations": [],
    }
    theirs.write_text(json.dumps(content), encoding="utf-8")
    found = read(tmp_path, row(image_id=90, category_id=17), ids_of=theirs).rows[0]
    assert (found["image_id"], found["category_id"]) == (3, 2)
    content["images"].append({"id": 92, "file_name": "x.png"})
    theirs.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"theirs\.json: several images .* file_name 'x\.png'"):
        read(tmp_path, row(image_id=90, category_id=17), ids_of=theirs)
    content["images"].pop()
    theirs.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DatasetError, match="row 1: no image of the split is image_id 91"):
        read(tmp_path, row(image_id=91, category_id=17), ids_of=theirs)
    with pytest.raises(DatasetError, match="row 1: no class has category_id 3"):
        read(tmp_path, row(image_id=90, category_id=3), ids_of=theirs)


def test_classes_count_from_one_unless_there_is_a_zero(tmp_path: Path) -> None:
    rows = read(tmp_path, row(category_id=1), row(category_id=2), image_ids="ids").rows
    assert [r["category_id"] for r in rows] == [1, 2]
    rows = read(tmp_path, row(category_id=1), row(category_id=0), image_ids="ids").rows
    assert [r["category_id"] for r in rows] == [2, 1]
    with pytest.raises(DatasetError, match=r"row 2: no class has category_id 2.*from 0 to 1"):
        read(tmp_path, row(category_id=0), row(category_id=2), image_ids="ids")


def test_masks_in_every_form_are_the_same(tmp_path: Path) -> None:
    flat = a_mask().ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    box = [[3.0, 4.0, 20.0, 4.0, 20.0, 12.0, 3.0, 12.0]]
    rows = read(
        tmp_path,
        row(),
        row(segmentation={"size": list(SIZE), "counts": runs}),
        row(segmentation=box),
        row(segmentation=None, bbox=[3, 4, 17, 8]),
    ).rows
    for found in rows:
        assert np.array_equal(decode_masks([found["segmentation"]])[0], a_mask())
        assert found["bbox"] == [3, 4, 17, 8]


def test_boxes_of_the_file_stay(tmp_path: Path) -> None:
    found = read(tmp_path, row(bbox=[1, 2, 3, 4.5]))
    assert found.has_boxes
    assert found.rows[0]["bbox"] == [1, 2, 3, 4.5]
    assert not read(tmp_path, row()).has_boxes


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"image_id": 9}, r"row 2: no image of the split is image_id 9; ids are 1 to 5"),
        ({"image_id": 4.5}, r"row 2: no image of the split is image_id 4.5"),
        ({"category_id": 3}, r"row 2: no class has category_id 3; classes .* from 1 to 2"),
        ({"category_id": "cat"}, r"row 2: no class has category_id 'cat'"),
        ({"score": None}, r"row 2 has no score"),
        ({"score": "high"}, r"row 2: score is 'high', not a number"),
        ({"segmentation": None}, r"row 2: neither segmentation nor bbox"),
        ({"bbox": [1, 2, 3]}, r"row 2: bbox is \[1, 2, 3\], not \[x, y, width, height\]"),
        ({"segmentation": [[1, 2, 3, 4]]}, r"row 2: a polygon is a list"),
        ({"segmentation": "abc"}, r"row 2: segmentation is neither"),
        ({"segmentation": {"size": [20, 31], "counts": "abc"}}, r"row 2: its mask is \[20, 31\]"),
        ({"segmentation": {"size": 4, "counts": "abc"}}, r"row 2: its mask is 4 pixels"),
        ({"segmentation": {"size": [20, 30], "counts": [None]}}, r"row 2: .*NoneType"),
        ({"score": 10**400}, r"row 2: int too large"),
        ({"segmentation": {"size": [20, 30], "counts": "abc"}}, r"row 2: its RLE does not fill"),
        ({"segmentation": {"size": [20, 30], "counts": [1, 2]}}, r"row 2: its runs do not fill"),
    ],
)
def test_a_wrong_row_is_one_line(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message) as error:
        read(tmp_path, row(image_id=3), row(**{"image_id": 3, **wrong}))
    assert "\n" not in str(error.value)
    assert str(tmp_path / "results.json") in str(error.value)


def test_a_name_of_several_images_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"row 2: several images .* image_id 'x\.png'; name the"):
        read(tmp_path, row(image_id="cat.png"), row(image_id="x.png"))


@pytest.mark.parametrize("content", ["{", "{}", "3", '[{"image_id": 1}]', "[3]"])
def test_no_results_file_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"results\.json"):
        read_results(path, truth())
    with pytest.raises(DatasetError, match=r"none\.json"):
        read_results(tmp_path / "none.json", truth())


@pytest.mark.parametrize("seed", range(40))
def test_compressed_masks_are_recognised(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(1, 200)), int(rng.integers(1, 200)))
    mask = rng.random(size) < rng.choice([0, 0.02, 0.5, 1])
    counts = pycoco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert is_rle(counts, size)
    assert not is_rle(counts, (size[0] + 1, size[1]))
    assert not is_rle(counts + "1", size)
    assert not is_rle("", size)
    assert not is_rle("~" + counts, size)


def test_perfect_results_score_one(yolo_dataset: Any, tmp_path: Path) -> None:
    from crispmask.data.coco import coco_ground_truth
    from crispmask.data.scan import build_index
    from crispmask.data.spec import read_spec

    data = yolo_dataset()
    spec = read_spec(data)
    index = build_index(spec.val, len(spec.names), workers=0)
    ground_truth = coco_ground_truth(index, spec.names)
    rows = [
        {
            "image_id": ground_truth["images"][a["image_id"] - 1]["file_name"],
            "category_id": a["category_id"] - 1,
            "score": 0.9,
            "segmentation": a["segmentation"],
        }
        for a in ground_truth["annotations"]
    ]
    path = tmp_path / "other.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    metrics = validate_predictions(path, data, out=tmp_path / "out", workers=0)
    assert metrics.mask.map50_95 == pytest.approx(1)
    assert metrics.box.map50_95 > 0.9  # of the masks: up to a pixel larger than the outline
    assert metrics.boundary is not None
    assert metrics.boundary.map50_95 == pytest.approx(1)
    written = json.loads((tmp_path / "out/predictions.json").read_text())
    again = tmp_path / "again.json"
    again.write_text(json.dumps(written), encoding="utf-8")
    assert validate_predictions(again, data, workers=0).mask.map50_95 == pytest.approx(1)
