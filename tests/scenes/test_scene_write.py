from __future__ import annotations

import json
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from crispmask.data.labels import parse_label_file
from crispmask.data.scenes import CLASS_NAMES, draw_sample, write_sample_dataset
from crispmask.data.scenes.layout import draw_layout, fine_masks, visible_instances
from crispmask.data.spec import read_spec
from crispmask.errors import ConfigError, DatasetError
from crispmask.geometry.polygons import polygons_area, polygons_to_boxes
from crispmask.geometry.raster import rasterise
from crispmask.types import Part, Polygons, Size


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample") / "small"
    write_sample_dataset(out, num_images=12, imgsz=96, seed=3)
    return out


def test_layout_is_yolo(small: Path) -> None:
    data = yaml.safe_load((small / "data.yaml").read_text(encoding="utf-8"))
    assert list(data["names"].values()) == list(CLASS_NAMES)
    assert "path" not in data  # relative to the file, wherever it is moved
    for split, count in (("train", 9), ("val", 3)):
        images = sorted((small / data[split]).iterdir())
        labels = sorted((small / "labels" / split).iterdir())
        assert len(images) == count
        assert [image.stem for image in images] == [label.stem for label in labels]
    for text in ("data.yaml", "README.txt", "sample.json"):
        assert str(small.parent) not in (small / text).read_text(encoding="utf-8")
    assert "--seed 3" in (small / "README.txt").read_text(encoding="utf-8")


def test_is_read_as_a_dataset(small: Path) -> None:
    spec = read_spec(small / "data.yaml")
    assert spec.names == CLASS_NAMES
    assert (len(spec.train), len(spec.val)) == (9, 3)


def test_labels_read_back_what_was_drawn(small: Path) -> None:
    for index in range(9):
        sample = draw_sample(96, 3, "train", index)
        height, width = sample.image.shape[:2]
        file = small / "labels" / "train" / f"scene_{index:04d}.txt"
        labels = parse_label_file(file, len(CLASS_NAMES))
        instances = labels.polygons((height, width))
        assert len(instances) == len(sample.polygons)
        for read, drawn in zip(instances, sample.polygons, strict=True):
            assert len(read) == len(drawn)
            masks = rasterise((read, drawn), (height, width))
            assert (masks[0] ^ masks[1]).sum() <= 2  # points moved by the rounding of the text


def test_images_are_those_drawn(small: Path) -> None:
    for index in (0, 4, 8):
        sample = draw_sample(96, 3, "train", index)
        read = cv2.imread(str(small / "images" / "train" / f"scene_{index:04d}.jpg"))[..., ::-1]
        assert read.shape == sample.image.shape
        assert np.abs(read.astype(int) - sample.image).mean() < 6


def test_same_arguments_give_the_same_bytes(small: Path, tmp_path: Path) -> None:
    write_sample_dataset(tmp_path / "again", num_images=12, imgsz=96, seed=3)
    assert _contents(tmp_path / "again") == _contents(small)


def test_images_do_not_depend_on_how_many_there_are(small: Path, tmp_path: Path) -> None:
    write_sample_dataset(tmp_path / "fewer", num_images=4, imgsz=96, seed=3)
    fewer, all_files = _contents(tmp_path / "fewer"), _contents(small)
    same = [name for name in fewer if name.startswith(("images", "labels"))]
    assert len(same) == 8
    assert all(fewer[name] == all_files[name] for name in same)


def test_seeds_and_splits_differ() -> None:
    images = [
        draw_sample(64, seed, split, 0).image for seed in (0, 1) for split in ("train", "val")
    ]
    assert len({image.tobytes() for image in images}) == 4


def test_reuses_its_own_dataset_without_touching_it(small: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in small.rglob("*")}
    assert write_sample_dataset(small, num_images=12, imgsz=96, seed=3) == small / "data.yaml"
    assert {file: file.stat().st_mtime_ns for file in small.rglob("*")} == before


def test_refuses_a_dataset_of_other_arguments(small: Path) -> None:
    with pytest.raises(DatasetError, match="other arguments"):
        write_sample_dataset(small, num_images=12, imgsz=96, seed=4)


def test_refuses_a_dataset_that_was_changed(tmp_path: Path) -> None:
    write_sample_dataset(tmp_path / "a", num_images=2, imgsz=64)
    (tmp_path / "a" / "labels" / "val" / "scene_0000.txt").write_text("0 0 0 1 0 1 1\n")
    with pytest.raises(DatasetError, match="changed"):
        write_sample_dataset(tmp_path / "a", num_images=2, imgsz=64)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": 1, "seed": 0}'])
def test_refuses_a_folder_of_someone_else(tmp_path: Path, content: str) -> None:
    (tmp_path / "sample.json").write_text(content)
    with pytest.raises(DatasetError, match="--out"):
        write_sample_dataset(tmp_path, num_images=2, imgsz=64)
    assert [file.name for file in tmp_path.iterdir()] == ["sample.json"]


def test_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(DatasetError, match="is a file"):
        write_sample_dataset(tmp_path / "out", num_images=2, imgsz=64)
    with pytest.raises(DatasetError, match="cannot write"):
        write_sample_dataset(tmp_path / "out" / "below", num_images=2, imgsz=64)
    assert (tmp_path / "out").read_text() == "mine"


