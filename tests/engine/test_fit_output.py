"""A disk that fills up, or a folder that becomes read-only, in the middle of a run."""

from __future__ import annotations

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from toy_dataset import write_toy_dataset
from toy_network import ToyNetwork

from crispmask.config import AugmentConfig, TrainConfig
from crispmask.engine.callback import Callback, EpochEnd
from crispmask.engine.checkpoint import load_checkpoint
from crispmask.engine.fit import fit
from crispmask.errors import OutputError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="limits and users of POSIX"),
]

NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can enter, too; those of pytest are closed to them."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    monkeypatch.setattr("crispmask.engine.prepare.build_network", lambda spec: ToyNetwork())
    monkeypatch.setattr("crispmask.engine.prepare.plot_labels", lambda *_, **__: None)
    for name in ("plot_results", "plot_pr_curve", "plot_confusion", "instances_sheet"):
        monkeypatch.setattr(f"crispmask.engine.report.{name}", lambda *_, **__: None)
    return TrainConfig(
        data=str(write_toy_dataset(folder / "data")),
        epochs=3,
        batch=2,
        imgsz=64,
        lr=0.05,
        work_dir=str(folder / "run"),
        weights="none",
        device="cpu",
        workers=0,
        augment=AugmentConfig(mosaic=0.0),
    )


@contextmanager
def _full_disk(run: Path) -> Iterator[Callable[[], None]]:
    """No file may become larger than what was written last."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        size = (run / "weights/last.pt").stat().st_size // 2
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    try:
        yield fill
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def _read_only(run: Path) -> Iterator[Callable[[], None]]:
    """The folder of the checkpoints may not be written to; root has to be somebody else."""
    user = os.geteuid()

    def lock() -> None:
        run.chmod(0o777)
        for path in run.iterdir():
            path.chmod(0o777 if path.is_dir() else 0o666)
        (run / "weights").chmod(0o555)
        if user == 0:
            os.seteuid(NOBODY)

    try:
        yield lock
    finally:
        if user == 0:
            os.seteuid(0)
        (run / "weights").chmod(0o755)


class _After(Callback):
    def __init__(self, epoch: int, function: Callable[[], None]) -> None:
        self.epoch = epoch
        self.function = function

    def on_epoch_end(self, event: EpochEnd) -> None:
        if event.epoch == self.epoch:
            self.function()


@pytest.mark.parametrize("trouble", [_full_disk, _read_only])
def test_costs_the_epoch_in_progress(
    trouble: Callable[[Path], contextmanager[Callable[[], None]]], config: TrainConfig
) -> None:
    run = Path(config.work_dir)
    with (
        trouble(run) as begin,
        pytest.raises(OutputError, match=r"weights/\w+\.pt: cannot be written .*; free some space"),
    ):
        fit(config, Console(file=io.StringIO()), callbacks=[_After(1, begin)])
    assert load_checkpoint(run / "weights/last.pt")["epoch"] == 1
    # Where it was written just before, it is that of the epoch in progress.
    assert load_checkpoint(run / "weights/best.pt")["epoch"] in (1, 2)
    assert list(run.rglob(".*.partial")) == []

    fit(TrainConfig(resume=str(run)), Console(file=io.StringIO()))
    with (run / "results.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    straight = fit(replace(config, work_dir=f"{run}_straight"), Console(file=io.StringIO()))
    resumed = load_checkpoint(run / "weights/last.pt")["state_dict"]
    expected = load_checkpoint(straight.work_dir / "weights/last.pt")["state_dict"]
    assert all(value.equal(resumed[name]) for name, value in expected.items())
