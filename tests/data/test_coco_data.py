"""COCO files in the place of folders in a data.yaml."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_datasets import write_coco_dataset, write_json
from PIL import Image

from crispmask.data import coco_table, index_cache, scan
from crispmask.data.coco import coco_ground_truth
from crispmask.data.coco_images import CocoImages
from crispmask.data.index import DatasetIndex
from crispmask.data.scan import build_index
from crispmask.data.scenes import write_sample_dataset
from crispmask.data.spec import inspect_spec, read_spec
from crispmask.errors import DatasetError
from crispmask.geometry.raster import rasterise

SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A dataset with holes and parts."""
    return write_sample_dataset(tmp_path / "sample", num_images=6, imgsz=96, seed=1)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder for everything, however fast it was read and however new its files are."""
    monkeypatch.setenv("CRISPMASK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(coco_table, "_QUICK", -1.0)
    monkeypatch.setattr(scan, "_QUICK", -1.0)
    monkeypatch.setattr(index_cache, "_TICK", 0)
    coco_table._read.cache_clear()
    return tmp_path / "cache" / "index"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the COCO files that were parsed."""
    names: list[str] = []
    original = coco_table.read_coco_file

    def read_coco_file(path: Path) -> Any:
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(coco_table, "read_coco_file", read_coco_file)
    return names


def split_index(data: Path, split: str = "train") -> DatasetIndex:
    spec = read_spec(data)
    return build_index(getattr(spec, split), len(spec.names))


def all_masks(index: DatasetIndex) -> list[tuple[str, int, bytes]]:
    """Image, label and mask of every instance that is no crowd."""
    found = []
    for i in range(len(index)):
        polygons, labels = index.annotation(i, index.size(i))
        for label, mask in zip(labels.tolist(), rasterise(polygons, index.size(i)), strict=True):
            found.append((index.path(i).name, label, mask.tobytes()))
    return found


def simple(folder: Path, rows: list[dict[str, Any]], **changes: Any) -> Path:
    """Two images, and a COCO file of which all rows are of the first; returns data.yaml."""
    folder.mkdir(exist_ok=True)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (60, 40)).save(folder / name)
    content = {
        "images": [
            {"id": 7, "file_name": "a.png", "height": 40, "width": 60},
            {"id": 3, "file_name": "b.png", "height": 40, "width": 60},
        ],
        "annotations": [
            {"id": 100 + i, "image_id": 7, "category_id": 5, "segmentation": [SQUARE], **row}
            for i, row in enumerate(rows)
        ],
        "categories": [{"id": 90, "name": "dog"}, {"id": 5, "name": "cat"}],
    }
    write_json(folder / "coco.json", {**content, **changes})
    (folder / "data.yaml").write_text("train: coco.json\nval: coco.json\n")
    return folder / "data.yaml"


def fails(data: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        split_index(data)
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value)
    return str(caught.value)


def test_the_masks_are_those_of_the_label_files(sample: Path, tmp_path: Path) -> None:
    data = write_coco_dataset(sample, tmp_path / "coco")
    for split in ("train", "val"):
        expected = all_masks(split_index(sample, split))
        assert len(expected) > 3
        assert all_masks(split_index(data, split)) == expected
    assert read_spec(data).names == read_spec(sample).names


def test_ids_with_gaps_become_labels_in_their_order(sample: Path, tmp_path: Path) -> None:
    data = write_coco_dataset(sample, tmp_path / "coco", ids=(4, 17, 18, 90))
    spec = read_spec(data)
    assert spec.names == read_spec(sample).names
    assert all_masks(split_index(data)) == all_masks(split_index(sample))
    assert spec.notes[0] == (
        "instances_train.json: category ids 4, 17, 18, 90 are classes 0, 1, 2, 3, in their order"
    )
    assert len(spec.notes) == 2


def test_names_of_data_yaml_decide_where_they_are_given(tmp_path: Path) -> None:
    data = simple(tmp_path / "d", [{}, {"category_id": 90}])
    text = data.read_text()
    data.write_text(text + "names: [bird, dog, cat]\n")
    assert split_index(data).labels.tolist() == [2, 1]
    assert "category ids 5, 90 are classes 2, 1, by their names" in read_spec(data).notes[0]
    data.write_text(text + "names: [cat]\n")
    message = fails(data)
    assert message.startswith(f"{data}:3: coco.json has the category 'dog', which names lacks")
    data.write_text(text + "nc: 3\n")
    assert "nc is 3 but the COCO files have 2 categories" in fails(data)


def test_files_that_disagree(tmp_path: Path) -> None:
    data = simple(tmp_path / "d", [{}])
    content = json.loads((tmp_path / "d/coco.json").read_text())
    write_json(tmp_path / "d/other.json", {**content, "categories": [{"id": 5, "name": "cow"}]})
    data.write_text("train: coco.json\nval: other.json\n")
    assert "category 5 is 'cow', in another file 'cat'" in fails(data)
    write_json(tmp_path / "d/other.json", {**content, "categories": [{"id": 5, "name": "cat"}]})
    assert read_spec(data).names == ("cat", "dog")


