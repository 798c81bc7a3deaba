"""Advice where nothing is found: once, after several validations, with the numbers of the run."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fit_run import toy_config
from rich.console import Console
from toy_dataset import write_toy_dataset

from crispmask.config import TrainConfig
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec
from crispmask.engine import epochs as epochs_module
from crispmask.engine.advice import (
    class_advice,
    instance_sides,
    rate_advice,
    size_advice,
    step_advice,
)
from crispmask.engine.fit import fit

HEAD = "mask mAP50 is still 0 after 3 validations"


def _fit_with(maps: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Trains while every validation has the next mAP50."""
    original, values = epochs_module.evaluate, iter(maps)

    def scripted(*args: Any, **options: Any) -> Any:
        found = original(*args, **options)
        mask = replace(found.metrics.mask, map50=next(values))
        return replace(found, metrics=replace(found.metrics, mask=mask))

    out = io.StringIO()
    config = toy_config(tmp_path, monkeypatch, epochs=len(maps))
    monkeypatch.setattr(epochs_module, "evaluate", scripted)
    fit(config, Console(file=out, width=100))
    return out.getvalue()


def test_once_after_three_that_found_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = _fit_with([0.0] * 7, tmp_path, monkeypatch)
    assert text.count(HEAD) == 1
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(HEAD))
    assert lines[at - 1].startswith("epoch 3/7")
    advice = "\n".join(lines[at + 1 : lines.index(next(x for x in lines if "epoch 4/7" in x))])
    assert "label scale: the median training instance is 26 px at --imgsz 64" in advice
    assert "too early: 9 steps from random weights" in advice
    assert "learning rate: 0.05 with SGD is made for weights from ImageNet" in advice
    assert "predictions: 1 per image with scores up to" in advice
    assert "100% of them square0" in advice


@pytest.mark.parametrize("maps", [[0.0, 0.0, 0.3, 0.0, 0.0], [0.2] * 4, [-1.0] * 4])
def test_not_where_something_is_found(
    maps: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HEAD not in _fit_with(maps, tmp_path, monkeypatch)


def test_class_names(tmp_path: Path) -> None:
    spec = read_spec(str(write_toy_dataset(tmp_path, num_train=4, num_val=2, classes=2)))
    train, val = build_index(spec.train, 2, 0), build_index(spec.val, 2, 0)
    assert class_advice(train, val, ("a", "b")) == []
    only_first = replace(train, labels=train.labels * 0)
    (line,) = class_advice(only_first, val, ("a", "b"))
    assert "b occurs in val and never in train" in line
    (line,) = class_advice(train, val, ("a", "b", "c"))
    assert "c has no instance at all" in line
    assert "(3 names)" in line


def test_sizes_by_loops(tmp_path: Path) -> None:
    spec = read_spec(str(write_toy_dataset(tmp_path, num_train=3, num_val=1)))
    index = build_index(spec.train, 1, 0)
    expected = []
    for i in range(len(index)):
        polygons, _ = index.annotation(i, (64 * 32 // 80, 32))  # images are 64 x 80
        for parts in polygons:
            points = [point for part in parts for point in part.tolist()]
            xs, ys = [p[0] for p in points], [p[1] for p in points]
            # The frame above is rounded down to 25 rows of 25.6.
            height = (max(ys) - min(ys)) * 25.6 / 25
            expected.append(((max(xs) - min(xs)) * height) ** 0.5)
    assert instance_sides(index, 32).tolist() == pytest.approx(expected, rel=1e-4)
    crowd = np.arange(len(index.labels)) == 0
    sides = instance_sides(replace(index, crowd=crowd), 32)
    assert sides.tolist() == pytest.approx(expected[1:], rel=1e-4)
    (line,) = size_advice(index, 64)
    assert "the median training instance is 26 px at --imgsz 64" in line
    (line,) = size_advice(index, 16)
    assert "100% of the training instances are below 12 px at --imgsz 16" in line
    assert "try --imgsz 64" in line


def test_steps_and_rates() -> None:
    assert step_advice(5000, 50, 100, "imagenet", 4.0, 1.0) == []
    assert "4.00 at the first step, 3.90 now" in step_advice(5000, 50, 100, "none", 4.0, 3.9)[0]
    config = TrainConfig(lr=0.01, optimizer="sgd")
    assert "norm of 668: --lr 0.0025" in rate_advice(config, 3, 668.0)[0]
    assert "try --lr 0.0014" in rate_advice(replace(config, lr=1e-5), 3, 3.0)[0]
    assert "try half if the loss jumps" in rate_advice(config, 3, 3.0)[0]
