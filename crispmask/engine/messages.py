"""The lines a run prints: what is about to happen, each epoch, what came out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from crispmask.config import TrainConfig
from crispmask.engine.callback import TrainEnd, TrainStart
from crispmask.engine.checkpoint import load_checkpoint
from crispmask.engine.device import describe_device
from crispmask.engine.progress import duration, say
from crispmask.engine.resolve import Settings
from crispmask.engine.run import Run


def start_rows(event: TrainStart) -> dict[str, str]:
    """What is going to be trained, on what and where, by the word before each row."""
    config, num_classes = event.config, len(event.names)
    optimizer = {"sgd": "SGD", "adamw": "AdamW"}[config.optimizer]
    flops = "" if event.flops is None else f"{event.flops / 1e9:.0f} GFLOPs per image, "
    length = f"{config.time:g} hours" if config.time else f"{config.epochs} epochs"
    rows = {
        "model": f"{config.architecture} {config.model}, {event.num_parameters / 1e6:.1f} M "
        f"parameters, {flops}{num_classes} class{'es' if num_classes > 1 else ''}",
        "backbone": _backbone(config),
        "weights": event.weights,
        "data": config.data,
        "images": f"{len(event.train)} to train with {event.train.num_instances()} instances, "
        f"{len(event.val)} to validate with {event.val.num_instances()}",
        "device": event.device,
        "training": f"{length}, batch {config.batch}, {config.imgsz} px, "
        f"recipe {config.recipe}, {optimizer}, weight decay {config.weight_decay:g}",
        "rate": f"{config.lr:.4g} ({event.lr_reason})",
        "results": str(event.work_dir),
    }
    if config.class_weights != "none":
        rows["classes"] = f"weights {config.class_weights}"
    return rows


def describe_devices(settings: Settings, run: Run) -> str:
    """Devices and arithmetic of a run in words."""
    parts = (
        describe_device(run.fabric.device),
        settings.ranks.describe(),
        "batch norms synchronised" if settings.sync_bn else "",
        f"precision {settings.config.precision}",
    )
    return ", ".join(filter(None, parts))


def _backbone(config: TrainConfig) -> str:
    """The backbone and what is special about its training."""
    parts = [config.backbone]
    if config.freeze:
        stages = "stage" if config.freeze == 1 else f"{config.freeze} stages"
        parts.append(f"stem and first {stages} frozen")
    if config.norm_eval:
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


def print_end(console: Console, event: TrainEnd) -> None:
    """Prints the metrics of the best model, class by class, and where everything lies."""
    metrics = event.metrics
    say(console, f"done in {duration(event.seconds)}; the best model, of epoch {event.best_epoch}:")
    for kind in ("mask", "box"):
        values = [
            f"{key} {_figure(metrics[f'{kind}/{key}'])}" for key in ("mAP50-95", "mAP50", "mAP75")
        ]
        say(console, f"{kind:<10}{'  '.join(values)}")
    for line in class_table(metrics["per_class"]):
        say(console, line)
    say(console, f"{'weights':<10}{event.best_path}")
    say(console, f"{'metrics':<10}{event.work_dir / 'metrics.json'}")
    say(console, f"{'report':<10}{event.work_dir / 'report.html'}")
    say(console, f"{'results':<10}{event.work_dir}")


def class_table(per_class: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Lines of a table, a row for each class.

    Args:
        per_class: as in metrics.json.
    """
    columns = ("instances", "mask/mAP50-95", "mask/mAP50", "box/mAP50-95", "box/mAP50")
    heads = ("instances", "mask mAP50-95", "mAP50", "box mAP50-95", "mAP50")
    names = [
        name if len(name) <= 30 else f"{name[:29]}\N{HORIZONTAL ELLIPSIS}" for name in per_class
    ]
    width = max(map(len, ("class", *names)))
    lines = ["  ".join([f"{'class':<{width}}", *heads])]
    for name, values in zip(names, per_class.values(), strict=True):
        cells = [f"{values[c]:.0f}" if c == "instances" else _figure(values[c]) for c in columns]
        shown = [f"{cell:>{len(head)}}" for cell, head in zip(cells, heads, strict=True)]
        lines.append("  ".join([f"{name:<{width}}", *shown]))
    return lines


def _figure(value: float) -> str:
    """A metric; a dash where COCO has no answer, for want of instances."""
    return "-" if value < 0 else f"{value:.3f}"


def print_interrupted(console: Console, epochs: int, last: Path) -> None:
    """Prints what an interrupted run left and how to go on."""
    if not last.is_file():
        say(console, "interrupted before the first epoch")
        return
    epoch = load_checkpoint(last)["epoch"]
    say(console, f"interrupted: {last} holds the state after epoch {epoch} of {epochs}")
    say(console, f"continue with --resume {last.parent.parent}")