def test_crowds_are_kept_but_not_learnt(sample: Path, tmp_path: Path, kept: Path) -> None:
    data = write_coco_dataset(sample, tmp_path / "coco", crowds=True)
    plain = split_index(sample)
    for _ in range(2):  # the second one comes from the cache
        index = split_index(data)
        assert index.file is not None
        assert int(index.crowd.sum()) == len(index)
        assert index.num_instances() == plain.num_instances()
        assert all_masks(index) == all_masks(plain)
        rows = coco_ground_truth(index, read_spec(data).names)["annotations"]
        assert [row["area"] for row in rows if row["iscrowd"]] == [
            float(height * (width // 3)) for height, width in index.sizes.tolist()
        ]
        coco_table._read.cache_clear()


def test_a_file_is_parsed_once(sample: Path, tmp_path: Path, kept: Path, reads: list[str]) -> None:
    data = write_coco_dataset(sample, tmp_path / "coco", ids=(1, 3, 5, 7))
    first, spec = split_index(data), read_spec(data)
    assert reads == ["instances_train.json", "instances_val.json"]
    coco_table._read.cache_clear()  # as in another process
    again = split_index(data)
    assert len(reads) == 2
    assert all_masks(again) == all_masks(first)
    assert read_spec(data) == spec
    file = tmp_path / "coco/annotations/instances_train.json"
    content = json.loads(file.read_text())
    content["annotations"].pop()
    write_json(file, content)
    assert len(split_index(data).labels) == len(first.labels) - 1
    assert len(reads) == 3
    for damaged in kept.glob("coco*"):
        damaged.write_bytes(damaged.read_bytes()[:-9])
    coco_table._read.cache_clear()
    assert len(split_index(data).labels) == len(first.labels) - 1
    assert reads[3:] == ["instances_train.json", "instances_val.json"]


def test_ids_too_large_for_the_arrays(tmp_path: Path) -> None:
    ids = [2**63, 2**63 - 1, "12", "x", 1.5, None]
    simple(tmp_path / "d", [{"id": i} for i in ids])
    table = coco_table.read_coco_table(tmp_path / "d/coco.json")
    assert table.ids.tolist() == [-1, 2**63 - 1, 12, -1, -1, -1]


def test_problems_are_kept_as_well(tmp_path: Path, kept: Path, reads: list[str]) -> None:
    empty = {"segmentation": {"size": [40, 60], "counts": [2400]}}
    simple(tmp_path / "d", [{"segmentation": [], "bbox": [1, 2.5, 3, 4]}, empty, {}])
    first = coco_table.read_coco_table(tmp_path / "d/coco.json")
    coco_table._read.cache_clear()
    again = coco_table.read_coco_table(tmp_path / "d/coco.json")
    assert len(reads) == 1
    assert again.problems == first.problems
    assert [p.problem.kind for p in first.problems] == ["box", "empty"]
    assert first.problems[0].problem.box == (1, 2.5, 3, 4)
    assert again.categories == first.categories
    assert again.ids.tolist() == first.ids.tolist() == [102]


def test_an_image_that_changes_is_looked_at_again(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = simple(tmp_path / "d", [{}])
    split_index(data)
    Image.new("RGB", (61, 40)).save(tmp_path / "d/b.png")
    message = fails(data)
    assert message.startswith(f"{tmp_path / 'd/b.png'}: 61 x 40 pixels, but 60 x 40 in ")


def test_processes_read_the_same(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_coco_dataset(sample, tmp_path / "coco")
    expected = all_masks(split_index(data))
    coco_table._read.cache_clear()
    monkeypatch.setattr(coco_table, "_FEW", 0)
    monkeypatch.setattr(coco_table, "_CHUNK", 2)
    monkeypatch.setattr(coco_table, "usable_cpus", lambda: 2)
    assert all_masks(split_index(data)) == expected


def test_some_of_the_images(sample: Path, tmp_path: Path) -> None:
    data = write_coco_dataset(sample, tmp_path / "coco")
    paths = read_spec(data).train
    assert isinstance(paths, CocoImages)
    whole = build_index(paths, 4)
    some = build_index(paths.take([3, 0]), 4)
    assert some.paths() == [paths.texts[3], paths.texts[0]]
    expected = all_masks(whole)
    for i, old in enumerate((3, 0)):
        name = whole.path(old).name
        assert [row for row in all_masks(some) if row[0] == name] == [
            row for row in expected if row[0] == name
        ]
        assert paths.take([3, 0]).source.ids_of(i) == paths.source.ids_of(old)
    assert paths[1:3] == paths.texts[1:3]


def test_an_image_without_annotations_is_background(tmp_path: Path) -> None:
    index = split_index(simple(tmp_path / "d", [{}, {"category_id": 90}]))
    assert np.diff(index.image_offsets).tolist() == [2, 0]
    assert index.labels.tolist() == [0, 1]


def test_a_mask_without_pixels_does_no_harm(tmp_path: Path) -> None:
    empty = {"segmentation": {"size": [40, 60], "counts": [2400]}}
    assert split_index(simple(tmp_path / "d", [empty, {}])).labels.tolist() == [0]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"segmentation": []}, "coco.json: annotation 101: no segmentation, only a box"),
        ({"segmentation": [[1, 2, 3, 4]]}, "coco.json: annotation 101: 2 points, fewer than 3"),
        ({"segmentation": {"size": [4, 4], "counts": [16]}}, "annotation 101: a mask of size"),
        ({"image_id": 9}, "coco.json: annotation 101: image_id 9 does not exist"),
    ],
)
def test_problems_name_file_and_annotation(tmp_path: Path, row: dict[str, Any], words: str) -> None:
    assert words in fails(simple(tmp_path / "d", [{}, row]))


