"""Images that break while a run goes on, and processes that die over one."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from toy_dataset import write_toy_dataset
from toy_network import ToyNetwork

from crispmask.config import AugmentConfig, TrainConfig
from crispmask.engine.checkpoint import load_checkpoint
from crispmask.engine.fit import fit
from crispmask.errors import DatasetError


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    monkeypatch.setattr("crispmask.engine.prepare.build_network", lambda spec: ToyNetwork())
    monkeypatch.setattr("crispmask.engine.prepare.plot_labels", lambda *_, **__: None)
    for name in (
        "plot_results",
        "plot_pr_curve",
        "plot_f1_curve",
        "plot_confusion",
        "instances_sheet",
    ):
        monkeypatch.setattr(f"crispmask.engine.report.{name}", lambda *_, **__: None)
    monkeypatch.setattr("crispmask.engine.fit.write_run_page", lambda *_, **__: None)
    return TrainConfig(
        data=str(write_toy_dataset(tmp_path / "data")),
        epochs=3,
        batch=2,
        imgsz=64,
        lr=0.05,
        work_dir=str(tmp_path / "run"),
        weights="none",
        device="cpu",
        workers=0,
        augment=AugmentConfig(mosaic=0.5),
    )


def run(config: TrainConfig) -> list[str]:
    """Trains and returns the lines of the epochs."""
    out = io.StringIO()
    fit(config, Console(file=out, width=200))
    return [line for line in out.getvalue().splitlines() if line.startswith("epoch ")]


def break_before_training(config: TrainConfig, name: str, monkeypatch) -> Path:
    """Lets an image break after its header was read."""
    path = Path(config.data).parent / "images" / name
    original = fit.__globals__["make_loaders"]

    def breaking(*args, **kwargs):
        path.write_bytes(path.read_bytes()[:300])
        return original(*args, **kwargs)

    monkeypatch.setitem(fit.__globals__, "make_loaders", breaking)
    return path


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_image_that_breaks_is_left_out_and_counted(
    config: TrainConfig, split: str, monkeypatch, caplog
) -> None:
    path = break_before_training(config, f"{split}/001.png", monkeypatch)
    lines = run(config)
    assert len(lines) == 3
    assert all(line.endswith("  1 unreadable") for line in lines)
    told = [r.getMessage() for r in caplog.records if str(path) in r.getMessage()]
    assert len(told) == 1
    assert "cannot be read as an image" in told[0]


def test_strict_makes_it_an_error(config: TrainConfig, monkeypatch) -> None:
    path = break_before_training(config, "train/001.png", monkeypatch)
    with pytest.raises(DatasetError) as error:
        run(replace(config, strict=True))
    assert str(error.value).startswith(f"{path}: cannot be read as an image")


def test_an_image_that_was_broken_before_is_left_out_of_the_split(
    config: TrainConfig, caplog
) -> None:
    for name in ("train/002.png", "val/000.png"):
        path = Path(config.data).parent / "images" / name
        path.write_bytes(path.read_bytes()[:300])
    lines = run(config)
    assert all(line.endswith("  2 unreadable") for line in lines)
    assert sum("it is left out" in record.getMessage() for record in caplog.records) == 2
    with pytest.raises(DatasetError, match=r"val/000\.png|train/002\.png"):
        run(replace(config, strict=True))


def test_wrong_labels_stay_an_error(config: TrainConfig) -> None:
    image = Path(config.data).parent / "images/train/002.png"
    image.write_bytes(b"")
    label = Path(config.data).parent / "labels/train/001.txt"
    label.write_text("7 0.1 0.1 0.2 0.1 0.2 0.2\n")
    with pytest.raises(DatasetError, match=r"labels/train/001\.txt"):
        run(config)


def test_a_folder_that_is_gone_ends_the_run(config: TrainConfig, monkeypatch) -> None:
    original = fit.__globals__["make_loaders"]
    folder = Path(config.data).parent / "images/train"

    def removing(*args, **kwargs):
        folder.rename(folder.with_name("elsewhere"))
        return original(*args, **kwargs)

    monkeypatch.setitem(fit.__globals__, "make_loaders", removing)
    with pytest.raises(DatasetError, match="no such image"):
        run(config)


def test_the_cache_changes_nothing(config: TrainConfig, tmp_path: Path) -> None:
    weights = []
    for mode in ("none", "ram", "disk"):
        run(replace(config, cache=mode, work_dir=str(tmp_path / mode)))
        content = load_checkpoint(tmp_path / mode / "weights/last.pt")
        weights.append(content["training"]["weights"])
    for other in weights[1:]:
        assert all((other[name] == value).all() for name, value in weights[0].items())


DYING = """
import os, signal, sys
from pathlib import Path
import crispmask.data.dataset as dataset
from toy_network import ToyNetwork
import crispmask.engine.prepare as prepare
from crispmask.cli import main

prepare.build_network = lambda spec: ToyNetwork()
load = dataset.load_sample
last = Path(sys.argv[2], "weights/last.pt")
owner = os.getpid()

def deadly(index, i, *args):
    # Once the first epoch is saved, so that there is something to lose.
    if os.getpid() != owner and index.path(i).name == "003.png" and Path(sys.argv[4]).exists():
        os.kill(os.getpid(), getattr(signal, sys.argv[3]))
    return load(index, i, *args)

dataset.load_sample = deadly
save = prepare.load_annotations
import crispmask.engine.epochs as fit
original = fit._save_last

def saving(run, job, metrics):
    original(run, job, metrics)
    if run.epoch == 1:
        Path(sys.argv[4]).write_bytes(last.read_bytes())

fit._save_last = saving
sys.exit(main(["train", "--data", sys.argv[1], "--work-dir", sys.argv[2], "--epochs", "50",
    "--batch", "2", "--imgsz", "64", "--weights", "none", "--device", "cpu", "--workers", "2",
    "--lr", "0.05"]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
def test_a_process_that_dies_is_told_with_its_file(tmp_path: Path, name: str) -> None:
    data = write_toy_dataset(tmp_path / "data", num_train=8)
    script, kept = tmp_path / "dying.py", tmp_path / "kept.pt"
    script.write_text(DYING)
    words = [sys.executable, str(script), str(data), str(tmp_path / "run"), name, str(kept)]
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ":".join(paths)},
        timeout=240,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.replace("\0", "").splitlines()  # torch's own words end with one
    (line,) = [line.strip() for line in lines if line.strip().startswith("error: ")]
    assert f"{tmp_path}/data/images/train/003.png: a loading process" in line
    assert name in line
    assert "Traceback" not in done.stderr
    last = tmp_path / "run/weights/last.pt"
    assert load_checkpoint(last)["epoch"] >= 1
    assert time.time() - kept.stat().st_mtime < 60  # nobody waits for the dead


def test_images_of_a_phone_are_one_line_with_what_to_do(config: TrainConfig, caplog) -> None:
    images = Path(config.data).parent / "images/train"
    for name in ("x.heic", "y.HEIC", "z.jpg"):  # the last one as some programs save it
        (images / name).write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(64))
    run(replace(config, epochs=1))
    (told,) = [r.getMessage() for r in caplog.records if "HEIF" in r.getMessage()]
    assert told.startswith(str(images / "x.heic"))
    assert "cannot read HEIF; install pillow-heif or convert it to JPEG and 2 more" in told
