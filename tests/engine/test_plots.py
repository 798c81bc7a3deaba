from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from crispmask.draw import class_colour
from crispmask.engine.plots import (
    batch_sheet,
    instances_sheet,
    plot_confusion,
    plot_f1_curve,
    plot_labels,
    plot_pr_curve,
    plot_results,
)
from crispmask.engine.plots.labels import normalised_boxes
from crispmask.engine.plots.results import last_best, read_results
from crispmask.engine.plots.style import shorten_name
from crispmask.metrics.coco import CocoMetrics, Summary
from crispmask.metrics.confidence import Judged, calibrate, confidence_curves
from crispmask.metrics.curves import PrecisionRecall
from crispmask.types import Batch, Instances, Targets

NAMES = ("cat", "a name that is much longer than anyone would want to read $x$", "bird")
HEADER = (
    "epoch,train/class,train/mask,train/total,lr,grad_norm,mask/mAP50-95,mask/mAP50,mask/mAP75,"
    "box/mAP50-95,box/mAP50,box/mAP75,seconds/train,seconds/val,memory_mb\n"
)


def assert_picture(path: Path) -> np.ndarray:
    """The picture, which is large enough to read and not blank."""
    picture = cv2.imread(str(path))
    assert picture is not None
    assert min(picture.shape[:2]) >= 64
    assert picture.std() > 1
    return picture


def test_importing_plots_does_not_load_matplotlib() -> None:
    code = "import sys, crispmask.engine.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "rows",
    [
        "",
        "1,1,1,2,0.001,5,0.1,0.2,0.1,0.1,0.2,0.1,9,2,1000\n",
        "1,1,1,2,0.001,5,,,,,,,9,,0\n2,1,1,2,0.001,500,-1,-1,-1,0,0,0,9,2,0\n3,nan,1,2,,inf\n",
    ],
    ids=["header only", "one epoch", "empty cells"],
)
def test_results(tmp_path: Path, rows: str) -> None:
    (tmp_path / "results.csv").write_text(HEADER + rows)
    plot_results(tmp_path / "results.csv", tmp_path / "results.png")
    assert_picture(tmp_path / "results.png")


