from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from crispmask.config import TrainConfig
from crispmask.engine.children import describe, pack
from crispmask.engine.ranks import Ranks, is_first_started, rank_batch, resolve_ranks
from crispmask.engine.resolve import resolve
from crispmask.engine.seat import Seat, SeatEnvironment, first_seat
from crispmask.engine.together import joined
from crispmask.engine.workdir import WorkDir
from crispmask.errors import ConfigError, DatasetError, RankError

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x",
    "LOCAL_WORLD_SIZE": "2",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
}
SLURM = {"SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "2"}


def _ranks(device: str = "cpu", environment: dict[str, str] | None = None, **flags: Any) -> Ranks:
    return resolve_ranks(TrainConfig(**flags), device, environment or {})


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)


def test_who_is_the_first() -> None:
    assert is_first_started({})
    assert is_first_started({"RANK": "1"})  # nobody started it as one of several
    for rank in (0, 1):
        assert is_first_started({**TORCHRUN, "RANK": str(rank)}) == (rank == 0)
        assert is_first_started({**SLURM, "SLURM_PROCID": str(rank)}) == (rank == 0)


def test_one_process_unless_asked_for() -> None:
    assert _ranks() == Ranks("cpu")
    assert _ranks("mps") == Ranks("mps")
    assert Ranks("cpu").describe() == ""


def test_processes_on_a_cpu() -> None:
    ranks = _ranks(processes=3)
    assert (ranks.world_size, ranks.gpus, ranks.starter) == (3, (), "crispmask")
    assert ranks.describe() == "3 processes"
    ranks = _ranks(processes=2, num_nodes=3)
    assert ranks.world_size == 6
    assert ranks.describe() == "6 processes on 3 machines"
    with pytest.raises(ConfigError, match="--device mps"):
        _ranks("mps", processes=2)


@pytest.mark.usefixtures("four_gpus")
def test_gpus() -> None:
    assert _ranks("cuda").gpus == (0,)
    assert _ranks("2").gpus == (2,)
    assert _ranks("1,3") == Ranks("cuda", (1, 3), 2)
    assert _ranks("cuda", processes=3).gpus == (0, 1, 2)
    assert _ranks("1,3", processes=2).gpus == (1, 3)
    with pytest.raises(ConfigError, match="3 by --processes and 2 by --device"):
        _ranks("1,3", processes=3)
    with pytest.raises(ConfigError, match="5 processes need a GPU each, but torch finds 4"):
        _ranks("cuda", processes=5)


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(("starter", "environment"), [("torchrun", TORCHRUN), ("slurm", SLURM)])
def test_processes_that_others_start(starter: str, environment: dict[str, str]) -> None:
    assert _ranks("cpu", environment) == Ranks("cpu", (), 2, 2, starter)
    assert _ranks("cuda", environment) == Ranks("cuda", (0, 1), 2, 2, starter)
    assert _ranks("1,2", environment, num_nodes=2).gpus == (1, 2)
    with pytest.raises(ConfigError, match=f"4 by --processes and 2 by {starter}"):
        _ranks("cpu", environment, processes=4)
    with pytest.raises(ConfigError, match=f"--num-nodes 3, but {starter}"):
        _ranks("cpu", environment, num_nodes=3)


def test_an_interactive_job_of_slurm_starts_nothing() -> None:
    assert _ranks("cpu", {**SLURM, "SLURM_JOB_NAME": "bash"}) == Ranks("cpu")
    assert _ranks("cpu", {"SLURM_NTASKS": "1"}, processes=2).starter == "crispmask"


def test_the_batch_is_shared_out() -> None:
    assert rank_batch(8, 2) == 4
    with pytest.raises(ConfigError, match=r"--batch 7 counts .* all 3 processes .* try 6 or 9"):
        rank_batch(7, 3)
    with pytest.raises(ConfigError, match=r"try 4$"):
        rank_batch(3, 4)


