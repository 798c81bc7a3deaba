from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import faster_coco_eval
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from crispmask.data.coco import coco_ground_truth, short_coordinates, write_json_atomic
from crispmask.data.index import DatasetIndex
from crispmask.data.rings import format_label_line
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec
from crispmask.errors import OutputError
from crispmask.geometry.raster import rasterise
from crispmask.types import Part, Polygons, Size

SIZE = (120, 160)


def ellipse(x: float, y: float, a: float, b: float, corners: int = 40) -> Part:
    t = np.arange(corners) * 2 * np.pi / corners
    return np.stack([x + a * np.cos(t), y + b * np.sin(t)], axis=1).astype(np.float32)


def make_index(folder: Path, polygons: Polygons, size: Size = SIZE) -> DatasetIndex:
    path = folder / "a.png"
    Image.new("RGB", size[::-1]).save(path)
    lines = [format_label_line(label, parts, size) for label, parts in enumerate(polygons)]
    path.with_suffix(".txt").write_text("\n".join(lines))
    return build_index([path], max(1, len(polygons)))


def load(folder: Path, content: dict[str, Any]) -> COCO:
    path = folder / "coco.json"
    write_json_atomic(path, content)
    faster = faster_coco_eval.COCO(str(path), print_function=lambda *_: None)
    coco = COCO(str(path))
    assert len(faster.getAnnIds()) == len(coco.getAnnIds()) == len(content["annotations"])
    for one, other in zip(
        faster.loadAnns(faster.getAnnIds()), coco.loadAnns(coco.getAnnIds()), strict=True
    ):
        np.testing.assert_array_equal(faster.annToMask(one), coco.annToMask(other))
    return coco


def masks(coco: COCO) -> np.ndarray:
    return np.array([coco.annToMask(row) for row in coco.loadAnns(coco.getAnnIds())], dtype=bool)


def test_generated_dataset(yolo_dataset, tmp_path: Path) -> None:
    spec = read_spec(yolo_dataset(num_train=3))
    index = build_index(spec.train, 3)
    content = coco_ground_truth(index, spec.names)
    coco = load(tmp_path, content)
    assert coco.getImgIds() == [1, 2, 3]
    assert [image["file_name"] for image in content["images"]] == ["000.jpg", "001.jpg", "002.jpg"]
    assert content["images"][0]["width"] == 128
    assert content["images"][0]["height"] == 96
    assert [row["name"] for row in content["categories"]] == list(spec.names)
    assert [row["id"] for row in content["categories"]] == [1, 2, 3]
    rows = content["annotations"]
    assert [row["id"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["image_id"] for row in rows] == [1, 1, 1, 2, 2, 2]
    assert [row["category_id"] for row in rows] == (index.labels + 1).tolist()
    assert all(row["iscrowd"] == 0 for row in rows)


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ((ellipse(60, 60, 40, 25),), list),
        ((ellipse(40, 60, 30, 25), ellipse(110, 50, 30, 40)), list),
        ((ellipse(80, 60, 60, 50), ellipse(90, 60, 20, 20)), dict),
        ((ellipse(60, 60, 40, 40), ellipse(90, 60, 40, 40)), dict),  # the overlap is empty
        ((ellipse(80, 60, 50, 50), ellipse(80, 60, 30, 30), ellipse(80, 60, 9, 9)), dict),
    ],
)
def test_masks_agree_with_ours(tmp_path: Path, parts: tuple[Part, ...], kind: type) -> None:
    index = make_index(tmp_path, (parts,))
    content = coco_ground_truth(index, ["thing"])
    (row,) = content["annotations"]
    assert isinstance(row["segmentation"], kind)
    (theirs,) = masks(load(tmp_path, content))
    (ours,) = rasterise(index.annotation(0, SIZE)[0], SIZE)
    if kind is dict:
        np.testing.assert_array_equal(theirs, ours)
    else:
        assert (theirs & ours).sum() / (theirs | ours).sum() > 0.97
    if len(parts) != 2 or kind is list:  # rings that cross have no exact area
        assert abs(row["area"] - ours.sum()) < 0.02 * ours.sum()
    points = np.concatenate(parts)
    np.testing.assert_allclose(
        row["bbox"], [*points.min(0), *(points.max(0) - points.min(0))], rtol=1e-5
    )


