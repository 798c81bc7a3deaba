from __future__ import annotations

import sys

import pytest
import torch
from lightning_fabric.strategies.ddp import DDPStrategy

from crispmask.engine.device import (
    LONGEST_WAIT,
    describe_device,
    make_fabric,
    peak_memory_mb,
    resolve_device,
    resolve_precision,
    usable_workers,
)
from crispmask.engine.peak import resident_mb
from crispmask.engine.ranks import Ranks
from crispmask.engine.seat import Seat
from crispmask.errors import ConfigError


def _pretend(monkeypatch: pytest.MonkeyPatch, num_gpus: int, bf16: bool = True) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: num_gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: bf16)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, 0)
    assert resolve_device("auto") == "cpu"
    assert resolve_precision("auto", "cpu") == "32"
    assert resolve_precision("bf16", "cpu") == "bf16"
    for device in ("cuda", "0", "mps"):
        with pytest.raises(ConfigError, match="torch finds no"):
            resolve_device(device)
    with pytest.raises(ConfigError, match="needs a CUDA GPU"):
        resolve_precision("16", "cpu")


def test_with_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, 2)
    assert resolve_device("auto") == "cuda"
    assert resolve_device("cuda") == "cuda"
    assert resolve_device("cuda:1") == "1"
    assert resolve_device("1") == "1"
    with pytest.raises(ConfigError, match="GPUs 0 to 1"):
        resolve_device("2")
    assert resolve_precision("auto", "cuda") == "bf16"
    _pretend(monkeypatch, 1, bf16=False)
    assert resolve_precision("auto", "0") == "16"


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "-1", ""])
def test_what_is_no_device(device: str) -> None:
    with pytest.raises(ConfigError, match="give auto, cpu"):
        resolve_device(device)


def test_several_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, 3)
    assert resolve_device("0,2") == "0,2"
    assert resolve_device("cuda:1,0") == "1,0"
    with pytest.raises(ConfigError, match="GPUs 0 to 2"):
        resolve_device("1,3")
    with pytest.raises(ConfigError, match="name each once"):
        resolve_device("1,1")


def test_fabric_on_the_cpu() -> None:
    fabric = make_fabric(Ranks("cpu"), "32")
    assert fabric.device.type == "cpu"
    assert "cpu" in describe_device(fabric.device)
    assert peak_memory_mb(fabric.device) > 10


@pytest.mark.parametrize(("system", "maxrss"), [("darwin", 5 * 2**20), ("linux", 5 * 2**10)])
def test_memory_as_the_system_counts_it(
    system: str, maxrss: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert resident_mb(maxrss) == 5


def test_processes_wait_for_one_that_works_alone() -> None:
    strategy = make_fabric(Ranks("cpu", (), 2), "32", Seat(0, 0, "127.0.0.1", 1)).strategy
    assert isinstance(strategy, DDPStrategy)
    assert strategy._timeout == LONGEST_WAIT


def test_workers_are_no_more_than_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert [usable_workers(n) for n in (0, 1, 4)] == [0, 1, 2]
    assert [usable_workers(4, per_node) for per_node in (1, 2, 3)] == [2, 1, 1]
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert usable_workers(4) == 1
    monkeypatch.undo()
    assert usable_workers(10**6) >= 1
