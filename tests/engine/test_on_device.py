"""Training whose images are changed by the device that holds them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
import torch
from fit_run import toy_config
from rich.console import Console
from toy_dataset import write_toy_dataset

from crispmask.config import TrainConfig
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec
from crispmask.engine import on_device
from crispmask.engine.fit import fit
from crispmask.engine.on_device import keep_on_device
from crispmask.engine.prepare import Data
from crispmask.errors import ConfigError

CPU = torch.device("cpu")


def losses(folder: Path) -> list[float]:
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return [float(row["train/total"]) for row in csv.DictReader(file)]


def test_a_run_is_close_to_one_whose_workers_paint(tmp_path: Path, monkeypatch) -> None:
    config = toy_config(tmp_path, monkeypatch)
    usual = fit(config, Console(quiet=True))
    out = io.StringIO()
    painted = fit(
        TrainConfig(
            **{**vars(config), "augment_device": "cpu", "work_dir": str(tmp_path / "painted")}
        ),
        Console(file=out, width=200),
    )
    assert "augment   train: 6 images take 0 MiB of cpu" in out.getvalue()
    first, second = losses(usual.work_dir), losses(painted.work_dir)
    assert len(first) == 3
    assert second == pytest.approx(first, rel=0.02)
    assert first != second  # pixels are rounded otherwise
    assert "augment_device: cpu" in (painted.work_dir / "config.yaml").read_text()


@pytest.fixture
def data(tmp_path: Path) -> Data:
    spec = read_spec(write_toy_dataset(tmp_path / "data"))
    index = build_index(spec.train, 1)
    return Data(spec, index, index, {})


def test_the_images_are_on_the_device(data: Data) -> None:
    quiet = Console(quiet=True)
    assert keep_on_device("none", CPU, data, 64, quiet) is None
    images = keep_on_device("cpu", CPU, data, 64, quiet)
    assert images is not None
    assert len(images.pixels) == 6 * 64 * 51 * 3  # 80 x 64 pixels, fitted into 64
    assert not images.problems


def test_images_that_do_not_fit_are_told_with_a_remedy(data: Data, monkeypatch) -> None:
    monkeypatch.setattr(on_device, "free_memory", lambda: 60_000)
    with pytest.raises(ConfigError, match=r"^--augment-device cpu: 6 images .*--cache ram") as told:
        keep_on_device("cpu", CPU, data, 64, Console(quiet=True))
    assert "\n" not in str(told.value)


def test_cuda_needs_a_run_on_a_gpu(data: Data) -> None:
    with pytest.raises(ConfigError, match="--augment-device cuda needs a GPU"):
        keep_on_device("cuda", CPU, data, 64, Console(quiet=True))


def test_what_excludes_it(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(ConfigError, match="--augment-device cpu keeps images of one size"):
        TrainConfig(augment_device="cpu", multi_scale=0.5)
    with pytest.raises(ConfigError, match="--batch probe"):
        TrainConfig(augment_device="cuda", batch="probe")
    config = toy_config(tmp_path, monkeypatch, augment_device="cpu")
    with pytest.raises(ConfigError, match="--augment-device cpu changes pixels without"):
        fit(config, Console(quiet=True), transform=lambda image, rng: image)


def test_images_are_not_kept_in_memory_twice() -> None:
    assert TrainConfig(cache="ram", augment_device="cpu").train_cache() == "none"
    assert TrainConfig(cache="disk", augment_device="cpu").train_cache() == "disk"
    assert TrainConfig(cache="ram").train_cache() == "ram"
