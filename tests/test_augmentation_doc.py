"""docs/augmentation.md names every parameter with its default, and its examples run."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import numpy as np

from crispmask.augment.copy_paste import MOST_COVERED
from crispmask.augment.paint import GREY
from crispmask.augment.transform import apply_transform
from crispmask.config import AugmentConfig
from crispmask.engine.image_cache import DISK_SHARE, MEMORY_SHARE
from crispmask.engine.on_device import GPU_SHARE
from crispmask.types import Sample

TEXT = (Path(__file__).parents[1] / "docs" / "augmentation.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| `--")
]


def test_every_parameter_is_there_with_its_default() -> None:
    config = AugmentConfig()
    expected = [
        [f"`--{field.name.replace('_', '-')}`", str(getattr(config, field.name))]
        for field in fields(config)
    ]
    assert [row[:2] for row in ROWS] == expected


def test_the_ranges_are_those_of_the_defaults() -> None:
    for row in ROWS:
        if found := re.search(r"U\(-([\d.]+), ([\d.]+)\)", row[2]):
            assert float(found[1]) == float(found[2]) == float(row[1]), row
    assert "U(1 - 0.5, 1 + 0.5)" in dict(zip([r[0] for r in ROWS], ROWS, strict=True))["`--scale`"]


def test_constants() -> None:
    assert f"less than {MOST_COVERED:.0%}".replace("%", " %") in TEXT
    assert f"grey, {GREY}" in TEXT
    assert f"{MEMORY_SHARE:.0%} of the free memory".replace("%", " %") in TEXT
    assert f"{DISK_SHARE:.0%} of the free disk".replace("%", " %") in TEXT
    assert f"more than {GPU_SHARE:.0%} of what is free on the GPU".replace("%", " %") in " ".join(
        TEXT.split()
    )


def test_the_function_of_the_text_is_a_transform() -> None:
    source = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)[0]
    names: dict[str, object] = {}
    exec(source.split("crispmask.train(")[0], names)
    sample = Sample(np.full((8, 9, 3), 100, np.uint8), (), np.zeros(0, np.int64))
    changed = apply_transform(names["noise"], sample, np.random.default_rng(0))
    assert 0 < np.abs(changed.image.astype(int) - 100).mean() < 20
