"""The lines a run prints: what is about to happen, each epoch, what came out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from crispmask.data.index import DatasetIndex
from crispmask.engine.checkpoint import load_checkpoint
from crispmask.engine.device import describe_device
from crispmask.engine.progress import duration, say
from crispmask.engine.resolve import Settings
from crispmask.engine.run import Run


def print_start(
    console: Console,
    settings: Settings,
    run: Run,
    weights: str,
    train: DatasetIndex,
    val: DatasetIndex,
) -> None:
    """Prints what is going to be trained, on what and where.

    Args:
        console: where to.
        settings: of the run.
        run: about to start or to continue.
        weights: where the weights come from.
        train: the training split.
        val: the validation split.
    """
    config = settings.config
    parameters = sum(p.numel() for p in run.network.parameters())
    num_classes = run.network.num_classes
    optimizer = {"sgd": "SGD", "adamw": "AdamW"}[settings.optimizer]
    rows = {
        "model": f"{config.architecture} {config.model}, {parameters / 1e6:.1f} M parameters, "
        f"{num_classes} class{'es' if num_classes > 1 else ''}",
        "backbone": _backbone(settings),
        "weights": weights,
        "data": config.data,
        "images": f"{len(train)} to train with {train.num_instances()} instances, "
        f"{len(val)} to validate with {val.num_instances()}",
        "device": f"{describe_device(run.fabric.device)}, precision {config.precision}",
        "training": f"{config.epochs} epochs, batch {settings.batch}, {config.imgsz} px, "
        f"recipe {config.recipe}, {optimizer}, weight decay {settings.weight_decay:g}",
        "rate": f"{settings.lr:.4g} ({settings.lr_reason})",
        "results": str(settings.work_dir.path),
    }
    for name, value in rows.items():
        say(console, f"{name:<10}{value}")


def _backbone(settings: Settings) -> str:
    """The backbone and what is special about its training."""
    config, parts = settings.config, [settings.config.backbone]
    if settings.freeze:
        stages = "stage" if settings.freeze == 1 else f"{settings.freeze} stages"
        parts.append(f"stem and first {stages} frozen")
    if settings.norm_eval:
        parts.append("batch statistics kept")
    if config.backbone_lr != 1:
        parts.append(f"learning rate x {config.backbone_lr:g}")
    if config.layer_decay != 1:
        parts.append(f"layer decay {config.layer_decay:g}")
    return ", ".join(parts)


def epoch_line(
    row: Mapping[str, float],
    epochs: int,
    num_images: int,
    seconds_left: float,
    num_unreadable: int = 0,
) -> str:
    """An epoch in one line.

    Args:
        row: its row of results.csv.
        epochs: of the run.
        num_images: trained on.
        seconds_left: expected until the end of the run.
        num_unreadable: images left out since the start, because they cannot be read.
    """
    losses = [f"{key[6:]} {row[key]:.3f}" for key in row if key.startswith("train/")]
    parts = [
        f"epoch {row['epoch']:.0f}/{epochs}",
        *losses,
        f"lr {row['lr']:.2e}",
        f"norm {row['grad_norm']:.2f}",
    ]
    if "mask/mAP50-95" in row:
        parts += [
            f"mask mAP50-95 {row['mask/mAP50-95']:.3f}",
            f"mAP50 {row['mask/mAP50']:.3f}",
            f"box {row['box/mAP50-95']:.3f}",
        ]
    speed = num_images / max(row["seconds/train"], 1e-9)
    parts += [f"{speed:.1f} img/s", f"left {duration(seconds_left)}"]
    if num_unreadable:
        parts.append(f"{num_unreadable} unreadable")
    return "  ".join(parts)


def print_end(
    console: Console, work_dir: Path, best: Path, metrics: Mapping[str, Any], seconds: float
) -> None:
    """Prints the metrics of the best model and where everything lies."""
    say(console, f"done in {duration(seconds)}; the best model by mask mAP50-95:")
    for kind in ("mask", "box"):
        values = [f"{key} {metrics[f'{kind}/{key}']:.3f}" for key in ("mAP50-95", "mAP50", "mAP75")]
        say(console, f"{kind:<10}{'  '.join(values)}")
    for name, values in metrics["per_class"].items():
        say(console, f"  {name}: mask mAP50-95 {values['mask/mAP50-95']:.3f}")
    say(console, f"{'weights':<10}{best}")
    say(console, f"{'metrics':<10}{work_dir / 'metrics.json'}")
    say(console, f"{'report':<10}{work_dir / 'report.html'}")
    say(console, f"{'results':<10}{work_dir}")


def print_interrupted(console: Console, epochs: int, last: Path) -> None:
    """Prints what an interrupted run left and how to go on."""
    if not last.is_file():
        say(console, "interrupted before the first epoch")
        return
    epoch = load_checkpoint(last)["epoch"]
    say(console, f"interrupted: {last} holds the state after epoch {epoch} of {epochs}")
    say(console, f"continue with --resume {last.parent.parent}")
