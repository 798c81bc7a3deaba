"""A small dataset without any problem, for tests to break."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_pictures import SQUARE, WEDGE, picture, write_picture


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """The folder of a dataset: a, b and c for training, d and e for validation."""
    folder = tmp_path / "data"
    for seed, name in enumerate(("train/a", "train/b", "train/c", "val/d", "val/e")):
        write_picture(folder / f"images/{name}.jpg", picture(seed))
        label = folder / f"labels/{name}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(f"0 {SQUARE}\n1 {WEDGE}\n")
    yaml = "train: images/train\nval: images/val\nnames: [cat, dog]\n"
    (folder / "data.yaml").write_text(yaml)
    return folder
