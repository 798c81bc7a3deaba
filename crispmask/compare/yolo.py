"""YOLO rows: trained and run by the command `yolo` of the package ultralytics.

That package is a program of its own, under AGPL-3.0 or a licence of its authors: nothing of it is
imported here, and it may be installed in another environment. It works on a copy of the dataset,
because it writes beside labels and repairs image files in place.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crispmask.atomic import replacing
from crispmask.compare.config import CompareConfig, Row
from crispmask.compare.jobs import Job, JobError
from crispmask.compare.score import Training
from crispmask.config import DecodeConfig, TrainConfig
from crispmask.data.coco import write_json_atomic
from crispmask.data.index import DatasetIndex
from crispmask.data.rings import format_label_line
from crispmask.data.spec import DatasetSpec
from crispmask.engine.annotations import FINGERPRINT, difference, fingerprint
from crispmask.engine.learning_rate import formula_lr
from crispmask.engine.optim import OptimizerName
from crispmask.engine.resolve import WEIGHT_DECAY, epochs_without_mosaic

BATCH = 10
"""Images per step where none is given: that of the smallest RTMDet-Ins."""

NO_COUNTERPART = (
    "brightness and contrast, weight decay not on norms and biases, clipping at another norm, "
    "warmup from 2 %, averaging with another horizon"
)
"""What the matched recipe sets and `yolo` has no setting for."""


def copy_dataset(spec: DatasetSpec, splits: Mapping[str, DatasetIndex], out: Path) -> Path:
    """Copies a dataset for `yolo`; returns its data.yaml.

    An image is called as its id in our ground truth, so that predictions need no names. Labels
    have every part and hole, in the form that also readers of one outline understand.

    Args:
        spec: the dataset.
        splits: train and val.
        out: folder to write; one that is complete is kept.

    Raises:
        JobError: it holds a copy of another dataset.
    """
    file = out / "data.yaml"
    content = fingerprint(dict(splits), spec.names)
    _check_copy(out, content)
    if file.is_file():
        return file
    out.mkdir(parents=True, exist_ok=True)
    write_json_atomic(out / FINGERPRINT, content)  # first: also half a copy says of what
    for split, index in splits.items():
        for kind in ("images", "labels"):
            (out / kind / split).mkdir(parents=True, exist_ok=True)
        for i in range(len(index)):
            source = index.path(i)
            shutil.copyfile(source, out / "images" / split / f"{i + 1:06d}{source.suffix.lower()}")
            polygons, labels = index.annotation(i, index.size(i))
            rows = [
                format_label_line(int(label), parts, index.size(i))
                for label, parts in zip(labels, polygons, strict=True)
            ]
            text = "".join(f"{row}\n" for row in rows if row)
            (out / "labels" / split / f"{i + 1:06d}.txt").write_text(text, encoding="utf-8")
    names = "".join(
        f"  {i}: {json.dumps(name, ensure_ascii=False)}\n" for i, name in enumerate(spec.names)
    )
    text = f"path: {json.dumps(str(out.resolve()))}\ntrain: images/train\nval: images/val\n"
    with replacing(file) as partial:  # last: it marks the copy complete
        partial.write_text(f"{text}names:\n{names}", encoding="utf-8")
    return file


def _check_copy(out: Path, content: dict[str, Any]) -> None:
    """Compares what a folder holds a copy of, if it does, with what it shall hold."""
    if (out / FINGERPRINT).is_file():
        before = json.loads((out / FINGERPRINT).read_text(encoding="utf-8"))
        changed = difference(before, content)
    else:  # a version before this one did not note it
        changed = "it does not say of which" if (out / "data.yaml").is_file() else ""
    if changed:
        raise JobError(
            f"{out} holds a copy of another dataset ({changed}); name another --out, "
            "or delete that folder and those of the YOLO rows"
        )


def _dataset_key(data: Path) -> str:
    """A short name of the content of a copy: trainings on another one are other trainings."""
    return hashlib.sha256(data.with_name(FINGERPRINT).read_bytes()).hexdigest()[:12]


def yolo_settings(
    config: CompareConfig, train: TrainConfig, num_classes: int, model: str, seed: int
) -> dict[str, Any]:
    """The settings of `yolo segment train` that match a training of ours.

    Args:
        config: the comparison.
        train: our settings, with their recipe.
        num_classes: of the dataset, for the learning rate.
        model: such as yolo11n-seg.
        seed: of this training.
    """
    batch = BATCH if config.batch == "auto" else config.batch
    settings: dict[str, Any] = {
        "model": f"{model}.{'yaml' if config.weights == 'none' else 'pt'}",
        "epochs": config.epochs,
        "batch": batch,
        "imgsz": config.imgsz,
        "workers": config.workers,
        "seed": seed,
        "patience": train.patience or config.epochs,
        "plots": False,
    }
    if config.device != "auto":
        settings["device"] = config.device.removeprefix("cuda:")
    if train.precision in ("32", "bf16"):
        settings["amp"] = False
    if config.recipe != "matched":
        return settings
    lr = formula_lr(num_classes) if train.lr == "auto" else train.lr
    optimizer: OptimizerName = "adamw" if train.optimizer == "adamw" else "sgd"
    decay = WEIGHT_DECAY[optimizer] if train.weight_decay == "auto" else train.weight_decay
    augment = train.augment
    return {
        **settings,
        "optimizer": {"adamw": "AdamW", "sgd": "SGD"}[optimizer],
        "lr0": round(lr, 6),
        "lrf": train.final_lr,
        "cos_lr": train.schedule == "cosine",
        "momentum": train.momentum,
        "weight_decay": decay,
        "warmup_epochs": min(train.warmup_epochs, config.epochs - 1),
        "warmup_momentum": train.momentum,
        "warmup_bias_lr": round(lr * train.warmup_start, 8),
        "nbs": train.nominal_batch or batch,
        "close_mosaic": epochs_without_mosaic(train),
        "mosaic": augment.mosaic,
        "mixup": augment.mixup,
        "copy_paste": augment.copy_paste,
        "hsv_h": augment.hsv_h,
        "hsv_s": augment.hsv_s,
        "hsv_v": augment.hsv_v,
        "degrees": augment.degrees,
        "translate": augment.translate,
        "scale": augment.scale,
        "shear": augment.shear,
        "perspective": augment.perspective,
        "fliplr": augment.fliplr,
        "flipud": augment.flipud,
    }


def yolo_job(
    config: CompareConfig,
    row: Row,
    data: Path,
    settings: Mapping[str, Any],
    seed: int,
    folder: Path,
) -> Job:
    """The training of a YOLO row on the copy of the dataset."""
    command = [config.yolo, "segment", "train"]
    words = [f"{key}={value}" for key, value in settings.items()]
    place = [f"project={folder.resolve()}", "name=run", "exist_ok=True"]

    def go_on() -> Sequence[str] | None:
        last = folder / "run" / "weights" / "last.pt"
        return [*command, "resume=True", f"model={last.resolve()}"] if last.is_file() else None

    return Job(
        f"{row.name}, seed {seed}",
        folder,
        {"command": "yolo segment train", "words": words, "dataset": _dataset_key(data)},
        [*command, f"data={data.resolve()}", *words, *place],
        go_on,
        yolo_environment(folder),
        shows=_epoch_line,
    )


def _epoch_line(line: str) -> str | None:
    """Epoch and losses, when the bar of an epoch is full."""
    found = re.match(r"(\d+/\d+)\s+\S+\s+([\d.\s]+?)\s+\d+: 100%.*(\d+)/\3 ", line)
    return f"epoch {found[1]}  losses {'  '.join(found[2].split()[:4])}" if found else None


def yolo_environment(folder: Path) -> dict[str, str]:
    """Keeps `yolo` from changing the settings of the user and from installing packages."""
    settings = folder.resolve() / "settings"
    settings.mkdir(parents=True, exist_ok=True)
    return {"YOLO_CONFIG_DIR": str(settings), "YOLO_AUTOINSTALL": "false"}


def read_training(folder: Path) -> Training:
    """What results.csv of `yolo` says; validation is part of its time."""
    path = folder / "run" / "results.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            {key.strip(): value.strip() for key, value in row.items()}
            for row in csv.DictReader(file)
        ]
    curve = [(int(row["epoch"]), float(row["metrics/mAP50-95(M)"])) for row in rows]
    # Its best checkpoint is that of the best sum of both.
    sums = [float(r["metrics/mAP50-95(M)"]) + float(r["metrics/mAP50-95(B)"]) for r in rows]
    return Training(
        weights=folder / "run" / "weights" / "best.pt",
        best_epoch=curve[sums.index(max(sums))][0] if sums else None,
        epoch_seconds=float(rows[-1]["time"]) / len(rows) if rows else 0.0,
        gpu_memory_mb=_gpu_memory(folder / "log.txt"),
        curve=curve,
    )


def _gpu_memory(log: Path) -> float | None:
    """The largest memory of the lines of an epoch, which say it in GB."""
    text = log.read_text(encoding="utf-8") if log.is_file() else ""
    most = max(map(float, re.findall(r"\d+/\d+\s+([\d.]+)G\s", text)), default=0.0)
    return most * 1000 or None


def predict_job(config: CompareConfig, row: Row, data: Path, seed: int, folder: Path) -> Job:
    """The predictions of the best checkpoint for the validation split, at native resolution."""
    weights = folder / "run" / "weights" / "best.pt"
    words = [
        *(f"imgsz={config.imgsz}", "batch=1", "save_json=True", "plots=False"),
        *("conf=0.001", f"max_det={DecodeConfig.max_det}"),
    ]
    if config.device != "auto":
        words.append(f"device={config.device.removeprefix('cuda:')}")
    place = [f"project={folder.resolve()}", "name=found", "exist_ok=True"]
    return Job(
        f"predictions of {row.name}, seed {seed}",
        folder / "predict",
        {"command": "yolo segment val", "words": words, "dataset": _dataset_key(data)},
        [
            *(config.yolo, "segment", "val", f"model={weights.resolve()}"),
            *(f"data={data.resolve()}", *words, *place),
        ],
        environment=yolo_environment(folder),
    )


_SUMMARY = re.compile(r"([\d,]+) parameters, [\d,]+ gradients(?:, ([\d.]+) GFLOPs)?")
_SPEED = re.compile(r"Speed: (.*) per image")


def read_prediction_log(path: Path) -> dict[str, float]:
    """Parameters, GFLOPs and milliseconds per image that `yolo segment val` printed."""
    text = path.read_text(encoding="utf-8")
    found: dict[str, float] = {}
    if summary := _SUMMARY.search(text):
        found["parameters"] = int(summary[1].replace(",", "")) / 1e6
        if summary[2]:
            found["gflops"] = float(summary[2])
    if speed := _SPEED.search(text):
        stages = re.findall(r"([\d.]+)ms (preprocess|inference|postprocess)", speed[1])
        parts = {name: float(ms) for ms, name in stages}
        if len(parts) == 3:
            found["latency_ms"] = sum(parts.values())
    return found


def predictions_of(folder: Path) -> Path:
    """The results file that `predict_job` left, with the ids of our ground truth alone.

    Raises:
        JobError: there is none.
    """
    path = folder / "found" / "predictions.json"
    if not path.is_file():
        raise JobError(f"{path}: yolo wrote no predictions; see {folder / 'predict' / 'log.txt'}")
    rows = json.loads(path.read_text(encoding="utf-8"))
    for row in rows:
        row.pop("file_name", None)  # of the copy; its number is the id
    write_json_atomic(folder / "yolo_predictions.json", rows)
    return folder / "yolo_predictions.json"
