"""Whole runs of two real processes."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from rich.console import Console
from toy_dataset import write_toy_dataset

import crispmask
from crispmask.config import AugmentConfig, TrainConfig
from crispmask.data.loader import TrainSampler
from crispmask.engine.callback import Callback, StepEnd, TrainStart
from crispmask.engine.checkpoint import load_checkpoint
from crispmask.engine.fit import fit
from crispmask.errors import RankError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes"),
]


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """SOLOv2 from a checkpoint: its norms do not depend on the share of a batch."""
    data = write_toy_dataset(tmp_path / "data", num_train=8, num_val=5, size=64, classes=2)
    image = tmp_path / "data/images/val/001.png"
    cv2.imwrite(str(image), cv2.resize(cv2.imread(str(image)), (40, 90)))
    torch.manual_seed(0)
    model = crispmask.build("solov2", "nano", num_classes=2, weights=None)
    torch.nn.init.constant_(model.network.grid_branches.class_logits.bias, -0.5)  # finds something
    model.save(tmp_path / "start.pt")
    return TrainConfig(
        data=str(data),
        weights=str(tmp_path / "start.pt"),
        epochs=1,
        batch=4,
        imgsz=64,
        grids="8,6,4,3,2",
        work_dir=str(tmp_path / "run"),
        device="cpu",
        workers=0,
        deterministic=True,
        augment=AugmentConfig(mosaic=0.0),
    )


def _fit(config: TrainConfig, **options: Any) -> str:
    out = io.StringIO()
    fit(config, Console(file=out, width=200), **options)
    return out.getvalue()


def _words(config: TrainConfig, *more: str) -> list[str]:
    names = ("data", "weights", "epochs", "batch", "imgsz", "grids", "work_dir", "workers")
    flags = [f"--{name.replace('_', '-')}={getattr(config, name)}" for name in names]
    return ["train", *flags, "--device=cpu", "--mosaic=0", *more]


def _children(pid: int) -> list[int]:
    """The processes that one has started and that run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = status.read_text().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(status.parent.name))
    return found


