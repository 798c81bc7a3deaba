"""Continuing an interrupted run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crispmask.config import TrainConfig
from crispmask.engine.checkpoint import find_last, load_checkpoint
from crispmask.engine.ranks import started_by_others
from crispmask.engine.resolve import from_plain
from crispmask.engine.workdir import WorkDir
from crispmask.errors import ConfigError, WeightsError


@dataclass(frozen=True, slots=True)
class Resumed:
    """An interrupted run.

    Attributes:
        config: of that run, with the data and the devices of this call if it names some.
        work_dir: its folder.
        checkpoint: its last.pt.
        path: of that file.
    """

    config: TrainConfig
    work_dir: WorkDir
    checkpoint: dict[str, Any]
    path: Path


def read_resumed(config: TrainConfig) -> Resumed:
    """The run that `config.resume` names. Its own settings count, not those of `config`.

    Raises:
        WeightsError: no usable last.pt.
        ConfigError: that run is finished.
    """
    path = find_last(config.resume)
    checkpoint = load_checkpoint(path)
    if "training" not in checkpoint:
        raise WeightsError(
            f"{path}: holds a model but no training state; resume from a last.pt, "
            "or start a new run from it with --weights"
        )
    saved = from_plain(checkpoint["config"], str(path))
    folder = path.parent.parent if path.parent.name == "weights" else path.parent
    # One that was interrupted in its report has all its epochs, but no metrics.
    epochs = checkpoint["training"].get("epochs", saved.epochs)
    if checkpoint["epoch"] >= epochs and (folder / "metrics.json").is_file():
        raise ConfigError(
            f"--resume {path}: that run finished its {epochs} epochs; "
            "start a new one from it with --weights"
        )
    return Resumed(
        config=replace(
            saved,
            data=config.data or saved.data,
            slices=max(saved.slices, config.slices),
            **_devices(saved, config),
            skip_conversion=False,
            logger=saved.logger if config.logger == "none" else config.logger,
            quiet=config.quiet,
            json_lines=config.json_lines,
        ),
        work_dir=WorkDir(folder),
        checkpoint=checkpoint,
        path=path,
    )


def _devices(saved: TrainConfig, given: TrainConfig) -> dict[str, Any]:
    """The devices of the interrupted run, or those of this call if it names some."""
    names = ("device", "processes", "num_nodes")
    source = saved if given.device == "auto" and given.processes == "auto" else given
    devices = {name: getattr(source, name) for name in names}
    if given.num_nodes != 1 or started_by_others():
        devices |= {"processes": given.processes, "num_nodes": given.num_nodes}
    if devices["device"] == "auto":
        devices["device"] = saved.device.split(",")[0]
    return devices
