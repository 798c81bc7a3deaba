"""Runs that may take so many hours."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fit_run import toy_config
from rich.console import Console

from crispmask.config import TrainConfig
from crispmask.engine import epochs as epochs_module
from crispmask.engine.checkpoint import load_checkpoint
from crispmask.engine.clock import Clock, until
from crispmask.engine.fit import fit
from crispmask.errors import ConfigError


class Time:
    """A time that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_epochs_that_fit() -> None:
    now = Time()
    clock = Clock(1.0, seconds=0.0, epoch=0, now=now)
    now.seconds += 100  # an epoch, not yet validated
    assert clock.num_epochs(1) == 36
    assert clock.left(1, 36) == 3500
    clock.val_seconds = 20.0
    now.seconds += 20 + 100
    # 3600 - 220 - 20 are left, epochs take (220 + 20) / 2
    assert clock.num_epochs(2) == 2 + 28
    now.seconds += 3300
    assert clock.num_epochs(20) == 20
    assert not clock.is_over()
    now.seconds += 60
    assert clock.is_over()  # 20 seconds are for the validation
    assert clock.left(20, 30) == 20


def test_a_run_that_goes_on_has_what_was_left() -> None:
    now = Time()
    clock = Clock(1.0, seconds=3000.0, epoch=10, now=now)
    now.seconds += 100
    assert clock.used() == 3100
    assert clock.num_epochs(11) == 11 + 5


def test_no_limit() -> None:
    now = Time()
    clock = Clock(0.0, seconds=0.0, epoch=0, now=now)
    now.seconds += 1e6
    assert not clock.is_over()
    assert clock.left(1, 3) == 2e6


def test_until_yields_at_least_one() -> None:
    assert list(until(range(5), lambda: True)) == [0]
    assert list(until(range(5), lambda: False)) == [0, 1, 2, 3, 4]
    assert list(until([], lambda: True)) == []


def _timed_fit(config: TrainConfig, per_step: float, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Trains while a clock says that a step takes so many seconds, and nothing else any."""
    now = Time()
    original = epochs_module.train_epoch

    def slow(run: Any, batches: Any, on_step: Any) -> Any:
        def step(*words: Any) -> None:
            now.seconds += per_step
            on_step(*words)

        return original(run, batches, step)

    out = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(epochs_module, "train_epoch", slow)
        patch.setattr(
            "crispmask.engine.fit.Clock", lambda h, s, e: Clock(h, seconds=s, epoch=e, now=now)
        )
        result = fit(config, Console(file=out, width=100))
    return result, out.getvalue()


def test_training_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Three steps of 10 s an epoch in 165 s.
    config = toy_config(tmp_path, monkeypatch, epochs=150, time=165 / 3600)
    result, text = _timed_fit(config, 10.0, monkeypatch)
    assert "an epoch takes 00:30, so there will be about 5" in text
    assert "epoch 5/5" in text
    assert "training  0.0458333 hours" in text
    last = load_checkpoint(result.work_dir / "weights" / "last.pt")
    assert (last["epoch"], last["training"]["epochs"]) == (5, 5)
    assert last["training"]["seconds"] == 150
    # The last step is made at the final rate of a run of five epochs.
    lr = last["training"]["optimizer"]["param_groups"][0]["lr"]
    assert lr == pytest.approx(0.05 * 0.017)
    with pytest.raises(ConfigError, match="finished its 5 epochs"):
        fit(TrainConfig(resume=str(result.work_dir)))


def test_a_first_epoch_that_takes_too_long_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = toy_config(tmp_path, monkeypatch, time=15 / 3600, batch=1)
    result, _ = _timed_fit(config, 10.0, monkeypatch)
    last = load_checkpoint(result.work_dir / "weights" / "last.pt")
    assert (last["epoch"], last["training"]["step"]) == (1, 3)  # of 6
    assert (result.work_dir / "metrics.json").is_file()


def test_an_interrupted_run_keeps_to_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = toy_config(tmp_path, monkeypatch, epochs=150, time=165 / 3600)
    original = epochs_module.train_epoch

    def interrupted(run: Any, batches: Any, on_step: Any) -> Any:
        if run.epoch == 2:
            raise KeyboardInterrupt
        return original(run, batches, on_step)

    with monkeypatch.context() as patch:
        patch.setattr(epochs_module, "train_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _timed_fit(config, 10.0, patch)
    state = load_checkpoint(tmp_path / "run/weights/last.pt")["training"]
    assert (state["epoch"], state["epochs"], state["seconds"]) == (2, 5, 60)
    resume = replace(TrainConfig(), resume=str(tmp_path / "run"))
    result, text = _timed_fit(resume, 15.0, monkeypatch)  # slower: 105 s are left for 45 each
    assert "epoch 4/4" in text
    assert "so there will be" not in text
    assert load_checkpoint(result.work_dir / "weights" / "last.pt")["training"]["seconds"] == 150


def test_hours_are_not_negative() -> None:
    with pytest.raises(ConfigError, match=r"^--time is a number of hours"):
        TrainConfig(time=-1)
