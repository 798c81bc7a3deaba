"""What a page shows, made without any network: moved, swapped and invented predictions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crispmask.data.coco import coco_ground_truth
from crispmask.data.index import DatasetIndex
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec
from crispmask.engine.page import Contents
from crispmask.geometry.raster import rasterise
from crispmask.metrics.coco import measure
from crispmask.metrics.comparison import compare
from crispmask.types import Instances

HEADER = (
    "epoch,train/class,train/box,train/mask,train/total,lr,grad_norm,mask/mAP50-95,mask/mAP50,"
    "mask/mAP75,box/mAP50-95,box/mAP50,seconds/train,seconds/val,memory_mb\n"
)


def write_results_csv(path: Path, epochs: int) -> Path:
    rows = []
    for epoch in range(1, epochs + 1):
        done = epoch / max(epochs, 20)
        ap = [f"{top * (1 - np.exp(-4 * done)):.4f}" for top in (0.5, 0.8, 0.55, 0.45, 0.82)]
        losses = [0.9 * 0.3**done, 0.7 * 0.4**done, 1.1 * 0.5**done]
        values = [*losses, sum(losses), 0.004 * (1 - done), 40 * 0.1**done]
        ap = ap if epoch % 2 == 0 or epoch == epochs else [""] * 5
        numbers = [*(f"{value:.5g}" for value in values), *ap, "12.5", "3.5", "1900"]
        rows.append(",".join([str(epoch), *numbers]))
    path.write_text(HEADER + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def invent_predictions(
    index: DatasetIndex, num_classes: int, seed: int = 0
) -> list[dict[str, Any]]:
    """Rows of a COCO results file, right for the most part."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for i in range(len(index)):
        size = index.size(i)
        polygons, labels = index.annotation(i, size)
        masks, classes, scores = [], [], []
        for mask, label in zip(rasterise(polygons, size), labels.tolist(), strict=True):
            reach = max(1, round(np.sqrt(mask.sum()) / 8))
            for _ in range(rng.integers(0, 3)):
                masks.append(np.roll(mask, rng.integers(-reach, reach + 1, 2), axis=(0, 1)))
                wrong = rng.random() < 0.15
                classes.append(int(rng.integers(num_classes)) if wrong else label)
                scores.append(rng.beta(2, 3) if wrong else rng.beta(4, 2))
        if rng.random() < 0.5:
            blob = np.zeros(size, dtype=bool)
            y, x = rng.integers(0, size[0] // 2), rng.integers(0, size[1] // 2)
            blob[y : y + size[0] // 5, x : x + size[1] // 5] = True
            masks, classes = [*masks, blob], [*classes, int(rng.integers(num_classes))]
            scores.append(rng.beta(2, 4))
        order = np.argsort(-np.array(scores), kind="stable").tolist()
        boxes = [_box(masks[j]) for j in order]
        found = Instances(
            scores=np.array([scores[j] for j in order], dtype=np.float32),
            labels=np.array([classes[j] for j in order], dtype=np.int64),
            boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
            masks=np.array([masks[j] for j in order], dtype=bool).reshape(-1, *size),
        )
        rows += found.to_coco(i + 1)
    return rows


def _box(mask: np.ndarray) -> list[int]:
    ys, xs = np.nonzero(mask)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else [0, 0, 0, 0]


def page_contents(
    data: Path,
    results: Path | None = None,
    names: tuple[str, ...] | None = None,
    predicted: bool = True,
    **more: Any,
) -> Contents:
    """The page of the validation split of a dataset.

    Args:
        data: data.yaml.
        results: results.csv, if it is the page of a run.
        names: in place of the class names of the dataset.
        predicted: whether anything was found.
        more: further fields of `Contents`.
    """
    spec = read_spec(data)
    splits: Mapping[str, DatasetIndex] = {
        "train": build_index(spec.train, len(spec.names), workers=0),
        "val": build_index(spec.val, len(spec.names), workers=0),
    }
    names = names or spec.names
    rows = invent_predictions(splits["val"], len(spec.names)) if predicted else []
    comparison = compare(coco_ground_truth(splits["val"], names), rows, len(names))
    usual: dict[str, Any] = {
        "title": "rtmdet-ins_tiny",
        "subtitle": f"best model on the validation split of {data}",
        "command": f"crispmask train --data {data} --architecture rtmdet-ins --model tiny",
        "config": "architecture: rtmdet-ins\nepochs: 20\n",
        "facts": {"training": "4:10 in 20 epochs", "crispmask": "0.1.0"},
    }
    return Contents(
        metrics=measure(comparison, names),
        predictions=rows,
        comparison=comparison,
        measured="val",
        splits=splits,
        results=results,
        **{**usual, **more},
    )
