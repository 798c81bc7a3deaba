"""TensorBoard events, read back; W&B and MLflow, in place of which fakes listen."""

from __future__ import annotations

import io
import json
import sys
import types
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fit_run import toy_config
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import crispmask
from crispmask.config import TrainConfig
from crispmask.engine.fit import fit
from crispmask.engine.log import COLUMNS
from crispmask.engine.loggers.pictures import is_time_for_pictures
from crispmask.engine.loggers.settings import flat_settings
from crispmask.engine.loggers.tensorboard import THRESHOLDS, curve_by_threshold
from crispmask.errors import ConfigError


def _events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0}).Reload()


def test_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = fit(toy_config(tmp_path, monkeypatch, epochs=2), Console(file=io.StringIO()))
    events = _events(result.work_dir)
    tags = events.Tags()
    wanted = set(COLUMNS) - {"epoch", "train/box"} | {"step/total", "step/lr", "step/norm"}
    assert set(tags["scalars"]) == wanted
    assert [e.step for e in events.Scalars("train/total")] == [3, 6]
    assert [e.step for e in events.Scalars("step/total")] == [1, 2, 3, 4, 5, 6]

    assert set(tags["images"]) == {f"labels and predictions/{n}" for n in (1, 2, 3)}
    shown = events.Images("labels and predictions/1")
    assert [image.step for image in shown] == [3, 6]
    data = np.frombuffer(shown[0].encoded_image_string, dtype=np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert picture.shape == (64, 80 + 8 + 80, 3)  # twice, beside each other

    assert "mask IoU 0.50/square0" in tags["tensors"]
    curve = events.Tensors("mask IoU 0.50/square0")[-1]
    assert [d.size for d in curve.tensor_proto.tensor_shape.dim] == [6, THRESHOLDS]
    plugins = events.summary_metadata
    session = plugins["_hparams_/session_start_info"].plugin_data.content
    assert b"class_weights" in session
    assert b"augment.mosaic" in session


def test_when_pictures_are_shown() -> None:
    assert [e for e in range(1, 151) if is_time_for_pictures(e, 150)] == list(range(15, 151, 15))
    assert [e for e in range(1, 4) if is_time_for_pictures(e, 3)] == [1, 2, 3]
    assert is_time_for_pictures(7, 7)


def test_settings_are_flat() -> None:
    values = {"lr": 0.1, "on": True, "name": "x", "none": None, "augment": {"mosaic": 1}}
    flat: dict[str, Any] = {"lr": 0.1, "on": True, "name": "x", "none": "None"}
    assert flat_settings(values) == {**flat, "augment.mosaic": 1}


def test_curve_by_threshold_by_loops() -> None:
    """Four instances; detections (score, right) in order: the counts above each threshold."""
    found = [(0.9, True), (0.8, True), (0.6, False), (0.4, True), (0.2, False)]
    right = wrong = 0
    precision, scores = np.zeros(101), np.zeros(101)
    for score, hit in found:
        right, wrong = right + hit, wrong + (not hit)
        if hit:  # COCO's curve has a point where recall rises
            for level in range(101):
                if level / 100 <= right / 4 and scores[level] == 0:
                    precision[level], scores[level] = right / (right + wrong), score
    tp, fp, tn, fn, p, r = curve_by_threshold(precision, scores, 4)
    for number, threshold in enumerate(np.linspace(0, 1, THRESHOLDS)):
        hits = [hit for score, hit in found if score >= threshold]
        while hits and not hits[-1]:  # between two points of the curve the earlier one counts
            hits.pop()
        assert tp[number] == pytest.approx(sum(hits))
        assert fp[number] == pytest.approx(len(hits) - sum(hits))
        assert fn[number] == pytest.approx(4 - sum(hits))
        assert p[number] == pytest.approx(sum(hits) / len(hits) if hits else 1.0)
        assert r[number] == pytest.approx(sum(hits) / 4)
    assert not tn.any()


class FakeWandb(types.ModuleType):
    """Keeps what wandb would send."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.id, self.name = "abc", ""
        self.inits: list[dict[str, Any]] = []
        self.logged: list[dict[str, Any]] = []
        self.axes: list[tuple[Any, Any]] = []
        self.summary: dict[str, Any] = {}
        self.finished: list[int | None] = []

    def init(self, **options: Any) -> FakeWandb:
        self.inits.append(options)
        return self

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.axes.append((name, step_metric))

    def log(self, values: dict[str, Any]) -> None:
        self.logged.append(values)

    def finish(self, exit_code: int | None = None) -> None:
        self.finished.append(exit_code)

    def Image(self, source: Any, caption: str = "") -> tuple[Any, str]:  # noqa: N802 - as theirs
        return source, caption


class FakeMlflow(types.ModuleType):
    """Keeps what MLflow would store."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.info = types.SimpleNamespace(run_id="r1")
        self.starts: list[dict[str, Any]] = []
        self.params: dict[str, Any] = {}
        self.metrics: list[tuple[dict[str, float], int]] = []
        self.artifacts: list[str] = []
        self.ended: list[str] = []

    def start_run(self, **options: Any) -> FakeMlflow:
        self.starts.append(options)
        return self

    def log_params(self, params: dict[str, Any]) -> None:
        self.params |= params

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.metrics.append((metrics, step))

    def log_artifact(self, path: str) -> None:
        self.artifacts.append(Path(path).name)

    def end_run(self, status: str = "FINISHED") -> None:
        self.ended.append(status)


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    config = toy_config(tmp_path, monkeypatch, epochs=5, logger="wandb")
    result = fit(config, Console(file=io.StringIO()))
    (init,) = wandb.inits
    assert (init["id"], init["name"], init["dir"]) == (None, "run", str(result.work_dir))
    assert init["config"]["augment"]["mosaic"] == 0.5
    assert wandb.axes == [("step", None), ("*", "step")]
    epochs = [row for row in wandb.logged if "train/total" in row]
    assert [(row["epoch"], row["step"]) for row in epochs] == [(n, 3 * n) for n in range(1, 6)]
    assert [row["step"] for row in wandb.logged if "step/total" in row] == [10]
    pictures = [row["labels and predictions"] for row in wandb.logged if len(row) == 2]
    assert [len(p) for p in pictures] == [3] * 5
    assert pictures[0][0][1] == "000.png"
    assert wandb.summary["best/mask/mAP50-95"] == result.best_map
    assert wandb.finished == [None]
    assert json.loads((result.work_dir / "loggers.json").read_text()) == {"wandb": "abc"}


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = FakeMlflow()
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    config = toy_config(tmp_path, monkeypatch, epochs=5, logger="mlflow")
    result = fit(config, Console(file=io.StringIO()))
    assert mlflow.starts == [{"run_id": None, "run_name": "run"}]
    assert mlflow.params["augment.mosaic"] == 0.5
    assert mlflow.params["batch"] == 2
    rows = [(row, step) for row, step in mlflow.metrics if "train/total" in row]
    assert [step for _, step in rows] == [3, 6, 9, 12, 15]
    assert all(isinstance(value, float) for row, _ in rows for value in row.values())
    assert mlflow.metrics[-1][0]["best/mask/mAP50-95"] == result.best_map
    assert {"config.yaml", "results.csv", "metrics.json", "best.pt"} <= set(mlflow.artifacts)
    assert mlflow.ended == ["FINISHED"]


def test_a_run_that_is_continued_stays_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb, mlflow = FakeWandb(), FakeMlflow()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)

    class Interrupt(crispmask.Callback):
        def on_epoch_end(self, event: Any) -> None:
            raise KeyboardInterrupt

    config = toy_config(tmp_path, monkeypatch, epochs=2, logger="wandb,mlflow")
    with pytest.raises(KeyboardInterrupt):
        fit(config, Console(file=io.StringIO()), callbacks=[Interrupt()])
    assert (wandb.finished, mlflow.ended) == ([1], ["KILLED"])
    fit(TrainConfig(resume=str(tmp_path / "run")), Console(file=io.StringIO()))
    assert (wandb.inits[1]["id"], wandb.inits[1]["resume"]) == ("abc", "allow")
    assert mlflow.starts[1] == {"run_id": "r1", "run_name": None}
    assert (wandb.finished, mlflow.ended) == ([1, None], ["KILLED", "FINISHED"])
    # The last step before the interruption was saved: it stays, the next one follows.
    events = _events(tmp_path / "run")
    # Files of one second are read in any order.
    assert sorted(e.step for e in events.Scalars("train/total")) == [3, 6]
    assert sorted(e.step for e in events.Images("labels and predictions/1")) == [3, 6]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_that_is_not_installed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    config = toy_config(tmp_path, monkeypatch, logger=name)
    wanted = f"^--logger {name} needs {name}, which is not installed: pip install {name}$"
    with pytest.raises(ConfigError, match=wanted):
        fit(config, Console(file=io.StringIO()))
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match=r"^--logger is none, wandb, mlflow"):
        TrainConfig(logger="tensorboard")
