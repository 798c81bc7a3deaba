"""docs/evaluation.md names every key of metrics.json, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from crispmask.metrics.coco import measure_fully

TEXT = (Path(__file__).parents[2] / "docs/evaluation.md").read_text(encoding="utf-8")


def test_the_table_of_keys_is_complete() -> None:
    truth = {"images": [{"id": 1, "height": 9, "width": 9}], "annotations": [], "categories": []}
    result = measure_fully(truth, [], ["a"], 640)[0].to_json()
    rows = re.findall(r"^\| `([^`]+)` \|", TEXT, flags=re.MULTILINE)
    masks = [key for key in rows if key.startswith("mask/")]
    named = set(rows) - {"box/...", "boundary/..."}
    for prefix in ("box", "boundary"):
        assert f"{prefix}/..." in rows
        named |= {key.replace("mask", prefix, 1) for key in masks}
    assert named == set(result)


def test_the_keys_of_a_class_are_named() -> None:
    truth = {"images": [{"id": 1, "height": 9, "width": 9}], "annotations": [], "categories": []}
    keys = measure_fully(truth, [], ["a"], 640)[0].to_json()["per_class"]["a"]
    line = next(line for line in TEXT.splitlines() if line.startswith("| `per_class`"))
    for key in keys:
        kind, _, name = key.rpartition("/")
        assert f"`{name}`" in line or f"`{kind}/...`" in line, key
