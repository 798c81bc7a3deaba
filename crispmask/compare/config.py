"""What a comparison is made of. No torch here: `--help` stays fast."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crispmask.config import TrainConfig, check_val_fraction
from crispmask.errors import ConfigError
from crispmask.models.table import canonical_model, models_of


@dataclass(frozen=True)
class CompareConfig:
    """Train several models with one recipe, and score all with one evaluator."""

    data: str
    """Path to data.yaml."""
    models: str
    """Rows, with commas between: solov2-nano, rtmdet-ins-tiny, yolo11n-seg, or name=path of a
    checkpoint, an exported graph or a COCO results file."""
    val_fraction: float = TrainConfig.val_fraction
    """Fraction of the training images set aside to score on, where data.yaml names none."""
    epochs: int = TrainConfig.epochs
    """Passes over the training images."""
    batch: int | Literal["auto"] = "auto"
    """Images per step of every model; auto: the table's, 10 for YOLO."""
    imgsz: int = TrainConfig.imgsz
    """Longest image side given to the networks, pixels."""
    weights: Literal["imagenet", "coco", "none"] = "imagenet"
    """Starting weights; YOLO knows coco, which it also takes for imagenet, and none."""
    recipe: Literal["matched", "ultralytics", "native"] = "matched"
    """Recipe of our models; matched is told to YOLO, too, otherwise it keeps its defaults."""
    seeds: int = 1
    """Trainings of each model, with seeds 0, 1 ...: the table has their mean and spread."""
    train: str = ""
    """More flags of crispmask train for all trainings, as one text: "mosaic=0 val_interval=5"."""
    out: str = "runs/compare"
    """Folder of all runs and the report; what is finished there is not trained again."""
    device: str = "auto"
    """auto, cpu, mps, cuda, or a GPU number."""
    workers: int = TrainConfig.workers
    """Processes that load images."""
    pictures: int = 6
    """Validation images shown side by side."""
    yolo: str = "yolo"
    """The command of the package ultralytics, for YOLO rows; it may lie in another environment."""

    def __post_init__(self) -> None:
        rows_of(self.models)  # one that is wrong is told before anything is trained
        check_val_fraction(self.val_fraction)
        if self.seeds < 1:
            raise ConfigError(f"--seeds must be at least 1, not {self.seeds}")
        if self.epochs < 1:
            raise ConfigError(f"--epochs must be at least 1, not {self.epochs}")
        if self.batch != "auto" and self.batch < 1:
            raise ConfigError(f"--batch must be at least 1 or auto, not {self.batch}")
        if self.pictures < 0:
            raise ConfigError(f"--pictures must not be negative, not {self.pictures}")


Kind = Literal["ours", "yolo", "weights", "predictions"]
"""Trained by us, trained by Ultralytics, a checkpoint or graph, a results file."""


@dataclass(frozen=True, slots=True)
class Row:
    """A model of the comparison.

    Attributes:
        name: in tables, and of its folder.
        kind: where its predictions come from.
        architecture: of a model trained by us.
        model: its size, or the model of YOLO without suffix.
        path: of a file.
    """

    name: str
    kind: Kind
    architecture: str = ""
    model: str = ""
    path: Path = Path()

    @property
    def trained(self) -> bool:
        """Whether this comparison trains it."""
        return self.kind in ("ours", "yolo")


_YOLO = re.compile(r"yolo(v?\d+)[nslmx]-seg")
_GRAPHS = (".pt", ".pth", ".safetensors", ".onnx", ".xml")


def rows_of(models: str) -> list[Row]:
    """The rows that `--models` names.

    Raises:
        ConfigError: a row that is no model and no file, or two of one name.
    """
    rows = [_row(word.strip()) for word in models.split(",") if word.strip()]
    if not rows:
        raise ConfigError("--models needs at least one row, such as solov2-nano,rtmdet-ins-tiny")
    for row in rows:
        if [other.name for other in rows].count(row.name) > 1:
            raise ConfigError(f"--models has {row.name!r} twice; write another-name=path")
    return rows


def _row(word: str) -> Row:
    name, equals, text = word.rpartition("=")
    if not equals:
        for architecture in ("solov2", "rtmdet-ins"):
            model = word.removeprefix(f"{architecture}-")
            if canonical_model(architecture, model) in models_of(architecture):
                return Row(word, "ours", architecture, model)
        if _YOLO.fullmatch(word):
            return Row(word, "yolo", model=word)
    path = Path(text)
    suffix = path.suffix.lower()
    if suffix in _GRAPHS or suffix == ".json":
        if not path.is_file():
            raise ConfigError(f"--models: there is no file {path}")
        kind: Kind = "predictions" if suffix == ".json" else "weights"
        name = name or f"{path.parent.name}-{path.stem}".strip("-")
        if not re.fullmatch(r"[\w.+-]+", name):
            raise ConfigError(f"--models: {name!r} cannot be the name of a folder")
        return Row(name, kind, path=path)
    raise ConfigError(
        f"--models: {word!r} is no model and no file; write solov2-nano, rtmdet-ins-tiny "
        "(those of crispmask models), yolo11n-seg, or name=path of a .pt, .onnx or .json"
    )


def extra_words(config: CompareConfig) -> list[str]:
    """The flags of `--train`, one word each."""
    try:
        return shlex.split(config.train)
    except ValueError as error:
        raise ConfigError(f"--train: {error}") from error