def test_rings_that_touch_are_polygons(tmp_path: Path) -> None:
    left = np.array([[10, 10], [50, 10], [50, 50], [10, 50]], dtype=np.float32)
    content = coco_ground_truth(
        make_index(tmp_path, ((left, left + np.float32([40, 0])),)), ["thing"]
    )
    assert len(content["annotations"][0]["segmentation"]) == 2
    assert content["annotations"][0]["area"] == pytest.approx(3200)


@given(st.integers(0, 2**32 - 1))
def test_coordinates_are_short_and_nothing_is_lost(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 5000, 2))
    pixels = rng.uniform(0, (width, height), (20, 2)).round(2)
    ring = (pixels / (width, height)).astype(np.float32)
    ((short,),) = short_coordinates(((ring,),), (height, width))
    np.testing.assert_array_equal((short / (width, height)).astype(np.float32), ring)
    # What had two digits has them again, or fewer where these are enough.
    digits = max(len(repr(value).partition(".")[2]) for value in short.ravel().tolist())
    assert digits <= 2
    np.testing.assert_allclose(short, pixels, atol=1e-3)


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), min_size=1))
def test_any_coordinate_comes_back(points: list[tuple[float, float]]) -> None:
    ring = np.array(points, dtype=np.float32)
    ((short,), ()) = short_coordinates(((ring,), ()), (1080, 1919))
    np.testing.assert_array_equal((short / (1919, 1080)).astype(np.float32), ring)
    assert short_coordinates(((), ()), (3, 4)) == ((), ())


def test_crowds_are_marked_and_not_learnt(tmp_path: Path) -> None:
    parts = (ellipse(40, 60, 30, 25), ellipse(110, 50, 30, 40))
    index = make_index(tmp_path, (parts, parts[:1], parts[1:]))
    index = replace(index, crowd=np.array([False, True, False]))
    content = coco_ground_truth(index, ["a", "b", "c"])
    rows = content["annotations"]
    assert [row["iscrowd"] for row in rows] == [0, 1, 0]
    assert [type(row["segmentation"]) for row in rows] == [list, dict, list]
    polygons, _, crowd = index.annotation_with_crowds(0, SIZE)
    np.testing.assert_array_equal(masks(load(tmp_path, content))[1], rasterise(polygons, SIZE)[1])
    assert crowd.tolist() == [False, True, False]
    polygons, labels = index.annotation(0, SIZE)
    assert labels.tolist() == [0, 2]
    assert [len(parts) for parts in polygons] == [2, 1]
    assert index.num_instances() == 2


def test_rings_too_small_for_a_mask_are_not_lost(tmp_path: Path) -> None:
    tiny = np.array([[10.6, 10.6], [10.9, 10.6], [10.9, 10.9]], dtype=np.float32)
    parts = (tiny, (tiny - 10.7) / 2 + 10.7)
    (row,) = coco_ground_truth(make_index(tmp_path, (parts,)), ["a"])["annotations"]
    assert len(row["segmentation"]) == 2


def test_no_instances_and_no_images(tmp_path: Path) -> None:
    content = coco_ground_truth(make_index(tmp_path, ()), ["thing"])
    assert content["annotations"] == []
    assert load(tmp_path, content).getImgIds() == [1]
    assert coco_ground_truth(build_index([], 1), ["thing"])["images"] == []


def test_file_names_start_at_the_common_folder(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a/x.png", "a/b/x.png", "c/x.png")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    content = coco_ground_truth(build_index(paths, 1), ["thing"])
    assert [row["file_name"] for row in content["images"]] == ["a/x.png", "a/b/x.png", "c/x.png"]


def test_file_names_of_images_without_a_common_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [tmp_path / "a.png", Path("b.png")]  # as two drives of Windows
    for path in paths:
        Image.new("RGB", (4, 4)).save(path)
    content = coco_ground_truth(build_index(paths, 1), ["thing"])
    assert [row["file_name"] for row in content["images"]] == [paths[0].as_posix(), "b.png"]


def test_json_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_json_atomic(path, {"name": "ä"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "ä"}
    with pytest.raises(TypeError):
        write_json_atomic(path, {"name": object()})

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OutputError, match=r"a\.json: cannot be written \(disk full\)"):
        write_json_atomic(str(path), [1])
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "ä"}
    assert list(tmp_path.iterdir()) == [path]
