"""Optimizers: which one an architecture takes, and what is decayed."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

OptimizerName = Literal["sgd", "adamw"]


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trained parameters in two groups: decayed weights, then norms and biases.

    What has fewer than two axes is a bias or the scale of a norm: decaying those changes
    the size of activations, not the complexity of the function.
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def build_optimizer(
    network: nn.Module, name: OptimizerName, lr: float, weight_decay: float, momentum: float
) -> Optimizer:
    """SGD with momentum, or AdamW.

    Args:
        network: whose parameters are trained.
        name: which one.
        lr: peak learning rate; the schedule sets that of each step.
        weight_decay: not applied to norms and biases.
        momentum: of SGD.
    """
    groups = parameter_groups(network, weight_decay)
    if name == "sgd":
        return SGD(groups, lr=lr, momentum=momentum)
    return AdamW(groups, lr=lr)


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Gives all parameter groups the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr
