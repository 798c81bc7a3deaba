"""The page of a run and that of a validation."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from crispmask.config import TrainConfig
from crispmask.data.index import DatasetIndex
from crispmask.engine.device import describe_device
from crispmask.engine.page.contents import Contents
from crispmask.engine.page.page import write_page
from crispmask.engine.plots.results import read_results
from crispmask.engine.progress import duration
from crispmask.engine.resolve import to_plain
from crispmask.version import __version__

if TYPE_CHECKING:
    import torch

    from crispmask.engine.evaluate import Evaluation

REPORT = "report.html"

_FOLDERS = ("work_dir", "cache_dir")
"""Settings that say where results go, not what they are."""

_PACKAGES = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "opencv-python-headless")


def write_run_page(
    folder: Path,
    config: TrainConfig,
    evaluation: Evaluation,
    train: DatasetIndex,
    val: DatasetIndex,
    device: torch.device,
) -> None:
    """Writes report.html of a run that is complete otherwise.

    Args:
        folder: of the run.
        config: what it was trained with, without any `auto`.
        evaluation: of the best model.
        train: the training split.
        val: the validation split.
        device: it was trained on.
    """
    plain = to_plain(config)
    contents = Contents(
        title=folder.resolve().name,
        subtitle=f"{config.architecture} {config.model}, {config.imgsz} px, {config.epochs} "
        f"epochs; best model on the validation split of {config.data}",
        metrics=evaluation.metrics,
        predictions=evaluation.predictions,
        comparison=evaluation.comparison,
        measured="val",
        splits={"train": train, "val": val},
        results=folder / "results.csv",
        command=train_command(config),
        config=yaml.safe_dump(plain, sort_keys=False, allow_unicode=True),
        facts={
            **_timings(folder / "results.csv", len(train), len(val)),
            "device": f"{describe_device(device)}, precision {config.precision}",
            **versions(),
        },
    )
    write_page(contents, folder / REPORT)


def write_val_page(
    folder: Path,
    evaluation: Evaluation,
    index: DatasetIndex,
    title: str,
    settings: Mapping[str, Any],
    facts: Mapping[str, str],
) -> None:
    """Writes report.html of a validation.

    Args:
        folder: of the results.
        evaluation: of the split.
        index: the split.
        title: what was measured.
        settings: flags of `crispmask val`; None leaves one out.
        facts: further lines of the table of timings and versions.
    """
    split = str(settings["split"])
    contents = Contents(
        title=title,
        subtitle=f"{split} split of {settings['data']}",
        metrics=evaluation.metrics,
        predictions=evaluation.predictions,
        comparison=evaluation.comparison,
        measured=split,
        splits={split: index},
        command=command_line("val", {key: v for key, v in settings.items() if v is not None}),
        facts={**facts, **versions()},
    )
    write_page(contents, folder / REPORT)


def train_command(config: TrainConfig) -> str:
    """The `crispmask train` that does the same: all flags that are not at their default."""
    usual, plain = asdict(TrainConfig(data=config.data)), to_plain(config)
    augment, usual_augment = plain.pop("augment"), usual.pop("augment")
    plain, usual = {**plain, **augment}, {**usual, **usual_augment}
    every = config.recipe != TrainConfig.recipe  # a recipe has defaults of its own
    chosen = {
        key: value
        for key, value in plain.items()
        if key == "data" or (key not in _FOLDERS and (every or value != usual[key]))
    }
    return command_line("train", chosen)


def command_line(name: str, flags: Mapping[str, Any]) -> str:
    """A command of ours as one would type it."""
    words = ["crispmask", name]
    for key, value in flags.items():
        words += [f"--{key.replace('_', '-')}", str(value)]
    return shlex.join(words)


def versions() -> dict[str, str]:
    """Versions of what the figures depend on, and the machine."""
    found = {"crispmask": __version__, "Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # where only exported models are run
            continue
    return {**found, "system": platform.platform()}


def _timings(results: Path, num_train: int, num_val: int) -> dict[str, str]:
    """What results.csv says about time and memory."""
    if not results.is_file():
        return {}
    columns = read_results(results)
    facts = {}
    for name, count in (("train", num_train), ("val", num_val)):
        seconds = columns.get(f"seconds/{name}", np.zeros(0))
        seconds = seconds[np.isfinite(seconds)]
        if len(seconds):
            pace = count / max(float(np.median(seconds)), 1e-9)
            word = {"train": "training", "val": "validation"}[name]
            facts[word] = (
                f"{duration(float(seconds.sum()))} in {len(seconds)} epochs, "
                f"median {np.median(seconds):.1f} s per epoch, {pace:.1f} images/s"
            )
    memory = columns.get("memory_mb", np.zeros(0))
    if np.isfinite(memory).any() and np.nanmax(memory) > 0:
        facts["peak memory"] = f"{np.nanmax(memory) / 1024:.2f} GiB"
    return facts
