"""A compiled run: the same numbers, the same files, few programs for many sizes."""

from __future__ import annotations

import functools
import io
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from toy_dataset import write_toy_dataset
from toy_network import ToyNetwork, make_batch

from crispmask.config import AugmentConfig, TrainConfig
from crispmask.engine import epochs as epochs_module
from crispmask.engine.checkpoint import load_checkpoint
from crispmask.engine.compile import compile_network, naming_compile_errors
from crispmask.engine.ema import Ema
from crispmask.engine.fit import fit
from crispmask.errors import ConfigError
from crispmask.models.build import ModelSpec, build_network

CPU = torch.device("cpu")

SMALLEST = [("solov2", "nano"), ("rtmdet-ins", "tiny")]

Programs = list[torch.fx.GraphModule]


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Programs:
    """What is traced, run as it is: compiling to machine code takes minutes."""
    traced: Programs = []

    def keep(program: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        traced.append(program)
        return program.forward

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=keep))
    return traced


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "model"), SMALLEST)
@pytest.mark.parametrize("sizes_vary", [False, True])
def test_few_programs_serve_all_sizes(
    architecture: str, model: str, sizes_vary: bool, programs: Programs
) -> None:
    """And each holds the whole forward pass."""
    spec = ModelSpec(architecture, model, 2, imgsz=128, backbone="test_byobnet")
    network = build_network(spec).train()
    assert compile_network(network, CPU, sizes_vary)
    programs.clear()  # of the trial
    sides = (96, 128, 64, 160, 192) if sizes_vary else (96,)
    for side in sides:
        # The last batch of an epoch is smaller. Not 3: torch would tie that to the 3 colours.
        for num_images in (4, 2):
            images = torch.randint(0, 256, (num_images, 3, side, side), dtype=torch.uint8)
            outputs = network(images)
            assert outputs.mask_features.shape[0] == num_images
    # Of ten shapes: a level of solov2 that is as large as its grid needs no resizing.
    assert len(programs) <= (3 if sizes_vary else 2)
    eager = build_network(spec).train()
    eager.load_state_dict(network.state_dict())
    for ours, theirs in zip(network(images)[0], eager(images)[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_names_stay_and_copies_are_not_compiled(programs: Programs) -> None:
    network = ToyNetwork()
    names = list(network.state_dict())
    assert compile_network(network, CPU, sizes_vary=False)
    programs.clear()
    assert list(network.state_dict()) == names
    ema = Ema(network, 0.9, 10)
    ema.network(make_batch(0).images)
    assert not programs
    network(make_batch(0).images)
    assert len(programs) == 1


def test_where_nothing_can_be_compiled_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_compiler(program: Any, _: Any) -> Any:
        raise RuntimeError("No working C++ compiler found\nand more")

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=no_compiler))
    network = ToyNetwork()
    with caplog.at_level(logging.WARNING):
        assert not compile_network(network, CPU, sizes_vary=False)
    (line,) = caplog.messages
    assert re.match(r"--compile: training goes on without, .*No working C\+\+ compiler", line)
    assert "python3-dev" in line
    assert "\n" not in line
    network(make_batch(0).images)


def test_a_network_that_cannot_be_compiled_is_one_line(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = ToyNetwork()
    assert compile_network(network, CPU, sizes_vary=False)

    def fails(*_: Any) -> Any:
        raise AssertionError("no lowering for this\nand a page of details")

    network.compile(backend=fails)
    with pytest.raises(ConfigError, match="without --compile") as error, naming_compile_errors():
        network(make_batch(0).images)
    assert "no lowering for this" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    def without_dropout(spec: ModelSpec) -> ToyNetwork:  # compiled it draws other numbers
        network = ToyNetwork()
        network.drop.p = 0.0
        return network

    monkeypatch.setattr("crispmask.engine.prepare.build_network", without_dropout)
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
        data=str(write_toy_dataset(tmp_path / "data", num_train=5)),
        epochs=3,
        batch=2,
        imgsz=64,
        lr=0.05,
        work_dir=str(tmp_path / "run"),
        weights="none",
        device="cpu",
        workers=0,
        augment=AugmentConfig(degrees=10.0),
    )


def run(config: TrainConfig) -> tuple[dict[str, Any], list[str]]:
    """The checkpoint a run leaves, and its rows of losses."""
    result = fit(config, Console(file=io.StringIO()))
    rows = (result.work_dir / "results.csv").read_text().splitlines()
    return load_checkpoint(result.work_dir / "weights" / "last.pt"), rows


@pytest.mark.slow
@pytest.mark.parametrize("multi_scale", [0.0, 0.5])
def test_a_compiled_run_equals_an_eager_one(
    multi_scale: float, config: TrainConfig, tmp_path: Path
) -> None:
    """To machine code; interrupted after its first epoch and continued."""
    torch.compiler.reset()
    config = replace(config, multi_scale=multi_scale)
    eager, expected = run(replace(config, work_dir=str(tmp_path / "eager")))
    folder = tmp_path / "compiled"
    interrupt_in_epoch(2, replace(config, work_dir=str(folder), compile=True))
    found, rows = run(TrainConfig(resume=str(folder)))
    assert found["config"]["compile"] is True
    assert found["state_dict"].keys() == eager["state_dict"].keys()
    assert found["training"]["weights"].keys() == eager["training"]["weights"].keys()
    assert len(rows) == len(expected) == 4
    names = expected[0].split(",")
    for ours, theirs in zip(rows[1:], expected[1:], strict=True):
        for name, a, b in zip(names, ours.split(","), theirs.split(","), strict=True):
            if name.startswith("train/"):
                assert float(a) == pytest.approx(float(b), rel=1e-3), name


def interrupt_in_epoch(epoch: int, config: TrainConfig) -> None:
    original = epochs_module.train_epoch

    def interrupted(run: Any, batches: Any, on_step: Any) -> Any:
        if run.epoch + 1 == epoch:
            raise KeyboardInterrupt
        return original(run, batches, on_step)

    epochs_module.train_epoch = interrupted
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(config, Console(file=io.StringIO()))
    finally:
        epochs_module.train_epoch = original


@pytest.mark.slow
def test_a_machine_without_a_compiler(tmp_path: Path) -> None:
    """As a user meets it: one line, and the run goes on."""
    data = write_toy_dataset(tmp_path / "data", num_train=2, num_val=1)
    words = (
        f"train --data {data} --architecture rtmdet-ins --model tiny --backbone test_byobnet "
        f"--weights none --imgsz 64 --batch 2 --epochs 1 --workers 0 --device cpu --compile "
        f"--work-dir {tmp_path / 'run'}"
    )
    done = subprocess.run(
        [sys.executable, "-m", "crispmask", *words.split()],
        env={**os.environ, "CXX": "missing", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "--compile" in line]
    assert "training goes on without" in line
    assert "C++ compiler" in line
    assert (tmp_path / "run" / "weights" / "best.pt").is_file()
