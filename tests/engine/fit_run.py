"""A configuration of a run that takes a fraction of a second, on the toy network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy_dataset import write_toy_dataset
from toy_network import ToyNetwork

from crispmask.config import AugmentConfig, TrainConfig


def toy_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> TrainConfig:
    """Six images in three batches an epoch; nothing is drawn."""
    monkeypatch.setattr("crispmask.engine.prepare.build_network", lambda spec: ToyNetwork())
    monkeypatch.setattr("crispmask.engine.prepare.plot_labels", lambda *_, **__: None)
    for name in ("plot_results", "plot_pr_curve", "plot_confusion", "instances_sheet"):
        monkeypatch.setattr(f"crispmask.engine.report.{name}", lambda *_, **__: None)
    monkeypatch.setattr("crispmask.engine.report.batch_sheet", lambda *_, **__: None)
    monkeypatch.setattr("crispmask.engine.fit.write_run_page", lambda *_, **__: None)
    settings = {
        "data": str(write_toy_dataset(tmp_path / "data")),
        "epochs": 3,
        "batch": 2,
        "imgsz": 64,
        "lr": 0.05,
        "work_dir": str(tmp_path / "run"),
        "weights": "none",
        "device": "cpu",
        "workers": 0,
        "augment": AugmentConfig(mosaic=0.5, degrees=10.0),
    }
    return TrainConfig(**{**settings, **changes})
