"""`crispmask val`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table

from crispmask.cli.arguments import parse
from crispmask.cli.device import torch_device
from crispmask.cli.folders import free_folder
from crispmask.cli.progress import report_downloads, show_progress
from crispmask.config import check_val_fraction
from crispmask.errors import ConfigError
from crispmask.loading import is_graph

if TYPE_CHECKING:
    from crispmask.metrics.coco import CocoMetrics


@dataclass(frozen=True)
class ValConfig:
    """COCO mask and box metrics of a checkpoint, at the native resolution of the images."""

    data: str
    """Path to data.yaml."""
    weights: str = ""
    """Path of a checkpoint or an exported .onnx or .xml; or coco, with architecture and model."""
    predictions: str = ""
    """Instead of weights: a COCO results file of any program, with masks or boxes."""
    ids_of: str = ""
    """COCO annotation file whose image and category ids the predictions have; empty: see docs."""
    image_ids: Literal["auto", "ids", "names"] = "auto"
    """What image ids of predictions are that fit both `crispmask convert` and file names."""
    imgsz: int | Literal["auto"] = "auto"
    """Longest image side given to the network, pixels; auto: as trained."""
    split: Literal["train", "val", "test"] = "val"
    """Which images of the dataset."""
    val_fraction: float = 0.0
    """Fraction set aside where data.yaml names no val images; 0: as the checkpoint was trained."""
    batch: int = 8
    """Images per step."""
    workers: int = 4
    """Processes that load images; 0 loads in the main process."""
    out: str = "auto"
    """Folder of metrics.json and predictions.json; auto: runs/val, numbered if taken."""
    device: str = "auto"
    """auto, cpu, mps, cuda, or a GPU number."""
    architecture: str = ""
    """Of a checkpoint of MMDetection: solov2 or rtmdet-ins; empty: found by its tensors."""
    model: str = ""
    """Of a checkpoint of MMDetection: its layout, such as tiny or r50; empty: likewise."""

    def __post_init__(self) -> None:
        if bool(self.weights) == bool(self.predictions):
            raise ConfigError("val needs either --weights or --predictions")
        if self.imgsz != "auto" and self.imgsz < 32:
            raise ConfigError(f"--imgsz must be at least 32 or auto, not {self.imgsz}")
        check_val_fraction(self.val_fraction)
        if self.batch < 1:
            raise ConfigError(f"--batch must be at least 1, not {self.batch}")
        if self.workers < 0:
            raise ConfigError(f"--workers must not be negative, not {self.workers}")


def val(argv: Sequence[str], prog: str) -> int:
    """Measures a checkpoint or a results file and prints the metrics of each class."""
    config = parse(ValConfig, argv, prog)
    # A wrong path is told before torch is imported, which takes seconds.
    from crispmask.data.set_aside import with_val
    from crispmask.data.spec import read_spec

    spec = read_spec(config.data)
    if config.weights and config.split != "test" and not config.val_fraction and not spec.val:
        config = _as_trained(config)
    if config.split == "val":
        for note in with_val(spec, config.val_fraction).notes:
            print(note)
    out = free_folder(Path("runs/val")) if config.out == "auto" else Path(config.out)
    metrics = _score_file(config, out) if config.predictions else _run_model(config, out)
    print_metrics(metrics)
    print(f"results in {out}")
    return 0


def _as_trained(config: ValConfig) -> ValConfig:
    """The settings with the split of the run that wrote the checkpoint."""
    from crispmask.validate import trained_val_fraction

    fraction = trained_val_fraction(config.weights)
    if fraction:
        print(f"--val-fraction {fraction:g}, as {config.weights} was trained")
    return replace(config, val_fraction=fraction)


def _score_file(config: ValConfig, out: Path) -> CocoMetrics:
    from crispmask.validate import validate_predictions

    return validate_predictions(
        config.predictions,
        config.data,
        imgsz=None if config.imgsz == "auto" else config.imgsz,
        split=config.split,
        out=out,
        ids_of=config.ids_of or None,
        image_ids=config.image_ids,
        val_fraction=config.val_fraction,
        workers=config.workers,
    )


def _run_model(config: ValConfig, out: Path) -> CocoMetrics:
    from crispmask.models.download import Store
    from crispmask.validate import validate

    with show_progress() as progress:
        task = progress.add_task("validating", total=None)
        return validate(
            config.weights,
            config.data,
            imgsz=None if config.imgsz == "auto" else config.imgsz,
            split=config.split,
            out=out,
            batch=config.batch,
            workers=config.workers,
            device=config.device if is_graph(config.weights) else torch_device(config.device),
            architecture=config.architecture or None,
            model=config.model or None,
            val_fraction=config.val_fraction,
            store=Store(on_progress=report_downloads(progress)),
            on_batch=lambda num, total: progress.update(task, advance=num, total=total),
        )


def print_metrics(metrics: CocoMetrics) -> None:
    """Prints a table with a row for all classes and one for each."""
    table = Table()
    table.add_column("class")
    for name in ("instances", "mask mAP50-95", "mask mAP50", "box mAP50-95", "box mAP50"):
        table.add_column(name, justify="right")
    mask, box = metrics.mask, metrics.box
    table.add_row(
        "all",
        str(metrics.num_instances.sum()),
        *(_number(v) for v in (mask.map50_95, mask.map50, box.map50_95, box.map50)),
        end_section=True,
    )
    for label, name in enumerate(metrics.names):
        values = (mask.class_ap, mask.class_ap50, box.class_ap, box.class_ap50)
        table.add_row(name, str(metrics.num_instances[label]), *(_number(v[label]) for v in values))
    Console().print(table)


def _number(value: float) -> str:
    return "-" if value < 0 else f"{value:.3f}"  # COCO says -1 where nothing was annotated
