"""Weights of classes: how they are chosen, checked and used."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_dataset import write_toy_dataset
from toy_network import ToyNetwork

from crispmask.config import TrainConfig
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec
from crispmask.engine.class_weights import LARGEST, resolve_class_weights, weights_of
from crispmask.engine.device import make_fabric
from crispmask.engine.resolve import resolve
from crispmask.engine.run import start_run
from crispmask.engine.workdir import WorkDir
from crispmask.errors import ConfigError


def _by_loops(counts: list[int]) -> list[float]:
    """As the formula is written: 1 / sqrt(n), scaled to a mean of 1 over the instances."""
    raw = [1 / math.sqrt(n) if n else 0.0 for n in counts]
    instances = [w for n, w in zip(counts, raw, strict=True) for _ in range(n)]
    mean = sum(instances) / len(instances)
    return [min(w / mean, LARGEST) if n else 1.0 for n, w in zip(counts, raw, strict=True)]


@pytest.mark.parametrize(
    "counts", [[5, 5, 5], [100, 25, 1], [1, 0, 900], [7], [10000, 1], [3, 0, 0, 12]]
)
def test_auto_by_loops(counts: list[int]) -> None:
    assert weights_of(np.array(counts)).tolist() == pytest.approx(_by_loops(counts))


def test_equal_classes_count_alike_and_rare_ones_more() -> None:
    assert weights_of(np.array([8, 8, 8])).tolist() == pytest.approx([1, 1, 1])
    common, rare = weights_of(np.array([400, 4]))
    assert rare == pytest.approx(10 * common)
    assert weights_of(np.array([0, 0])).tolist() == [1, 1]


def test_auto_becomes_numbers(tmp_path: Path) -> None:
    spec = read_spec(str(write_toy_dataset(tmp_path, num_train=5, num_val=1, classes=2)))
    index = build_index(spec.train, 2, 0)
    config = resolve_class_weights(TrainConfig(class_weights="auto"), index, 2)
    assert config.class_weights == ",".join(f"{w:.3f}" for w in _by_loops([3, 2]))
    assert config.class_weight_values() == pytest.approx(_by_loops([3, 2]), abs=5e-4)
    assert TrainConfig().class_weight_values() is None


def _resolve(config: TrainConfig) -> Any:
    return resolve(config, WorkDir(Path("x")), Path("data.yaml"), 1, 8)


def test_a_weight_for_each_class() -> None:
    config = TrainConfig(device="cpu", class_weights="2.5")
    settings = _resolve(config)
    run = start_run(ToyNetwork(), settings, make_fabric(settings.ranks, "32"), 4)
    assert run.network.class_weights.tolist() == [2.5]
    assert "class_weights" not in run.network.state_dict()
    with pytest.raises(ConfigError, match=r"^--class-weights holds 2 numbers, .* has 1 classes"):
        _resolve(replace(config, class_weights="1,2"))
    for text in ("1,", "a", "-1", "1;2", "1, 2"):
        with pytest.raises(ConfigError, match=r"^--class-weights is none, auto or a number"):
            TrainConfig(class_weights=text)