def _wait(condition: Callable[[], Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _rows(run: Path) -> int:
    path = run / "results.csv"
    return len(path.read_text().splitlines()) - 1 if path.is_file() else 0


def test_metrics_of_two_processes_are_those_of_one(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Convolutions of another number of threads add in another order on some processors.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    config = replace(config, lr=1e-30)  # too little to change a weight
    script = tmp_path / "script.py"  # without a main guard
    script.write_text(
        "import sys, crispmask\nfrom crispmask.config import TrainConfig\n"
        "from crispmask.engine.fit import fit\n"
        f"result = fit({replace(config, work_dir=str(tmp_path / 'two'), processes=2)!r})\n"
        "print('finished', result.best_map)\n".replace(
            "import TrainConfig", "import AugmentConfig, TrainConfig"
        )
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("finished") == 1
    assert "2 processes" in done.stdout
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _fit(config)
    finally:
        torch.set_num_threads(threads)
    for name in ("predictions.json", "metrics.json"):
        one, two = ((tmp_path / run / name).read_bytes() for run in ("run", "two"))
        assert one == two, name
    assert len(one) > 100
    assert len((tmp_path / "run/predictions.json").read_bytes()) > 1000
    files = [
        {
            path.relative_to(tmp_path / run).as_posix()
            for path in (tmp_path / run).rglob("*")
            if "tfevents" not in path.name
        }
        for run in ("run", "two")
    ]
    assert files[0] == files[1]
    assert len(list((tmp_path / "two").glob("events.out*"))) == 1
    curves = [
        [row.split(",")[1:4] for row in (tmp_path / run / "results.csv").read_text().splitlines()]
        for run in ("run", "two")
    ]
    for a, b in zip(curves[0][1], curves[1][1], strict=True):
        assert float(a) == pytest.approx(float(b), rel=1e-4)


class _Interrupt(Callback):
    def on_step(self, event: StepEnd) -> None:
        if event.epoch == 2:
            raise KeyboardInterrupt


def test_a_resumed_run_of_two_processes_equals_a_straight_one(
    config: TrainConfig, tmp_path: Path
) -> None:
    config = replace(config, epochs=2, processes=2, lr=0.01)
    _fit(config)
    with pytest.raises(KeyboardInterrupt):
        _fit(replace(config, work_dir=str(tmp_path / "b")), callbacks=[_Interrupt()])
    assert _children(os.getpid()) == []
    text = _fit(TrainConfig(resume=str(tmp_path / "b")))
    assert "continued after epoch 1\n" in text
    a, b = (load_checkpoint(tmp_path / run / "weights/last.pt") for run in ("run", "b"))
    for key in ("weights", "optimizer", "rng"):
        assert str(a["training"][key]) == str(b["training"][key])
    for name, value in a["training"]["weights"].items():
        assert torch.equal(value, b["training"]["weights"][name]), name
    for name, value in a["state_dict"].items():
        assert torch.equal(value, b["state_dict"][name]), name


def test_a_run_goes_on_with_another_number_of_processes(
    config: TrainConfig, tmp_path: Path
) -> None:
    config = replace(config, epochs=2, processes=2, lr=0.01)
    with pytest.raises(KeyboardInterrupt):
        _fit(config, callbacks=[_Interrupt()])
    text = _fit(TrainConfig(resume=str(tmp_path / "run"), processes=1, device="cpu"))
    assert "continued after epoch 1, with 1 processes after 2: the images and" in text
    assert _rows(tmp_path / "run") == 2


class _Damage(Callback):
    """Damages an image that has already been found whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, event: TrainStart) -> None:
        data = self.path.read_bytes()
        self.path.write_bytes(data[: len(data) // 2])


def test_the_error_of_another_process_is_told(config: TrainConfig, tmp_path: Path) -> None:
    order = next(iter(TrainSampler(8, 0, 4, rank=1, world_size=2)))
    image = tmp_path / f"data/images/train/{order[0].position:03}.png"
    start = time.monotonic()
    with pytest.raises(RankError, match=rf"{image.name}.*\[rank 1\]; .*last\.pt is whole"):
        _fit(replace(config, processes=2, strict=True), callbacks=[_Damage(image)])
    assert time.monotonic() - start < 300
    assert not torch.distributed.is_initialized()
    assert load_checkpoint(tmp_path / "run/weights/last.pt")["epoch"] == 0


def test_a_process_that_is_killed_stops_the_others(config: TrainConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"

    def start(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "crispmask", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    process = start(*_words(replace(config, epochs=200), "--processes=2"))
    _wait(lambda: _rows(run) >= 1 or process.poll() is not None, 300)
    (child,) = _children(process.pid)
    os.kill(child, signal.SIGKILL)
    killed = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - killed < 45
    assert process.returncode == 2
    assert errors.count("\n") == 1
    assert "error: the process of rank 1 was killed by signal 9" in errors
    assert f"continue with --resume {run}" in errors
    epoch = load_checkpoint(run / "weights/last.pt")["epoch"]
    assert epoch >= 1

    process = start("train", "--resume", str(run))
    rows = _rows(run)
    _wait(lambda: _rows(run) > rows or process.poll() is not None, 300)
    (child,) = _children(process.pid)
    process.kill()
    process.communicate()
    _wait(lambda: not Path(f"/proc/{child}").exists(), 30)
    # It is killed between the row of an epoch and its checkpoint, or after both.
    assert load_checkpoint(run / "weights/last.pt")["epoch"] >= epoch


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.parametrize("starter", ["torchrun", "slurm", "machines"])
def test_ranks_of_torchrun_slurm_and_machines(
    starter: str, config: TrainConfig, tmp_path: Path
) -> None:
    config = replace(config, workers=1)
    port = str(_free_port())
    own = [sys.executable, "-m", "crispmask"]
    if starter == "torchrun":
        launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
        starts = [([sys.executable, *launcher, "-m", "crispmask", *_words(config)], {})]
    elif starter == "slurm":
        job = {"SLURM_NTASKS": "2", "SLURM_NNODES": "1", "SLURM_NTASKS_PER_NODE": "2"}
        job |= {"SLURM_JOB_NAME": "x", "SLURM_NODEID": "0", "MASTER_PORT": port}
        job |= {"SLURM_NODELIST": "127.0.0.1", "SLURM_JOB_ID": "1"}
        tasks = [{**job, "SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)} for i in (0, 1)]
        starts = [([*own, *_words(config)], task) for task in tasks]
    else:
        nodes = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        words = [*own, *_words(config, "--num-nodes=2")]
        starts = [(words, {**nodes, "NODE_RANK": str(i)}) for i in (0, 1)]
    processes = [
        subprocess.Popen(
            words,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for words, variables in starts
    ]
    texts = [process.communicate(timeout=400)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), texts
    assert sum(text.count("epoch 1/1") for text in texts) == 1
    assert "2 processes" in texts[0]
    assert (tmp_path / "run/metrics.json").is_file()
