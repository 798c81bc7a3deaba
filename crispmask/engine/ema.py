"""Averaged weights: what is validated and saved."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor

from crispmask.models.interface import Network


class Ema:
    """An exponential moving average of a network's parameters and buffers.

    After update u the average is d a + (1 - d) w with d = decay (1 - exp(-u / tau)): it
    follows the weights closely at first and slows down as they settle. Floating-point
    buffers are averaged as well, integers copied.
    Source: the behaviour of Ultralytics, ultralytics/utils/torch_utils.py.

    Args:
        network: the network that is trained; its weights are copied.
        decay: largest d; 0 keeps a plain copy of the weights.
        tau: updates over which d grows.

    Attributes:
        network: the averaged network, in evaluation mode and without gradients.
        updates: u.
    """

    def __init__(self, network: Network[Any], decay: float, tau: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.tau = tau
        self.updates = 0

    @torch.no_grad()
    def update(self, network: Network[Any]) -> None:
        """Takes the weights after a step into the average."""
        self.updates += 1
        decay = self.decay * (1 - math.exp(-self.updates / self.tau))
        average, current = self.network.state_dict(), network.state_dict()
        floating = [name for name, value in average.items() if value.is_floating_point()]
        # One call for all tensors: hundreds of small ones cost a GPU as much as a forward.
        torch._foreach_lerp_(_pick(average, floating), _pick(current, floating), weight=1 - decay)
        for name in average.keys() - set(floating):
            average[name].copy_(current[name])

    @torch.no_grad()
    def restore_buffers(self, network: Network[Any]) -> None:
        """Gives a network the averages of those of its buffers that are not all finite.

        One batch that overflows leaves infinities in the statistics of batch norms, which no
        later batch takes out again: theirs are means over all of them.
        """
        averages = dict(self.network.named_buffers())
        for name, buffer in network.named_buffers():
            if buffer.is_floating_point():
                buffer.copy_(torch.where(buffer.isfinite().all(), buffer, averages[name]))


def _pick(state: dict[str, Tensor], names: list[str]) -> list[Tensor]:
    return [state[name] for name in names]