def test_an_empty_folder_is_fine(tmp_path: Path) -> None:
    file = write_sample_dataset(tmp_path, num_images=2, imgsz=64)
    assert file == tmp_path / "data.yaml"
    assert sorted(child.name for child in tmp_path.iterdir()) == [
        "README.txt", "data.yaml", "images", "labels", "sample.json"
    ]  # fmt: skip
    assert write_sample_dataset(tmp_path, num_images=2, imgsz=64) == file


def test_the_current_folder_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_sample_dataset(Path(), num_images=2, imgsz=64)
    assert Path("data.yaml").is_file()


def test_nothing_is_left_of_an_interrupted_call(tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample_dataset(tmp_path / "out", num_images=4, imgsz=64, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_all_images(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_sample_dataset(
        tmp_path / "out", num_images=3, imgsz=64, progress=lambda *step: seen.append(step)
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_nothing_is_left_in_a_folder_that_was_empty(tmp_path: Path) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample_dataset(tmp_path, num_images=4, imgsz=64, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        ({"num_images": 1}, "--images"),
        ({"imgsz": 32}, "--imgsz"),
        ({"seed": -1}, "--seed"),
        ({"val_fraction": 1.5}, "val_fraction"),
    ],
)
def test_bad_arguments_are_named(tmp_path: Path, arguments: dict[str, int], flag: str) -> None:
    with pytest.raises(ConfigError, match=flag):
        write_sample_dataset(tmp_path / "out", **arguments)  # type: ignore[arg-type]  # mixed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("val_fraction", [0.0, 1.0])
def test_both_splits_have_an_image(tmp_path: Path, val_fraction: float) -> None:
    write_sample_dataset(tmp_path / "out", 3, 64, val_fraction=val_fraction)
    for split in ("train", "val"):
        assert list((tmp_path / "out" / "images" / split).iterdir())


def test_record_names_the_generator(small: Path) -> None:
    record = json.loads((small / "sample.json").read_text(encoding="utf-8"))
    files = record.pop("files")
    assert record == {
        "num_images": 12, "imgsz": 96, "seed": 3, "val_fraction": 0.25, "generator": 2
    }  # fmt: skip
    assert len(files) == 2 * 12 + 1


def _default_labels(split: int, count: int) -> list[tuple[Polygons, np.ndarray, Size]]:
    """The first images of the default dataset, without painting them."""
    found = []
    for index in range(count):
        layout = draw_layout(np.random.default_rng((0, split, index, 0)), 320, index)
        found.append((*visible_instances(layout, fine_masks(layout)), layout.size))
    return found


@pytest.fixture(scope="module")
def default_labels() -> list[list[tuple[Polygons, np.ndarray, Size]]]:
    return [_default_labels(0, 48), _default_labels(1, 24)]


def test_default_dataset_has_all_it_promises(
    default_labels: list[list[tuple[Polygons, np.ndarray, Size]]],
) -> None:
    for images in default_labels:
        assert {int(label) for _, labels, _ in images for label in labels} == {0, 1, 2, 3}
        num_empty = sum(not polygons for polygons, _, _ in images)
        assert 0 < num_empty <= 0.1 * len(images)
        holes = parts = tiny = frame_filling = 0
        for polygons, _, size in images:
            for rings, box in zip(polygons, polygons_to_boxes(polygons), strict=True):
                sides = box[2:] - box[:2]
                tiny += bool(sides.max() < 11)
                frame_filling += bool(sides.max() > 0.95 * max(size))
                num_holes = sum(_is_hole(ring, rings) for ring in rings)
                holes += num_holes > 0
                parts += len(rings) - num_holes > 1
        assert min(holes, parts, tiny, frame_filling) > 0
        assert max(tiny, frame_filling) < 0.12 * sum(len(labels) for _, labels, _ in images)


def test_labels_of_the_default_dataset_are_pinned(
    default_labels: list[list[tuple[Polygons, np.ndarray, Size]]],
) -> None:
    # If this changes on purpose, GENERATOR_VERSION goes up: same arguments, same dataset.
    crc = 0
    for images in default_labels:
        for polygons, labels, _ in images:
            crc = zlib.crc32(labels.astype("<i8").tobytes(), crc)
            for rings in polygons:
                for ring in rings:
                    crc = zlib.crc32((ring * 8).round().astype("<i4").tobytes(), crc)
    assert f"{crc:08x}" == "42601f3f"


def test_areas_are_those_of_visible_regions(
    default_labels: list[list[tuple[Polygons, np.ndarray, Size]]],
) -> None:
    for polygons, _, size in default_labels[0][:6]:
        masks = rasterise(polygons, size)
        assert (masks.sum(axis=0) <= 1).mean() > 0.998  # overlaps only along shared outlines
        for rings, mask in zip(polygons, masks, strict=True):
            assert abs(polygons_area(rings) - mask.sum()) < 0.05 * mask.sum() + 8


def test_does_not_import_torch() -> None:
    code = "import crispmask.data.scenes, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _is_hole(ring: Part, rings: tuple[Part, ...]) -> bool:
    """Whether the ring's extent lies within that of another one of its instance."""
    return any(
        other is not ring
        and (other.min(axis=0) <= ring.min(axis=0)).all()
        and (other.max(axis=0) >= ring.max(axis=0)).all()
        for other in rings
    )
