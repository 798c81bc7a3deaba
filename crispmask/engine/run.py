"""Everything that changes while a network is trained, and its way into a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from timm.layers.norm_act import convert_sync_batchnorm
from torch.optim import Optimizer

from crispmask.engine.compile import compile_network
from crispmask.engine.ema import Ema
from crispmask.engine.optim import build_optimizer
from crispmask.engine.resolve import Settings
from crispmask.engine.rng import set_rng_state
from crispmask.engine.schedule import Schedule, bias_start, schedule_of
from crispmask.models.fill import fill_again
from crispmask.models.interface import Network
from crispmask.types import Batch


@dataclass
class Run:
    """The state of a training run; changed by every step.

    Attributes:
        fabric: device and arithmetic.
        model: the network wrapped by Fabric; calling it is the forward pass.
        network: the network itself, for its loss.
        ema: the averaged network.
        optimizer: wrapped by Fabric.
        schedule: learning rate of each step.
        clip_norm: largest gradient norm; infinity does not clip.
        full_gather: batches gathered for a change of the weights, after the warmup.
        scales_loss: a gradient scaler looks after non-finite gradients (precision 16).
        gathered: batches whose gradients wait to be used.
        window: those batches.
        slices: each batch is computed in, one after another, to need less memory.
        step: batches done.
        epoch: epochs done.
        best_map: best validation mask mAP50-95 so far, None before the first.
        best_epoch: the epoch it was reached in.
        validated: epochs done at the last validation.
        epochs: of the whole run; may change while it goes on, where time decides.
        seconds: time of the training up to the last checkpoint.
        plan: the schedule for a number of epochs.
        rate_factor: what the learning rate of the schedule is multiplied by.
        setbacks: times the run went back after an explosion, halving that factor.
    """

    fabric: Fabric
    model: _FabricModule
    network: Network[Any]
    ema: Ema
    optimizer: Optimizer
    schedule: Schedule
    plan: Callable[[int], Schedule]
    epochs: int
    clip_norm: float
    full_gather: int = 1
    scales_loss: bool = False
    gathered: int = 0
    window: list[Batch] = field(default_factory=list)
    slices: int = 1
    step: int = 0
    epoch: int = 0
    best_map: float | None = None
    best_epoch: int = 0
    validated: int = 0
    seconds: float = 0.0
    rate_factor: float = 1.0
    setbacks: int = 0

    def replan(self, epochs: int) -> None:
        """Stretches or compresses the schedule to a number of epochs."""
        if epochs != self.epochs:
            self.epochs = epochs
            self.schedule = self.plan(max(1, epochs))

    def batches_per_update(self) -> int:
        """Batches gathered for a change of the weights: grows from one over the warmup."""
        warmup = self.schedule.warmup_steps
        done = min(1.0, self.step / warmup) if warmup else 1.0
        return round(1 + (self.full_gather - 1) * done)


def start_run(
    network: Network[Any], settings: Settings, fabric: Fabric, steps_per_epoch: int
) -> Run:
    """A run at its first step; `network` is moved to the device."""
    config = settings.config
    if (weights := config.class_weight_values()) is not None:
        network.weigh_classes(weights)
    network.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(
        network,
        settings.optimizer,
        settings.lr,
        settings.weight_decay,
        config.momentum,
        config.backbone_lr,
        config.layer_decay,
        fused=settings.device == "cpu",  # a gradient scaler would leave clipping to it
        nesterov=config.nesterov,
        own_biases=bias_start(config, settings.lr) is not None,
    )
    ema = Ema(network, config.ema_decay, config.ema_tau)
    fabric.to_device(ema.network)
    if settings.sync_bn:
        convert_sync_batchnorm(network)  # of timm: torch's own would drop activations inside norms
    if config.compile:  # not the averages: validation has too many sizes, once each
        compile_network(network, fabric.device, config.multi_scale > 0, fabric.is_global_zero)
    model, wrapped = fabric.setup(network.train(), optimizer)
    plan = partial(schedule_of, config, settings.lr, steps_per_epoch=steps_per_epoch)
    return Run(
        fabric,
        model,
        network,
        ema,
        wrapped,
        plan(config.epochs),
        plan,
        config.epochs,
        clip_norm=config.clip_norm or float("inf"),
        full_gather=max(1, round(config.nominal_batch / settings.batch)),
        slices=config.slices,
        scales_loss=config.precision == "16",
    )


def training_state(run: Run, rngs: list[dict[str, Any]]) -> dict[str, Any]:
    """What a checkpoint needs, beside the averaged weights, to continue as if never stopped.

    Args:
        run: after an epoch.
        rngs: the random states of all processes, see `rng.get_rng_state`.
    """
    return {
        "weights": run.network.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "scaler": run.fabric.strategy.precision.state_dict(),
        "ema_updates": run.ema.updates,
        "epoch": run.epoch,
        "epochs": run.epochs,
        "seconds": run.seconds,
        "step": run.step,
        "best_map": run.best_map,
        "best_epoch": run.best_epoch,
        "validated": run.validated,
        "rate_factor": run.rate_factor,
        "setbacks": run.setbacks,
        "slices": run.slices,
        "rng": rngs,
    }


def restore_run(run: Run, checkpoint: dict[str, Any], path: Path) -> None:
    """Puts the state of a last.pt into a run that has just started.

    Raises:
        WeightsError: it is of another network.
    """
    state = checkpoint["training"]
    fill_again(run.network, state["weights"], path)
    fill_again(run.ema.network, checkpoint["state_dict"], path)
    run.ema.updates = state["ema_updates"]
    run.optimizer.load_state_dict(state["optimizer"])
    run.fabric.strategy.precision.load_state_dict(state["scaler"])
    run.epoch, run.step = state["epoch"], state["step"]
    # Older checkpoints have none of these three.
    run.replan(state.get("epochs", run.epochs))
    run.seconds = state.get("seconds", 0.0)
    run.validated = state.get("validated", run.epoch)
    run.best_map, run.best_epoch = state["best_map"], state["best_epoch"]
    run.rate_factor, run.setbacks = state["rate_factor"], state["setbacks"]
    run.gathered = 0
    run.slices = max(run.slices, state.get("slices", 1))
    states = rng_of_ranks(state)
    set_rng_state(states[run.fabric.global_rank % len(states)])


def rng_of_ranks(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The random states in the training state of a last.pt, one for each process."""
    found = state["rng"]
    return found if isinstance(found, list) else [found]