def test_settings_of_several_processes() -> None:
    def settings(num_images: int = 20, **flags: Any) -> Any:
        config = TrainConfig(device="cpu", weights="none", **flags)
        return resolve(config, WorkDir(Path("x")), Path("data.yaml"), 3, num_images)

    found = settings(processes=2)
    assert (found.batch, found.config.processes, found.config.num_nodes) == (8, 2, 1)
    assert settings(processes=3).batch == 9  # of the table: 8
    with pytest.raises(ConfigError, match="--batch 5"):
        settings(processes=2, batch=5)
    with pytest.raises(ConfigError, match="3 training images for 4 processes"):
        settings(3, processes=4)
    with pytest.raises(ConfigError, match="--sync-bn true needs CUDA GPUs, not cpu"):
        settings(processes=2, sync_bn=True)
    assert not found.sync_bn


def test_batch_norms_are_synchronised_with_several_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)

    def sync_bn(**flags: Any) -> bool:
        config = TrainConfig(weights="none", **flags)
        return resolve(config, WorkDir(Path("x")), Path("data.yaml"), 3, 20).sync_bn

    assert sync_bn(device="0,1")
    assert not sync_bn(device="0,1", sync_bn=False)
    assert not sync_bn(device="0")
    assert not sync_bn(device="0", sync_bn=True)  # nothing to synchronise with


@pytest.mark.parametrize("architecture", ["solov2", "rtmdet-ins"])
def test_synchronised_norms_keep_weights_and_activations(architecture: str) -> None:
    from timm.layers.norm_act import convert_sync_batchnorm

    from crispmask.models.build import ModelSpec, build_network

    network = build_network(ModelSpec(architecture, "tiny", 3, 64)).eval()
    names = [name for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    images = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        before = network(images).mask_features
        assert convert_sync_batchnorm(network) is network
        after = network(images).mask_features
    assert names
    for name in names:
        assert isinstance(network.get_submodule(name), nn.SyncBatchNorm), name
    torch.testing.assert_close(after, before)
    assert network.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_machines_without_a_starter(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks("cpu", (), 2, 2)
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"--num-nodes 2 needs torchrun .* MASTER_ADDR is not"):
        first_seat(ranks)
    monkeypatch.setenv("MASTER_ADDR", "node0")
    monkeypatch.setenv("MASTER_PORT", "1234")
    monkeypatch.setenv("NODE_RANK", "1")
    seat = first_seat(ranks)
    assert (seat.local_rank, seat.node_rank, seat.address, seat.port) == (0, 1, "node0", 1234)
    environment = SeatEnvironment(Seat(1, 1, "node0", 1234), ranks)
    assert (environment.global_rank(), environment.world_size()) == (3, 4)


def test_errors_in_one_line() -> None:
    assert describe(DatasetError("a.jpg: damaged")).message == "a.jpg: damaged"
    try:
        [].pop()
    except IndexError as error:
        report = describe(error)
    assert report.message.startswith("IndexError: pop from empty list (")
    assert "test_ranks.py, line" in report.message
    assert not report.is_consequence
    assert describe(RankError("x")).is_consequence
    closed = "[/gloo/transport/tcp/pair.cc:537] Connection closed by peer [127.0.0.1]:1234"
    assert describe(RuntimeError(closed)).is_consequence
    assert not describe(RuntimeError("shape mismatch")).is_consequence


def test_what_other_processes_cannot_have() -> None:
    assert pickle.loads(pack((TrainConfig(), None))) == (TrainConfig(), None)
    with pytest.raises(ConfigError, match="transform that each can import"):
        pack(lambda image, rng: image)


def test_a_notebook_trains_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.ps1", ">>> ", raising=False)
    config = TrainConfig(device="cpu", weights="none", processes=2)
    settings = resolve(config, WorkDir(Path("x")), Path("data.yaml"), 3, 20)
    with (
        pytest.raises(ConfigError, match="2 processes need a script"),
        joined(settings, config, None, None),
    ):
        pass