def damage(folder: Path) -> None:
    (folder / "coco.json").write_text('{"images": [\n,]}')


def lose_image(folder: Path) -> None:
    (folder / "b.png").unlink()


def mix(folder: Path) -> None:
    (folder / "images").mkdir()
    (folder / "a.png").rename(folder / "images/a.png")
    (folder / "data.yaml").write_text("train: [coco.json, images]\nval: images\n")


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (damage, "coco.json:2: ", "not JSON"),
        (lose_image, "coco.json: ", "1 images are not in"),
        (mix, "data.yaml:1: ", "choose one kind"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, change: Callable[[Path], None], place: str, words: str
) -> None:
    data = simple(tmp_path / "d", [{}])
    change(data.parent)
    message = fails(data)
    assert message.startswith(str(data.parent / place))
    assert words in message
    assert str(inspect_spec(data)[1][0]) == message  # and is no reason to stop a check


@pytest.mark.parametrize(
    ("file", "image", "name"),
    [
        ("annotations/instances_train2017.json", "train2017/a.png", "a.png"),
        ("annotations/instances_default.json", "images/default/a.png", "a.png"),
        ("train/_annotations.coco.json", "train/a.png", "a.png"),
        ("result.json", "images/0c1d-a.png", "images\\0c1d-a.png"),
        ("labels.json", "pictures/of/a.png", "a.png"),
        ("annotations/all.json", "data/a.png", "data/a.png"),
    ],
)
def test_images_are_found_where_tools_put_them(
    tmp_path: Path, file: str, image: str, name: str
) -> None:
    for path in (file, image):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40)).save(tmp_path / image)
    record = {"id": 0, "file_name": name, "height": 40, "width": 60}
    row = {"id": 1, "image_id": 0, "category_id": 0, "segmentation": [SQUARE]}
    content = {
        "images": [record],
        "annotations": [row],
        "categories": [{"id": 0, "name": "cat"}],
    }
    write_json(tmp_path / file, content)
    (tmp_path / "data.yaml").write_text(f"train: {file}\nval: {file}\n")
    index = split_index(tmp_path)
    assert index.path(0) == tmp_path / image
    assert read_spec(tmp_path).notes == ()  # ids that are labels need no word


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
        ("train/_annotations.coco.json", "valid/_annotations.coco.json"),
        ("all.json", None),
    ],
)
def test_a_file_without_data_yaml(tmp_path: Path, train: str, val: str | None) -> None:
    simple(tmp_path / "d", [{}])
    for file in filter(None, (train, val)):
        (tmp_path / "d" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / file).write_text((tmp_path / "d/coco.json").read_text())
        for name in ("a.png", "b.png"):
            folder = Path(file).parent if file.startswith(("train", "valid")) else Path()
            Image.new("RGB", (60, 40)).save(tmp_path / "d" / folder / name)
    spec = read_spec(tmp_path / "d" / train)
    assert spec.names == ("cat", "dog")
    assert len(spec.train) == 2
    assert len(spec.val) == (2 if val else 0)
    assert read_spec(spec.file) == spec
    if val:  # and its folder is enough
        (tmp_path / "d/data.yaml").unlink()
        assert read_spec(tmp_path / "d") == spec


def test_large_files_are_worth_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(coco_table, "_LARGE", 1)
    with caplog.at_level(logging.WARNING):
        read_spec(simple(tmp_path / "d", [{}]))
    assert caplog.text.count("coco.json") == 1


def test_images_that_cannot_be_read_can_be_left_out(tmp_path: Path) -> None:
    data = simple(tmp_path / "d", [{}, {"image_id": 3}, {"image_id": 3, "category_id": 90}])
    (tmp_path / "d/a.png").write_text("no image")
    assert fails(data).startswith(f"{tmp_path / 'd/a.png'}: ")
    told: list[str] = []
    spec = read_spec(data)
    index = build_index(spec.train, 2, on_unreadable=lambda path, problem: told.append(path))
    assert told == [str(tmp_path / "d/a.png")]
    assert index.paths() == [str(tmp_path / "d/b.png")]
    assert index.labels.tolist() == [0, 1]
