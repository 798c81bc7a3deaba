"""The processes that train together: how many, on what, and who starts them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from crispmask.config import TrainConfig
from crispmask.errors import ConfigError

Starter = Literal["crispmask", "torchrun", "slurm"]


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes of a run; each is a rank and has a device of its own.

    Attributes:
        kind: cpu, mps or cuda.
        gpus: numbers of the GPUs of this machine that are used.
        per_node: processes of each machine.
        nodes: machines.
        starter: who starts the processes.
    """

    kind: Literal["cpu", "mps", "cuda"]
    gpus: tuple[int, ...] = ()
    per_node: int = 1
    nodes: int = 1
    starter: Starter = "crispmask"

    @property
    def world_size(self) -> int:
        """Processes of all machines."""
        return self.per_node * self.nodes

    def describe(self) -> str:
        """How many there are, in words; empty for one."""
        if self.world_size == 1:
            return ""
        nodes = f" on {self.nodes} machines" if self.nodes > 1 else ""
        return f"{self.world_size} processes{nodes}"


def resolve_ranks(
    config: TrainConfig, device: str, environment: Mapping[str, str] | None = None
) -> Ranks:
    """The processes that the flags, torchrun or SLURM ask for.

    Args:
        config: the flags.
        device: resolved, see `device.resolve_device`.
        environment: variables of the process; those of this one if None.

    Raises:
        ConfigError: flags and environment contradict each other, or there are too few GPUs.
    """
    environment = os.environ if environment is None else environment
    started = _started(environment)
    starter, per_node, nodes = started or ("crispmask", None, config.num_nodes)
    numbers = () if device in ("cpu", "mps", "cuda") else tuple(map(int, device.split(",")))
    asked = {
        "--processes": None if config.processes == "auto" else config.processes,
        "--device": len(numbers) or None,
        starter: per_node,
    }
    counts = {name: count for name, count in asked.items() if count is not None}
    if len(set(counts.values())) > 1:
        told = " and ".join(f"{count} by {name}" for name, count in counts.items())
        raise ConfigError(f"processes per machine: {told}; ask for one number")
    if started and config.num_nodes not in (1, nodes):
        raise ConfigError(
            f"--num-nodes {config.num_nodes}, but {starter} started the processes of {nodes}; "
            "leave the flag out"
        )
    count = next(iter(counts.values()), 1)
    if device == "cpu":
        return Ranks("cpu", (), count, nodes, starter)
    if device == "mps":
        if count * nodes > 1:
            raise ConfigError("--device mps: training runs in one process there")
        return Ranks("mps", (), 1, 1, starter)
    available = torch.cuda.device_count()
    if count > available:
        raise ConfigError(
            f"{count} processes need a GPU each, but torch finds {available} here; "
            "lower --processes"
        )
    return Ranks("cuda", numbers or tuple(range(count)), count, nodes, starter)


def started_by_others() -> bool:
    """Whether torchrun or SLURM started this process, as one of several."""
    return _started(os.environ) is not None


def is_first_started(environment: Mapping[str, str] | None = None) -> bool:
    """Whether torchrun or SLURM started this process as rank 0, or did not start it as a rank.

    Args:
        environment: variables of the process; those of this one if None.
    """
    environment = os.environ if environment is None else environment
    started = _started(environment)
    if started is None:
        return True
    return environment.get("RANK" if started[0] == "torchrun" else "SLURM_PROCID") == "0"


def _started(environment: Mapping[str, str]) -> tuple[Starter, int, int] | None:
    """Who started this process as one of several, processes per machine, machines."""
    if "TORCHELASTIC_RUN_ID" in environment:
        per_node = int(environment["LOCAL_WORLD_SIZE"])
        return "torchrun", per_node, int(environment["WORLD_SIZE"]) // per_node
    interactive = environment.get("SLURM_JOB_NAME") in ("bash", "interactive")
    tasks = int(environment.get("SLURM_NTASKS", 1))
    if tasks > 1 and not interactive:
        nodes = int(environment.get("SLURM_NNODES", 1))
        return "slurm", int(environment.get("SLURM_NTASKS_PER_NODE", tasks // nodes)), nodes
    return None


def rank_batch(batch: int, world_size: int) -> int:
    """Images of a batch that each process gets.

    Raises:
        ConfigError: they cannot be shared out evenly.
    """
    if batch % world_size:
        lower = batch - batch % world_size
        advice = f"{lower} or {lower + world_size}" if lower else str(world_size)
        raise ConfigError(
            f"--batch {batch} counts the images of all {world_size} processes together and must "
            f"be a multiple of that: try {advice}"
        )
    return batch // world_size
