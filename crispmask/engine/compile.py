"""`torch.compile` for the forward and backward pass of a network that is trained."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from crispmask.errors import ConfigError, reason_of
from crispmask.models.interface import Network

log = logging.getLogger(__name__)


def compile_network(
    network: Network[Any], device: torch.device, sizes_vary: bool, warns: bool = True
) -> bool:
    """Compiles the forward pass of a network in place, when it is first called.

    Names of its tensors stay as they are, and copies of it are not compiled. Its loss is not
    compiled either: how many instances and positives there are differs with every batch. Where
    nothing can be compiled a warning says so, and the network stays as it was.

    Args:
        network: the network that is trained.
        device: where it lives.
        sizes_vary: whether images of many sizes are to come. Then one program is made for all
            of them from the start; otherwise one for the first size, and a second one for all
            others if there is another one, such as a smaller last batch.
        warns: whether this process is the one that warns.

    Returns:
        Whether it is going to be compiled.
    """
    reason = why_not(device)
    if reason is not None:
        if warns:
            log.warning("--compile: training goes on without, %s", reason)
        return False
    network.compile(dynamic=True if sizes_vary else None)
    return True


def why_not(device: torch.device) -> str | None:
    """Why nothing can be compiled for a device, with a remedy; None if it can. Takes seconds."""
    x = torch.ones(2, 8, device=device, requires_grad=True)
    try:
        torch.compile(_trial)(x).backward()
    except Exception as error:  # of many kinds: no compiler, no headers of Python, no Triton
        needed = "Triton and a C compiler" if device.type == "cuda" else "a C++ compiler"
        return (
            f"torch cannot compile here ({_reason(error)}); it needs {needed} and the headers of "
            "Python, as in the packages g++ and python3-dev"
        )
    return None


@contextmanager
def naming_compile_errors() -> Iterator[None]:
    """Turns what goes wrong while a network is compiled into one line."""
    try:
        yield
    except torch._dynamo.exc.TorchDynamoException as error:
        raise ConfigError(
            f"--compile: torch cannot compile this network ({_reason(error)}); "
            "start again without --compile"
        ) from error


def _trial(x: Tensor) -> Tensor:
    return (x.sin() * 2).sum()


def _reason(error: BaseException) -> str:
    """What made a compiler fail."""
    while inner := getattr(error, "inner_exception", error.__cause__):
        error = inner
    return reason_of(error)
