"""Who listens to a run without being asked: the screen, TensorBoard, and what flags name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from crispmask.config import TrainConfig
from crispmask.engine.callback import Callback, Stop, TrainStart
from crispmask.engine.json_lines import JsonLines
from crispmask.engine.loggers.mlflow import MLflow
from crispmask.engine.loggers.tensorboard import TensorBoard
from crispmask.engine.loggers.wandb import WandB
from crispmask.engine.messages import describe_devices
from crispmask.engine.prepare import Data
from crispmask.engine.resolve import Settings
from crispmask.engine.run import Run
from crispmask.engine.screen import Screen
from crispmask.models.flops import count_flops


def make_console(config: TrainConfig) -> Console:
    """Standard output, or silence where it is not for people."""
    # In a notebook rich would put each line into a box of its own; plain text reads better.
    return Console(quiet=config.quiet or config.json_lines, force_jupyter=False)


def own_callbacks(config: TrainConfig, console: Console) -> list[Callback]:
    """The callbacks a configuration asks for, in the order they are told.

    Args:
        config: of the run.
        console: for people.
    """
    callbacks: list[Callback] = [Screen(console), TensorBoard()]
    if "wandb" in config.loggers():
        callbacks.append(WandB())
    if "mlflow" in config.loggers():
        callbacks.append(MLflow())
    if config.json_lines:
        callbacks.append(JsonLines(_write_line(sys.stdout)))
    return callbacks


def describe_start(
    settings: Settings, run: Run, data: Data, weights: str, stop: Stop
) -> TrainStart:
    """What callbacks are told before the first step."""
    return TrainStart(
        config=settings.config,
        work_dir=settings.work_dir.path,
        names=data.names,
        weights=weights,
        device=describe_devices(settings, run),
        lr_reason=settings.lr_reason,
        num_parameters=sum(p.numel() for p in run.network.parameters()),
        flops=count_flops(run.network, settings.config.imgsz),
        train=data.train,
        val=data.val,
        ground_truth=data.ground_truth,
        network=run.network,
        averaged=run.ema.network,
        epoch=run.epoch,
        step=run.step,
        stop=stop,
    )


def _write_line(file: Any) -> Callable[[str], None]:
    def write(line: str) -> None:
        file.write(line + "\n")
        file.flush()  # a reader at the other end of a pipe waits for it

    return write
