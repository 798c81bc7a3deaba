"""One dataset that has every problem at once, through the command."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from doctor_pictures import picture, write_picture

from crispmask.cli import main
from crispmask.data.scenes import write_sample_dataset

BAD_ROWS = {
    "row-number": "0 0.1 0.1 0.2 x 0.3 0.1",
    "row-class": "7 0.1 0.1 0.2 0.1 0.2 0.3",
    "row-box": "0 0.5 0.5 0.2 0.2",
    "row-points": "0 0.1 0.1",
    "row-outside": "0 0.4 0.4 1.3 0.4 1.3 0.9",
    "row-zero-area": "0 0.1 0.1 0.2 0.2 0.3 0.3",
    "row-crossing": "1 0.2 0.2 0.6 0.8 0.6 0.2 0.2 0.8",
    "row-tiny": "2 0.500 0.500 0.502 0.500 0.502 0.502",
    "row-clipped": "1 -0.004 0.3 0.3 0.3 0.3 0.7",
}


def damage(folder: Path) -> dict[str, set[tuple[str, int]]]:
    """Breaks a sample dataset; returns where each kind of problem is to be found."""
    images = folder / "images/train"
    names = sorted(path.stem for path in images.iterdir())
    suffix = next(images.iterdir()).suffix
    expected: dict[str, set[tuple[str, int]]] = {}

    def told(code: str, file: Path, line: int = 0) -> None:
        expected.setdefault(code, set()).add((file.relative_to(folder).as_posix(), line))

    def image(name: str, split: str = "train") -> Path:
        return folder / f"images/{split}/{name}{suffix}"

    def label(name: str, split: str = "train") -> Path:
        return folder / f"labels/{split}/{name}.txt"

    rows = label(names[0]).read_text().splitlines()
    for code, row in BAD_ROWS.items():
        rows.append(row)
        told(code, label(names[0]), len(rows))
    rows.append(rows[0])
    told("row-duplicate", label(names[0]), len(rows))
    word, _, rest = rows[1].partition(" ")
    rows.append(f"{(int(word) + 1) % 4} {rest}")
    told("row-two-classes", label(names[0]), len(rows))
    label(names[0]).write_text("\n".join(rows) + "\n")

    image(names[1]).write_bytes(image(names[1]).read_bytes()[:-300])
    told("image-truncated", image(names[1]))
    image(names[2]).write_text("no image")
    told("image-unreadable", image(names[2]))
    label(names[3]).write_bytes(b"\xff\xfe0 0.1")
    told("label-unreadable", label(names[3]))
    shutil.copy(image(names[4]), image("copy"))
    shutil.copy(label(names[4]), label("copy"))
    told("image-duplicate", image(names[4]))  # the later of the two by name
    shutil.copy(image(names[5]), image("leaked", "val"))
    shutil.copy(label(names[5]), label("leaked", "val"))
    told("leak", image("leaked", "val"))
    pixels = cv2.imread(str(image(names[6])))
    write_picture(image("smaller", "val"), cv2.resize(pixels, None, fx=0.8, fy=0.8), 80)
    shutil.copy(label(names[6]), label("smaller", "val"))
    told("leak-similar", image("smaller", "val"))
    label("nobody").write_text("0 0.1 0.1 0.2 0.1 0.2 0.3\n")
    told("label-orphan", label("nobody"))
    write_picture(image("strange"), picture(1))
    told("label-missing", image("strange"))
    write_picture(image("many"), picture(2, 320, 480))
    label("many").write_text(
        "".join(
            f"0 {x:.3f} {y:.3f} {x + 0.02:.3f} {y:.3f} {x:.3f} {y + 0.02:.3f}\n"
            for x in np.arange(20) / 20
            for y in np.arange(20) / 20
        )
    )
    (folder / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: [leaf, ring, stone, card]\nnc: 5\n"
    )
    told("yaml-nc", folder / "data.yaml", 4)
    told("class-rare", folder / "data.yaml")
    told("class-empty", folder / "data.yaml")
    return expected


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def report(data: Path, *flags: str) -> tuple[int, dict[str, set[tuple[str, int]]]]:
    """Exit code of a check, and the places it names by kind."""
    file = data.parent / "report.json"
    code = main(["check", f"data={data}", f"json={file}", *flags])
    content = json.loads(file.read_text())
    file.unlink()
    found: dict[str, set[tuple[str, int]]] = {}
    for problem in content["problems"]:
        place = os.path.relpath(problem["file"], data)
        found.setdefault(problem["code"], set()).add((place, problem["line"] or 0))
    assert code == content["exit_code"]
    return code, found


def test_every_problem_is_found_and_a_clean_copy_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_sample_dataset(tmp_path / "data", num_images=12, imgsz=128, seed=4).parent
    expected = damage(folder)
    before = hashes(folder)
    page, copy = tmp_path / "page.html", tmp_path / "copy"
    code, found = report(folder, f"html={page}", f"fix_to={copy}")
    assert code == 1
    missing = {kind: places - found.get(kind, set()) for kind, places in expected.items()}
    assert {kind for kind, places in missing.items() if places} == set()
    assert hashes(folder) == before
    out = capsys.readouterr().out
    for kind, places in expected.items():
        for file, line in places:
            assert kind in out
            assert f"{file}{f':{line}' if line else ''}" in out
    assert page.stat().st_size > 10_000
    code, left = report(copy)
    assert code == 0
    assert not set(left) & {"leak", "row-duplicate", "yaml-nc", *BAD_ROWS} - {
        "row-crossing",  # a person has to say what was meant
        "row-tiny",
    }


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.skipif(
    "CRISPMASK_DATA" not in os.environ, reason="CRISPMASK_DATA names no folder of datasets"
)
@pytest.mark.parametrize("name", ["facade3", "nuts"])
def test_real_datasets(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(os.environ["CRISPMASK_DATA"]) / name
    before = hashes(folder)
    copy = tmp_path / "copy"
    code = main(["check", f"data={folder}", f"fix_to={copy}", f"html={tmp_path / 'a.html'}"])
    assert hashes(folder) == before
    print(capsys.readouterr().out)
    assert code == main(["check", f"data={copy}"]) == 0
