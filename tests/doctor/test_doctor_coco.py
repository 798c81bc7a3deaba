"""The doctor on COCO files: pictures, reports and repaired copies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_doctor_kinds import BESIDE, INSIDE, coco

from crispmask.cli import main
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec
from crispmask.doctor.annotations import coco_lookup
from crispmask.doctor.examine import examine
from crispmask.doctor.thumbnails import draw_problem

TIE = [10, 40, 40, 60, 40, 40, 10, 60]
CROWD = {"segmentation": {"size": [64, 96], "counts": [0, 64 * 96]}, "iscrowd": 1}


def test_problems_name_their_annotation(clean: Path) -> None:
    coco([{"segmentation": [TIE]}, {"segmentation": []}])(clean)
    tie, box = sorted(examine(clean).problems, key=lambda p: p.code, reverse=True)
    assert (tie.code, tie.annotation, tie.file) == ("row-crossing", "52", clean / "train.json")
    assert tie.message.startswith("annotation 52: crosses itself")
    assert box.message == "annotation 53: no segmentation, only a box"
    assert box.image == clean / "images/train/a.jpg"


def test_annotations_without_numbers_are_told_one_by_one(clean: Path) -> None:
    coco([{"segmentation": [TIE], "id": f"x{i}", "image_id": i} for i in range(2)])(clean)
    problems = examine(clean).problems
    assert [p.image for p in problems] == [clean / f"images/train/{name}.jpg" for name in "ab"]
    assert [p.annotation for p in problems] == ["?", "?"]
    assert all(p.message.startswith("annotation ?: crosses itself") for p in problems)


@pytest.mark.parametrize("annotation", [52, 0, "52"])
def test_the_picture_highlights_the_annotation(clean: Path, annotation: int | str) -> None:
    coco([{"segmentation": [TIE], "id": annotation}])(clean)
    found = examine(clean)
    (problem,) = found.problems
    lookup = coco_lookup(found.spec)
    counts = []
    for picture in (draw_problem(problem, 2, lookup), draw_problem(problem, 2)):
        assert picture is not None
        counts.append((abs(picture - np.array([255.0, 0, 200])).max(axis=2) < 30).sum())
    assert counts[0] > counts[1] + 300


def test_counts_leave_crowds_out(clean: Path) -> None:
    coco([CROWD])(clean)
    found = examine(clean)
    train = found.counts["train"]
    assert (train.images, train.instances, train.class_instances) == (3, 2, (1, 1))
    assert train.without_labels == 0


def test_repaired_copy_has_label_files(clean: Path, tmp_path: Path) -> None:
    coco([{"segmentation": []}, CROWD, {"segmentation": [INSIDE]}, {"segmentation": [TIE]}])(clean)
    before = {path: path.read_bytes() for path in clean.rglob("*") if path.is_file()}
    words = ["check", "--data", str(clean), "--fix-to", str(tmp_path / "out")]
    assert main([*words, "--html", str(tmp_path / "page.html")]) == 1
    assert {path: path.read_bytes() for path in clean.rglob("*") if path.is_file()} == before
    spec = read_spec(tmp_path / "out")
    index = build_index(spec.train, 2)
    polygons, labels = index.annotation(0, (64, 96))
    assert labels.tolist() == [0, 1, 1]
    np.testing.assert_allclose(polygons[1][0].ravel(), BESIDE, atol=1e-4)
    changes = (tmp_path / "out/changes.csv").read_text()
    for words in ("annotation 52: no segm", "annotation 53: a crowd", "annotation 54: the same"):
        assert words in changes
    assert main(["check", "--data", str(tmp_path / "out")]) == 0
    assert "data:image/jpeg" in (tmp_path / "page.html").read_text()


def test_boxes_become_rectangles_if_asked(clean: Path, tmp_path: Path) -> None:
    coco(
        [
            {"segmentation": [], "bbox": [40, 30, 200, 20]},
            {"segmentation": [], "bbox": [200, 30, 20, 20]},  # outside
            {"segmentation": [], "bbox": [40, 30, 0, 20]},
            {"segmentation": [], "bbox": "none"},
            {"segmentation": []},
        ]
    )(clean)
    words = ["check", "--data", str(clean), "--boxes", "rectangle"]
    assert main([*words, "--fix-to", str(tmp_path / "out")]) == 1
    index = build_index(read_spec(tmp_path / "out").train, 2)
    polygons, labels = index.annotation(0, (64, 96))
    assert labels.tolist() == [0, 0, 1]
    assert polygons[0][0].round(3).tolist() == [[40, 30], [96, 30], [96, 50], [40, 50]]
    changes = (tmp_path / "out/changes.csv").read_text()
    assert changes.count("annotation left out") == 4
    assert 'box turned into a rectangle,"annotation 52' in changes


def test_json_has_the_annotation(clean: Path, tmp_path: Path) -> None:
    coco([{"segmentation": [TIE]}])(clean)
    assert main(["check", "--data", str(clean), "--json", str(tmp_path / "r.json")]) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    (problem,) = report["problems"]
    assert (problem["annotation"], problem["line"]) == ("52", None)


def test_categories_that_names_lacks_are_told_and_the_rest_is_checked(clean: Path) -> None:
    coco([])(clean)
    (clean / "data.yaml").write_text("train: train.json\nval: images/val\nnames: [cat, cow]\n")
    codes = [problem.code for problem in examine(clean).problems]
    assert codes == ["yaml-names", "row-class", "class-empty"]


@pytest.mark.slow
def test_processes_find_the_same(clean: Path) -> None:
    coco([{"segmentation": [TIE]}])(clean)
    content = json.loads((clean / "train.json").read_text())
    for i in range(70):  # a COCO file may have an image twice
        content["images"].append({**content["images"][1], "id": 10 + i})
        row = {"id": 90 + i, "image_id": 10 + i, "category_id": 0, "segmentation": [INSIDE]}
        content["annotations"].append(row)
    (clean / "train.json").write_text(json.dumps(content))
    found = examine(clean, workers=2)
    assert found.problems == examine(clean, workers=1).problems
    assert found.counts["train"].instances == 73