def test_results_take_the_last_row_of_an_epoch(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("epoch, lr ,note\n1,3,a\n2,4,b\n2,5,\n")
    columns = read_results(tmp_path / "results.csv")
    np.testing.assert_array_equal(columns["epoch"], [1, 2])
    np.testing.assert_array_equal(columns["lr"], [3, 5])
    assert np.isnan(columns["note"]).all()


def test_the_last_of_equal_epochs_is_the_best() -> None:
    assert last_best(np.array([0.1, 0.5, np.nan, 0.5, 0.2, np.nan])) == 3


@dataclass
class Index:
    labels: np.ndarray
    crowd: np.ndarray
    image_offsets: np.ndarray
    part_offsets: np.ndarray
    point_offsets: np.ndarray
    points: np.ndarray


def index() -> Index:
    """Three images: a triangle and an instance without parts; nothing; two parts and a crowd."""
    triangle = [[0.1, 0.2], [0.5, 0.2], [0.3, 0.6]]
    squares = [[0.0, 0.0], [0.2, 0.0], [0.2, 0.2], [0.8, 0.8], [1.0, 0.8], [1.0, 1.0]]
    return Index(
        labels=np.array([0, 1, 2, 2]),
        crowd=np.array([False, False, False, True]),
        image_offsets=np.array([0, 2, 2, 4]),
        part_offsets=np.array([0, 1, 1, 3, 4]),
        point_offsets=np.array([0, 3, 6, 9, 12]),
        points=np.array(triangle + squares + triangle, dtype=np.float32),
    )


def empty_index(images: int) -> Index:
    none = np.zeros(0, dtype=np.int64)
    zero = np.zeros(1, dtype=np.int64)
    offsets = np.zeros(images + 1, dtype=np.int64)
    return Index(none, none.astype(bool), offsets, zero, zero, np.zeros((0, 2)))


def test_boxes_of_an_index() -> None:
    boxes, instances = normalised_boxes(index())
    np.testing.assert_allclose(boxes, [[0.1, 0.2, 0.5, 0.6], [0, 0, 1, 1]], atol=1e-6)
    np.testing.assert_array_equal(instances, [0, 2])  # one has no parts, one is a crowd
    assert normalised_boxes(empty_index(3))[0].shape == (0, 4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("num_images", [-1, 0, 5])
def test_labels(tmp_path: Path, num_images: int) -> None:
    dataset = index() if num_images < 0 else empty_index(num_images)
    plot_labels(dataset, NAMES, tmp_path / "labels.png")
    assert_picture(tmp_path / "labels.png")


@pytest.mark.filterwarnings("error")
def test_labels_of_a_large_dataset(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    count = 5000
    dataset = Index(
        labels=rng.integers(0, 200, count),
        crowd=rng.random(count) < 0.1,
        image_offsets=np.array([0, 100, count]),
        part_offsets=np.arange(count + 1),
        point_offsets=np.arange(count + 1) * 3,
        points=rng.random((count * 3, 2)),
    )
    plot_labels(dataset, [f"class {i}" for i in range(200)], tmp_path / "labels.png")
    assert_picture(tmp_path / "labels.png")


def metrics(num_classes: int, undefined: bool = False) -> CocoMetrics:
    recall = np.linspace(0, 1, 101)
    precision = np.tile(1 - recall**2, (num_classes, 1))
    precision[0] = -1
    if undefined:
        precision[:] = -1
    scores = np.where(precision > 0, 1 - recall, 0)
    none = np.zeros(num_classes)
    summary = Summary(0, 0, 0, (0, 0, 0), (0, 0, 0), (0, 0, 0), none, none, none, none)
    curves = PrecisionRecall(precision, precision / 2, scores)
    names = tuple((*NAMES, *(f"class {i}" for i in range(num_classes)))[:num_classes])
    count = none.astype(np.int64)
    judged = Judged(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, bool), count)
    confidence, calibration = confidence_curves(judged), calibrate(judged)
    return CocoMetrics(names, summary, summary, count, curves, confidence, calibration)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("num_classes", "undefined"), [(3, False), (80, False), (3, True)])
def test_pr_curve(tmp_path: Path, num_classes: int, undefined: bool) -> None:
    plot_pr_curve(metrics(num_classes, undefined), tmp_path / "curve.png")
    assert_picture(tmp_path / "curve.png")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("num_classes", [1, 3, 80])
@pytest.mark.parametrize("found", [0, 1, 500])
def test_f1_curve(tmp_path: Path, num_classes: int, found: int) -> None:
    rng = np.random.default_rng(0)
    scores = np.sort(rng.random(found))[::-1]
    judged = Judged(
        rng.integers(0, num_classes, found),
        scores,
        rng.random(found) < scores,
        np.arange(num_classes) * 5,
    )
    measured = replace(
        metrics(num_classes), confidence=confidence_curves(judged), calibration=calibrate(judged)
    )
    plot_f1_curve(measured, tmp_path / "curve.png")
    assert_picture(tmp_path / "curve.png")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("num_classes", [1, 3, 40, 200])
def test_confusion(tmp_path: Path, num_classes: int) -> None:
    names = [*NAMES, *(f"class {i}" for i in range(num_classes))][:num_classes]
    matrix = np.diag(np.arange(num_classes + 1))
    plot_confusion(matrix, names, tmp_path / "confusion.png")
    assert_picture(tmp_path / "confusion.png")


def batch(counts: tuple[int, ...]) -> Batch:
    """Black images of 48 x 64 pixels in a padding of 114; each mask is the top left corner."""
    images = torch.full((len(counts), 3, 64, 64), 114, dtype=torch.uint8)
    images[:, :, :48] = 0
    total = sum(counts)
    masks = torch.zeros((total, 16, 16), dtype=torch.bool)
    masks[:, :6, :6] = True
    targets = Targets(
        labels=torch.zeros(total, dtype=torch.int64),
        boxes=torch.tensor([[0.0, 0.0, 24.0, 24.0]]).repeat(total, 1),
        masks=masks,
        counts=counts,
        valid_sizes=((48, 64),) * len(counts),
        mask_stride=4,
    )
    indices = tuple(range(len(counts)))
    return Batch(images, targets, indices, original_sizes=((96, 128),) * len(counts))


def test_batch_sheet_shows_masks_without_padding(tmp_path: Path) -> None:
    batch_sheet(batch((1,)), (), tmp_path / "batch.jpg")
    sheet = assert_picture(tmp_path / "batch.jpg")[..., ::-1].astype(int)
    assert sheet.shape == (240 + 16, 320 + 16, 3)  # five times as large, to have room for tags
    np.testing.assert_allclose(sheet[8 + 100, 8 + 60], 0.42 * np.array(class_colour(0)), atol=16)
    assert sheet[8 + 200, 8 + 250].max() < 12  # beside the mask


@pytest.mark.parametrize("counts", [(0,), (2, 0, 1), (1,) * 6])
def test_batch_sheet(tmp_path: Path, counts: tuple[int, ...]) -> None:
    batch_sheet(batch(counts), NAMES, tmp_path / "batch.jpg", max_images=4)
    shown = min(len(counts), 4)
    columns = 2 if shown > 1 else 1
    rows = -(-shown // columns)
    sheet = assert_picture(tmp_path / "batch.jpg")
    assert sheet.shape == (rows * 248 + 8, columns * 328 + 8, 3)


def test_instances_sheet(tmp_path: Path) -> None:
    masks = np.zeros((2, 900, 1200), dtype=bool)
    masks[0, 100:300, 100:400] = True
    found = Instances(
        scores=np.array([0.9, 0.4], dtype=np.float32),
        labels=np.array([0, 2]),
        boxes=np.array([[100, 100, 400, 300], [0, 0, 0, 0]], dtype=np.float32),
        masks=masks,
        names=NAMES,
    )
    images = [np.full((900, 1200, 3), 90, dtype=np.uint8)] * 2
    instances_sheet(images, [found, found[[]]], tmp_path / "pred.jpg")
    assert assert_picture(tmp_path / "pred.jpg").shape == (480 + 16, 2 * 640 + 24, 3)


def test_sheet_of_no_images(tmp_path: Path) -> None:
    instances_sheet([], [], tmp_path / "pred.jpg")
    assert cv2.imread(str(tmp_path / "pred.jpg")) is not None


def test_long_names_are_shortened() -> None:
    assert shorten_name("cat") == "cat"
    assert len(shorten_name("x" * 50, 20)) == 20
    assert shorten_name("a$b") == r"a\$b"
