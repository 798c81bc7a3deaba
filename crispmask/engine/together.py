"""Processes that train as one: joining, agreeing, passing things on."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric

from crispmask.augment.transform import Transform
from crispmask.config import TrainConfig
from crispmask.engine.children import Children, describe, is_lost_connection, pack
from crispmask.engine.device import make_fabric
from crispmask.engine.ranks import Ranks
from crispmask.engine.resolve import Settings
from crispmask.engine.seat import Seat, first_seat
from crispmask.errors import ConfigError, CrispmaskError, RankError
from crispmask.models.interface import Network

T = TypeVar("T")


@contextmanager
def joined(
    settings: Settings, config: TrainConfig, transform: Transform | None, seat: Seat | None
) -> Iterator[Fabric]:
    """Fabric with all processes of the run joined; they are started here if nobody else does.

    Args:
        settings: of the run.
        config: what the user asked for; the other processes resolve it themselves.
        transform: the user's own change of training images.
        seat: the place of this process, if another one of this machine has started it.

    Raises:
        ConfigError: several processes from a notebook, which Fabric does not start.
        RankError: in place of the error that the end of another process causes in this one.
    """
    ranks = settings.ranks
    if ranks.world_size == 1:
        yield make_fabric(ranks, settings.precision)
        return
    if hasattr(sys, "ps1"):
        raise ConfigError(
            f"{ranks.describe()} need a script: write the call into a file and run that; "
            "a notebook trains in one process"
        )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # else it announces itself
    children = None
    if ranks.starter == "crispmask" and seat is None:
        seat = first_seat(ranks)
        contents = [_content(ranks, config, transform, seat, i) for i in range(1, ranks.per_node)]
        children = Children(contents, settings.work_dir.last)
    try:
        if children is not None:
            children.wait_ready()
        if seat is not None:
            seat.on_ready()
        fabric = make_fabric(ranks, settings.precision, seat)
        fabric.launch()
        yield fabric
        fabric.barrier()
        dist.destroy_process_group()
        if children is not None:
            children.join()
    except BaseException as error:
        if children is not None:
            cause = children.explain(error)
        else:
            cause = _named(error) if seat is None else error
        _leave()
        if cause is error:
            raise
        raise cause from None
    finally:
        if children is not None:
            children.stop()


def gather(value: T) -> list[T]:
    """The values of all processes in order of their ranks; empty on all but rank 0."""
    if not dist.is_initialized():
        return [value]
    is_first = dist.get_rank() == 0
    values: list[Any] | None = [None] * dist.get_world_size() if is_first else None
    dist.gather_object(value, values)
    return values or []


def share_buffers(network: Network[Any]) -> None:
    """Gives the buffers of rank 0 to all: each has its own statistics of batches."""
    if dist.is_initialized():
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)


def mean_over_ranks(value: torch.Tensor) -> torch.Tensor:
    """The mean of a tensor over all processes."""
    if dist.is_initialized():
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value


def max_over_ranks(value: int, device: torch.device) -> int:
    """The largest of a number over all processes."""
    if not dist.is_initialized():
        return value
    most = torch.tensor(value, device=device)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return int(most)


def _content(
    ranks: Ranks, config: TrainConfig, transform: Transform | None, seat: Seat, local_rank: int
) -> tuple[int, bytes]:
    rank = seat.node_rank * ranks.per_node + local_rank
    return rank, pack((rank, config, transform, replace(seat, local_rank=local_rank)))


def _named(error: BaseException) -> BaseException:
    """An error of a process that torchrun or SLURM started, with its rank."""
    if not dist.is_initialized():
        return error
    rank = dist.get_rank()
    if is_lost_connection(error):
        return RankError(f"rank {rank} lost the connection: another process stopped, see its error")
    if isinstance(error, CrispmaskError):
        return type(error)(f"{error} [rank {rank}]")
    logging.getLogger(__name__).error("rank %d: %s", rank, describe(error).message)
    return error


def _leave() -> None:
    """Ends the connections without waiting for processes that may have gone."""
    if not dist.is_initialized():
        return
    # Ending them in the usual way waits for GPU work that can never finish.
    abort = getattr(dist.distributed_c10d, "_abort_process_group", None)
    with suppress(Exception):
        if dist.get_backend() == "nccl" and abort is not None:
            abort()
        else:
            dist.destroy_process_group()
