from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from doctor_pictures import SQUARE, WEDGE, picture, write_picture

from crispmask.data.labels import parse_label_file
from crispmask.data.spec import read_spec
from crispmask.doctor.examine import Examination, examine
from crispmask.doctor.repair import write_repaired_copy
from crispmask.errors import DatasetError


def content(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def repair(folder: Path, out: Path, **options: str) -> list[tuple[str, int, str]]:
    """Changes as (name, line, what), after proving that the original is as before."""
    before = content(folder)
    changes = write_repaired_copy(examine(folder, imgsz=96), out, **options)  # type: ignore[arg-type]  # mixed
    assert content(folder) == before
    with (out / "changes.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["file"], r["line"], r["change"], r["reason"]) for r in rows] == [
        (str(c.file), str(c.line or ""), c.change, c.reason) for c in changes
    ]
    return [(c.file.name, c.line, c.change) for c in changes]


def codes(found: Examination) -> list[str]:
    return [problem.code for problem in found.problems]


def test_a_clean_dataset_is_copied_as_it_is(clean: Path, tmp_path: Path) -> None:
    assert repair(clean, tmp_path / "out") == []
    copied = content(tmp_path / "out")
    assert copied.pop("changes.csv").split() == [b"file,line,change,reason"]
    original = content(clean)
    assert copied.pop("data.yaml") != original.pop("data.yaml")
    assert copied == original
    assert read_spec(tmp_path / "out").names == ("cat", "dog")


def test_everything_that_can_be_is_repaired(clean: Path, tmp_path: Path) -> None:
    (clean / "labels/train/a.txt").write_text(
        f"0 {SQUARE}\n"
        f"0 {SQUARE}\n"
        f"5 {WEDGE}\n"
        "1 0.5 0.5 0.2 0.2\n"
        "1 0.7 0.7\n"
        "x\n"
        "1 0.1 0.6 0.2 0.7 0.3 0.8\n"
        "0 0.8 0.6 1.4 0.6 1.4 0.9 0.8 0.9\n"
        "0 3 3 4 3 4 4\n"
        f"1  {WEDGE} # as it is\n"
    )
    a, b = clean / "images/train/a.jpg", clean / "images/train/b.jpg"
    b.write_bytes(b.read_bytes()[:-100])
    (clean / "images/val/d.jpg").write_bytes((clean / "images/train/c.jpg").read_bytes())
    (clean / "labels/val/e.txt").write_bytes(b"\xff\xfe0")
    (clean / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [a, b]\nnc: 3\n")
    changes = repair(clean, tmp_path / "out")
    assert changes == [
        ("a.txt", 2, "row left out"),
        ("a.txt", 3, "row left out"),
        ("a.txt", 4, "row left out"),
        ("a.txt", 5, "row left out"),
        ("a.txt", 6, "row left out"),
        ("a.txt", 7, "row left out"),
        ("a.txt", 8, "clipped to the image"),
        ("a.txt", 9, "row left out"),
        ("b.jpg", 0, "image left out"),
        ("c.jpg", 0, "image left out of train"),
        ("e.jpg", 0, "image left out"),
        ("data.yaml", 4, "data.yaml written anew"),
    ]
    again = examine(tmp_path / "out", imgsz=96)
    assert again.number("error") == 0
    assert again.names == ("a", "b")
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.jpg")) == ["a.jpg", "d.jpg"]
    lines = (tmp_path / "out/labels/train/a.txt").read_text().splitlines()
    assert lines[0] == f"0 {SQUARE}"
    assert lines[2] == f"1  {WEDGE} # as it is"
    points = parse_label_file(tmp_path / "out/labels/train/a.txt", 2).points[4:8]
    assert sorted(map(tuple, points.round(4).tolist())) == [
        pytest.approx(p, abs=1e-4) for p in [(0.8, 0.6), (0.8, 0.9), (1.0, 0.6), (1.0, 0.9)]
    ]
    assert a.is_file()


def test_an_image_of_two_splits_is_left_out_of_one_at_most(clean: Path, tmp_path: Path) -> None:
    a, d = clean / "images/train/a.jpg", clean / "images/val/d.jpg"
    d.write_bytes(a.read_bytes())
    (clean / "labels/val/d.txt").write_bytes(b"\xff")
    assert repair(clean, tmp_path / "out") == [("d.jpg", 0, "image left out")]
    assert (tmp_path / "out/images/train/a.jpg").is_file()


def test_boxes_become_rectangles_on_demand(clean: Path, tmp_path: Path) -> None:
    (clean / "labels/train/a.txt").write_text(
        f"0 0.5 0.5 0.5 0.25\n1 0.9 0.9 0.4 0.4\n1 {WEDGE}\n0 0.5 nan 0.2 inf\n"
    )
    changes = repair(clean, tmp_path / "out", boxes="rectangle")
    assert changes == [
        ("a.txt", 1, "box turned into a rectangle"),
        ("a.txt", 2, "box turned into a rectangle"),
        ("a.txt", 4, "row left out"),
    ]
    labels = parse_label_file(tmp_path / "out/labels/train/a.txt", 2)
    assert labels.labels.tolist() == [0, 1, 1]
    assert sorted(labels.points[:4].tolist()) == [
        [0.25, 0.375],
        [0.25, 0.625],
        [0.75, 0.375],
        [0.75, 0.625],
    ]
    assert labels.points[4:8].max() == 1
    assert examine(tmp_path / "out", imgsz=96).number("error") == 0


def test_rounding_is_clipped_and_crossings_stay(clean: Path, tmp_path: Path) -> None:
    bow = "0 0.1 0.6 0.4 0.9 0.4 0.6 0.1 0.9"
    (clean / "labels/train/a.txt").write_text(f"1 -0.005 0.1 0.3 0.1 0.3 0.4\n{bow}\n")
    assert repair(clean, tmp_path / "out") == [("a.txt", 1, "clipped to the image")]
    assert codes(examine(tmp_path / "out", imgsz=96)) == ["row-crossing"]


def test_names_that_clash_are_numbered(clean: Path, tmp_path: Path) -> None:
    write_picture(clean / "images/train/a.png", picture(9))
    (clean / "data.yaml").write_text("train: images/train\nval: images/val\nnames: ['it''s', no]\n")
    assert repair(clean, tmp_path / "out") == [("a.png", 0, "renamed a_2.png")]
    out = tmp_path / "out"
    assert (out / "labels/train/a_2.txt").read_bytes() == (out / "labels/train/a.txt").read_bytes()
    assert read_spec(out).names == ("it's", "no")
    assert codes(examine(out, imgsz=96)) == []


def test_folders_of_a_split_are_kept(clean: Path, tmp_path: Path) -> None:
    write_picture(clean / "more/images/f.jpg", picture(20))
    write_picture(clean / "more/images/deep/g.jpg", picture(21))
    (clean / "more/labels/deep").mkdir(parents=True)
    (clean / "more/labels/deep/g.txt").write_text(f"0 {SQUARE}\n1 {WEDGE}\n")
    (clean / "data.yaml").write_text(
        "train: [images/train, more/images]\nval: images/val\nnames: [a, b]\n"
    )
    out = tmp_path / "out"
    assert repair(clean, out) == []
    assert (out / "images/train/train/a.jpg").is_file()
    assert (out / "labels/train/more/deep/g.txt").is_file()
    assert not (out / "labels/train/more/f.txt").exists()
    assert examine(out, imgsz=96).counts == examine(clean, imgsz=96).counts


def test_images_without_a_common_folder(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two_drives(paths: object) -> str:
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr(os.path, "commonpath", two_drives)
    repair(clean, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out/images").rglob("*.jpg")) == [
        f"{name}.jpg" for name in "abcde"
    ]
    assert codes(examine(tmp_path / "out", imgsz=96)) == []


@pytest.mark.parametrize("copy", ["copy", "hardlink", "symlink"])
def test_ways_to_copy(clean: Path, tmp_path: Path, copy: str) -> None:
    repair(clean, tmp_path / "out", copy=copy)
    image = tmp_path / "out/images/train/a.jpg"
    original = clean / "images/train/a.jpg"
    assert image.is_symlink() == (copy == "symlink")
    assert os.path.samefile(image, original) == (copy != "copy")
    assert not (tmp_path / "out/labels/train/a.txt").is_symlink()
    assert codes(examine(tmp_path / "out", imgsz=96)) == []


@pytest.mark.parametrize("place", ["out", "images/train/out", "labels/x", "."])
def test_never_inside_the_dataset(clean: Path, place: str) -> None:
    before = content(clean)
    with pytest.raises(DatasetError, match="lies in the dataset"):
        write_repaired_copy(examine(clean), clean / place)
    assert content(clean) == before


def test_never_inside_through_a_link(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(clean)
    with pytest.raises(DatasetError, match="lies in the dataset"):
        write_repaired_copy(examine(clean), tmp_path / "link" / "out")


def test_never_over_something(clean: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    repair(clean, out)  # empty is free
    with pytest.raises(DatasetError, match="nothing is overwritten"):
        write_repaired_copy(examine(clean), out)
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="nothing is overwritten"):
        write_repaired_copy(examine(clean), tmp_path / "file")


def test_an_interrupted_copy_leaves_nothing(clean: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_repaired_copy(examine(clean), tmp_path / "out", on_progress=stop)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
