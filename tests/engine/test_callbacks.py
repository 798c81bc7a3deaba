"""What callbacks are told, in which order, and what they may do."""

from __future__ import annotations

import csv
import io
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from fit_run import toy_config
from rich.console import Console

import crispmask
from crispmask.config import TrainConfig
from crispmask.engine.callback import (
    Audience,
    Callback,
    EpochEnd,
    StepEnd,
    TrainEnd,
    TrainStart,
    ValidationEnd,
)
from crispmask.engine.checkpoint import load_checkpoint
from crispmask.engine.fit import fit


class Recorder(Callback):
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def on_train_start(self, event: TrainStart) -> None:
        self.events.append(event)

    def on_step(self, event: StepEnd) -> None:
        self.events.append(event)

    def on_validation_end(self, event: ValidationEnd) -> None:
        self.events.append(event)

    def on_epoch_end(self, event: EpochEnd) -> None:
        self.events.append(event)

    def on_note(self, text: str) -> None:
        self.events.append(text)

    def on_train_end(self, event: TrainEnd) -> None:
        self.events.append(event)

    def on_error(self, error: BaseException) -> None:
        self.events.append(error)

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


def _fit(config: TrainConfig, *callbacks: Callback) -> Any:
    return fit(config, Console(file=io.StringIO(), width=100), callbacks=callbacks)


def test_everything_is_told_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    result = _fit(toy_config(tmp_path, monkeypatch, val_interval=2), recorder)
    step, val, epoch = "StepEnd", "ValidationEnd", "EpochEnd"
    assert recorder.kinds() == [
        "TrainStart",
        *[step, step, step, epoch],
        *[step, step, step, val, epoch],
        *[step, step, step, val, epoch],  # the last one is always validated
        "TrainEnd",
    ]
    start, end = recorder.events[0], recorder.events[-1]
    assert (start.epoch, start.step, start.names) == (0, 0, ("square0",))
    assert (len(start.train), len(start.val), start.config.batch) == (6, 3, 2)
    assert start.num_parameters == sum(p.numel() for p in start.network.parameters())
    assert start.work_dir == end.work_dir == result.work_dir
    # 5x5 and 3x3 convolutions at a quarter of 64 pixels, a multiply-add counted as 2
    assert start.flops == 2 * 16 * 16 * (3 * 8 * 25 + 8 * 9)
    steps = [event for event in recorder.events if isinstance(event, StepEnd)]
    assert [event.step for event in steps] == list(range(1, 10))
    assert [event.epoch for event in steps] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    epochs = [event for event in recorder.events if isinstance(event, EpochEnd)]
    assert [event.row["epoch"] for event in epochs] == [1, 2, 3]
    assert ["mask/mAP50-95" in event.row for event in epochs] == [False, True, True]
    assert epochs[-1].seconds_left == 0
    assert 0 <= epochs[0].row["seconds/data"] <= epochs[0].row["seconds/train"]
    assert (end.reason, end.epoch, end.metrics) == ("finished", 3, result.metrics)
    assert end.best_path == result.best_path


@pytest.mark.parametrize("when", ["on_step", "on_validation_end", "on_epoch_end"])
def test_a_callback_can_stop_the_run(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopper(Callback):
        def stop_in_second(self, event: Any) -> None:
            if event.epoch == 2:
                event.stop("good enough")

    setattr(Stopper, when, Stopper.stop_in_second)
    recorder = Recorder()
    result = _fit(toy_config(tmp_path, monkeypatch, epochs=5, val_interval=3), Stopper(), recorder)
    end = recorder.events[-1]
    validated = [e.epoch for e in recorder.events if isinstance(e, ValidationEnd)]
    if when == "on_validation_end":  # there is none in the second epoch
        assert (end.reason, end.epoch, validated) == ("finished", 5, [3, 5])
        return
    assert (end.reason, end.epoch) == ("good enough", 2)
    assert "good enough: stopping early" in recorder.events
    assert (result.work_dir / "metrics.json").is_file()
    # Cut short after the next batch, and validated as any last epoch; stopped later, the run
    # is validated after it.
    assert end.step == (5 if when == "on_step" else 6)
    assert load_checkpoint(result.best_path)["epoch"] == 2
    assert validated == ([2] if when == "on_step" else [])


def test_a_run_stopped_between_validations_is_validated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopper(Callback):
        def on_epoch_end(self, event: EpochEnd) -> None:
            if event.epoch == 3:
                event.stop()

    result = _fit(toy_config(tmp_path, monkeypatch, epochs=5, val_interval=2), Stopper())
    with (result.work_dir / "results.csv").open(newline="") as file:
        reached = [row["mask/mAP50-95"] for row in csv.DictReader(file)]
    assert [bool(text) for text in reached] == [False, True, True]
    last = load_checkpoint(result.work_dir / "weights" / "last.pt")
    assert last["metrics"]["mask/mAP50-95"] == pytest.approx(float(reached[2]), abs=1e-6)
    assert last["training"]["validated"] == 3
    assert last["training"]["best_map"] == result.best_map
    assert result.best_map == pytest.approx(max(map(float, reached[1:])), abs=1e-6)


def test_patience_waits_for_the_next_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    # Nothing is learnt: each validation is as good as the best before it.
    config = toy_config(tmp_path, monkeypatch, epochs=5, val_interval=2, patience=1, lr=1e-9)
    _fit(config, recorder)
    end = recorder.events[-1]
    assert (end.reason, end.epoch) == ("finished", 5)


@pytest.mark.parametrize("when", ["on_train_start", "on_step", "on_epoch_end", "on_train_end"])
def test_errors_of_a_callback_end_the_run(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Callback):
        def fail(self, event: Any) -> None:
            raise ZeroDivisionError(when)

    setattr(Broken, when, Broken.fail)
    recorder = Recorder()
    config = toy_config(tmp_path, monkeypatch, epochs=1)
    with pytest.raises(ZeroDivisionError, match=when):
        _fit(config, Broken(), recorder)
    assert isinstance(recorder.events[-1], ZeroDivisionError)
    if when == "on_epoch_end":  # told after the state was saved
        assert load_checkpoint(tmp_path / "run/weights/last.pt")["epoch"] == 1


def test_wrong_flags_are_told_as_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    with pytest.raises(crispmask.errors.ConfigError):
        _fit(toy_config(tmp_path, monkeypatch, device="nonsense"), recorder)
    assert recorder.kinds() == ["ConfigError"]


def test_an_audience_hears_everything() -> None:
    names = [name for name in vars(Callback) if name.startswith("on_")]
    assert {name for name in vars(Audience) if name.startswith("on_")} == set(names)
    first, second = Recorder(), Recorder()
    for number, name in enumerate(names):
        getattr(Audience((first, second)), name)(number)
    assert first.events == second.events == list(range(len(names)))


def test_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = toy_config(tmp_path, monkeypatch)
    settings = {f.name: getattr(config, f.name) for f in fields(config)}
    settings |= {"epochs": 1, "quiet": True}
    recorder = Recorder()
    assert isinstance(recorder, crispmask.Callback)
    crispmask.train(callbacks=[recorder], **settings)
    assert recorder.kinds()[-1] == "TrainEnd"
