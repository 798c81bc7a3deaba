"""A process that crispmask has started as one of several, for Lightning Fabric."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment

from crispmask.engine.ranks import Ranks
from crispmask.errors import ConfigError


def _nothing() -> None:
    """What nobody waits for."""


@dataclass(frozen=True, slots=True)
class Seat:
    """The place of a process among those that train together.

    Attributes:
        local_rank: among those of its machine; 0 is the one the user started.
        node_rank: of its machine.
        address: of the machine with rank 0.
        port: at which rank 0 waits for the others.
        on_ready: called when the process is about to join them.
    """

    local_rank: int
    node_rank: int
    address: str
    port: int
    on_ready: Callable[[], None] = _nothing


def first_seat(ranks: Ranks) -> Seat:
    """The place of a process that the user started.

    Raises:
        ConfigError: several machines, but not where they meet.
    """
    if ranks.nodes == 1:
        return Seat(0, 0, "127.0.0.1", _free_port())
    wanted = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
    missing = [name for name in wanted if name not in os.environ]
    if missing:
        raise ConfigError(
            f"--num-nodes {ranks.nodes} needs torchrun or SLURM, or this command on every machine "
            f"with the variables {', '.join(wanted)}; {missing[0]} is not set"
        )
    address, port, node_rank = (os.environ[name] for name in wanted)
    return Seat(0, int(node_rank), address, int(port))


class SeatEnvironment(ClusterEnvironment):
    """Tells Fabric where this process sits."""

    creates_processes_externally = True  # it starts none: we do, and watch them

    def __init__(self, seat: Seat, ranks: Ranks) -> None:
        self._seat = seat
        self._ranks = ranks

    @property
    def main_address(self) -> str:
        """Address of the machine with rank 0."""
        return self._seat.address

    @property
    def main_port(self) -> int:
        """Where rank 0 waits."""
        return self._seat.port

    @staticmethod
    def detect() -> bool:
        """Never: it is passed to Fabric."""
        return False

    def world_size(self) -> int:
        """Processes of all machines."""
        return self._ranks.world_size

    def set_world_size(self, size: int) -> None:
        """Nothing: it is known."""

    def global_rank(self) -> int:
        """Rank of this process."""
        return self._seat.node_rank * self._ranks.per_node + self._seat.local_rank

    def set_global_rank(self, rank: int) -> None:
        """Nothing: it is known."""

    def local_rank(self) -> int:
        """Its rank on its machine."""
        return self._seat.local_rank

    def node_rank(self) -> int:
        """Rank of its machine."""
        return self._seat.node_rank


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
