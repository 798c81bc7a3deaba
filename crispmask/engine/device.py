"""Devices and arithmetic: from the flags to Lightning Fabric."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from crispmask.data.processes import usable_cpus
from crispmask.engine.peak import resident_mb
from crispmask.engine.ranks import Ranks
from crispmask.engine.seat import Seat, SeatEnvironment
from crispmask.errors import ConfigError

Precision = Literal["32", "bf16", "16"]

_FABRIC_PRECISION: dict[Precision, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}


LONGEST_WAIT = timedelta(hours=2)
"""Processes wait so long for one that works alone, as rank 0 does when it fills a cache on the
disk; torch's half an hour is too short for very many photographs. One that has died is noticed
without it: by who started it, and by its connections."""


def resolve_device(device: str) -> str:
    """`cpu`, `mps`, `cuda` or GPU numbers that exist.

    Raises:
        ConfigError: no such device on this machine.
    """
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        if num_gpus:
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    if device == "cpu":
        return device
    if device == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError("--device mps: torch finds no Apple GPU here; use cpu")
        return device
    numbers = _gpu_numbers(device)
    if max(numbers) >= num_gpus:
        found = f"GPUs 0 to {num_gpus - 1}" if num_gpus else "no CUDA GPU"
        raise ConfigError(f"--device {device}: torch finds {found} here; use auto or cpu")
    return "cuda" if device == "cuda" else ",".join(str(number) for number in numbers)


def resolve_precision(precision: Literal["auto", "32", "bf16", "16"], device: str) -> Precision:
    """The arithmetic of a device that exists.

    Raises:
        ConfigError: half precision without a GPU that has it.
    """
    on_gpu = device not in ("cpu", "mps")
    if precision == "auto":
        if not on_gpu:
            return "32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "16"
    if precision == "16" and not on_gpu:
        raise ConfigError(f"--precision 16 needs a CUDA GPU, not {device}; use 32 or bf16")
    return precision


def make_fabric(ranks: Ranks, precision: Precision, seat: Seat | None = None) -> Fabric:
    """Lightning Fabric for the processes of a run.

    Args:
        ranks: the processes.
        precision: arithmetic of the forward pass.
        seat: the place of this one, where neither torchrun nor SLURM knows it.
    """
    fabric_precision = _FABRIC_PRECISION[precision]
    devices = list(ranks.gpus) if ranks.kind == "cuda" else ranks.per_node
    if ranks.world_size == 1:
        return Fabric(accelerator=ranks.kind, devices=devices, precision=fabric_precision)
    return Fabric(
        accelerator=ranks.kind,
        devices=devices,
        num_nodes=ranks.nodes,
        precision=fabric_precision,
        strategy=DDPStrategy(gradient_as_bucket_view=True, timeout=LONGEST_WAIT),
        plugins=None if seat is None else [SeatEnvironment(seat, ranks)],
    )


def set_deterministic(on: bool) -> None:
    """Lets torch choose operations that give the same bits each time, and tell which cannot.

    What has no such operation, such as the gradient of an enlargement on some GPUs, still runs
    and is warned of once.
    """
    if on:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by the first product
    torch.use_deterministic_algorithms(on, warn_only=True)
    torch.backends.cudnn.deterministic = on
    torch.backends.cudnn.benchmark = False


def usable_workers(workers: int, per_node: int = 1) -> int:
    """At most one loading process per CPU this process may use; more only wait for each other.

    Args:
        workers: processes that are wanted.
        per_node: processes of this machine that load as many.
    """
    return min(workers, max(1, usable_cpus() // per_node))


def describe_device(device: torch.device) -> str:
    """A device in words."""
    if device.type != "cuda":
        return f"{device.type}, {torch.get_num_threads()} threads"
    properties = torch.cuda.get_device_properties(device)
    return f"{device} {properties.name}, {properties.total_memory / 2**30:.0f} GiB"


def peak_memory_mb(device: torch.device) -> float:
    """Most memory used so far, MiB: of the GPU, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return 0.0  # the standard library cannot tell there
    import resource

    with suppress(OSError, IndexError):  # Linux: what getrusage says there may be its parent's
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 2**10
    return resident_mb(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _gpu_numbers(device: str) -> list[int]:
    if device == "cuda":
        return [0]
    parts = device.removeprefix("cuda:").split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ConfigError(
            f"--device {device}: give auto, cpu, mps, cuda or GPU numbers such as 0 or 0,1"
        )
    numbers = [int(part) for part in parts]
    if len(set(numbers)) < len(numbers):
        raise ConfigError(f"--device {device}: a GPU serves one process; name each once")
    return numbers
