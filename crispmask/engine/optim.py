"""Optimizers: which one an architecture takes, what is decayed, and how fast each part learns."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from crispmask.models.interface import Network
from crispmask.models.timm_features import STAGE_STRIDES

OptimizerName = Literal["sgd", "adamw"]

_POSITIONS = ("position_bias_table", "pos_embed")
"""Tables of positions in transformers: not decayed, as Swin's authors train them."""

_BODY = "backbone.body."


def parameter_groups(
    network: Network[Any],
    weight_decay: float,
    backbone_lr: float = 1.0,
    layer_decay: float = 1.0,
    own_biases: bool = False,
) -> list[dict[str, Any]]:
    """Trained parameters in groups of one learning rate and one weight decay.

    What has fewer than two axes is a bias or the scale of a norm: decaying those changes
    the size of activations, not the complexity of the function.

    Args:
        network: whose parameters are trained.
        weight_decay: not applied to norms and biases.
        backbone_lr: factor on the learning rate of the backbone.
        layer_decay: see `lr_scales`.
        own_biases: whether biases get groups of their own, with `is_bias` set.

    Returns:
        For each learning rate, the highest first, the decayed weights and the others. A
        group's `lr_scale` is its factor on the rate of the schedule.
    """
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    scales = lr_scales(network, backbone_lr, layer_decay)
    groups: list[dict[str, Any]] = []
    for scale in sorted({scales.get(name, 1.0) for name in trained} | {1.0}, reverse=True):
        mine = {name: p for name, p in trained.items() if scales.get(name, 1.0) == scale}
        decayed = [p for name, p in mine.items() if _is_decayed(name, p)]
        rest = {name: p for name, p in mine.items() if not _is_decayed(name, p)}
        groups.append({"params": decayed, "weight_decay": weight_decay, "lr_scale": scale})
        for is_bias in (False, True) if own_biases else (False,):
            own = [
                p for name, p in rest.items() if not own_biases or name.endswith("bias") == is_bias
            ]
            groups.append({"params": own, "weight_decay": 0.0, "lr_scale": scale})
            if own_biases:
                groups[-1]["is_bias"] = is_bias
    return groups


def lr_scales(network: Network[Any], backbone_lr: float, layer_decay: float) -> dict[str, float]:
    """Factor on the learning rate by parameter; names left out have 1.

    Stage k of the K = 4 stages of the backbone learns at backbone_lr * layer_decay^(K + 1 - k)
    of the rate of the head.
    Source: layer-wise decay of BEiT, arXiv:2106.08254, with stages in place of layers.
    """
    if backbone_lr == layer_decay == 1:
        return {}
    last = len(STAGE_STRIDES)
    return {
        _BODY + name: backbone_lr * layer_decay ** (last + 1 - stage)
        for name, stage in network.backbone.parameter_stages().items()
    }


def build_optimizer(
    network: Network[Any],
    name: OptimizerName,
    lr: float,
    weight_decay: float,
    momentum: float,
    backbone_lr: float = 1.0,
    layer_decay: float = 1.0,
    fused: bool = False,
    nesterov: bool = False,
    own_biases: bool = False,
) -> Optimizer:
    """SGD with momentum, or AdamW.

    Args:
        network: whose parameters are trained.
        name: which one.
        lr: peak learning rate; the schedule sets that of each step.
        weight_decay: not applied to norms and biases.
        momentum: of SGD.
        backbone_lr: factor on the learning rate of the backbone.
        layer_decay: see `lr_scales`.
        fused: one pass over each tensor in place of one per term: on a CPU the step takes a
            quarter of the time.
        nesterov: whether SGD looks ahead along its momentum.
        own_biases: whether `set_lr` can give biases a rate of their own.
    """
    groups = parameter_groups(network, weight_decay, backbone_lr, layer_decay, own_biases)
    if name == "sgd":
        nesterov = nesterov and momentum > 0  # without momentum there is nothing to look along
        return SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=fused or None)
    return AdamW(groups, lr=lr, fused=fused or None)


def set_lr(
    optimizer: Optimizer, lr: float, bias_lr: float | None = None, momentum: float | None = None
) -> None:
    """Gives each parameter group its share of a learning rate.

    Args:
        optimizer: changed.
        lr: of the schedule.
        bias_lr: that of the groups of biases, if they have some of their own.
        momentum: new one of SGD, if it changes.
    """
    for group in optimizer.param_groups:
        own = bias_lr if bias_lr is not None and group.get("is_bias") else lr
        # Checkpoints written before there were factors have none.
        group["lr"] = own * group.get("lr_scale", 1.0)
        if momentum is not None and "momentum" in group:  # AdamW has none
            group["momentum"] = momentum


def _is_decayed(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim >= 2 and not any(word in name for word in _POSITIONS)
