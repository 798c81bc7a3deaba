"""`evaluate_coco` against pycocotools, the implementation everyone compares with."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as pycoco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from crispmask.metrics.coco import evaluate_coco
from crispmask.metrics.confidence import Best

NAMES = ("cat", "dog", "bird")
KEYS = ("mAP50-95", "mAP50", "mAP75", "mAP_small", "mAP_medium", "mAP_large")
KEYS += ("AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large")  # the order of pycocotools


def encode(mask: np.ndarray) -> dict[str, Any]:
    rle = pycoco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}


def random_mask(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A rectangle or an ellipse, some with a hole, some touching the border."""
    height, width = size
    cy, cx = rng.uniform(0, height), rng.uniform(0, width)
    ry, rx = rng.uniform(1, 2 + height * 0.6), rng.uniform(1, 2 + width * 0.6)
    y, x = np.mgrid[:height, :width] + 0.5
    dy, dx = (y - cy) / ry, (x - cx) / rx
    distance = np.hypot(dx, dy) if rng.random() < 0.5 else np.maximum(abs(dx), abs(dy))
    mask = distance <= 1
    if rng.random() < 0.3:
        mask &= distance > 0.4
    return mask


def decoded_row(row: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    segmentation = row["segmentation"]
    if isinstance(segmentation, list):
        segmentation = pycoco_mask.merge(pycoco_mask.frPyObjects(segmentation, *size))
    return pycoco_mask.decode(segmentation).astype(bool)


def bounds(mask: np.ndarray) -> list[float]:
    return [float(v) for v in pycoco_mask.toBbox(encode(mask))]


def random_case(rng: np.random.Generator) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A small COCO file and predictions with ties, misses, duplicates, crowds, nothing at all."""
    images, annotations, predictions = [], [], []
    low, high = (1, 8) if rng.random() < 0.15 else (8, 160)
    size = (int(rng.integers(low, high)), int(rng.integers(low, high)))
    most = int(rng.choice([0, 1, 6]))
    copies = 60 if rng.random() < 0.05 else 3  # more than 100 of one class now and then
    for image_id in range(1, int(rng.integers(1, 5)) + 1):
        images.append({"id": image_id, "height": size[0], "width": size[1], "file_name": "a.jpg"})
        masks = [random_mask(rng, size) for _ in range(int(rng.integers(0, most + 1)))]
        for mask in masks:
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": int(rng.integers(1, 4)),
                "segmentation": encode(mask),
                "bbox": bounds(mask),
                "area": float(mask.sum()),
                "iscrowd": int(rng.random() < 0.1),
            }
            if rng.random() < 0.3 and not annotation["iscrowd"]:
                x, y, w, h = rng.uniform(0, 0.5, 4) * [size[1], size[0], size[1], size[0]]
                annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
                annotation["bbox"] = [x, y, w, h]
                annotation["area"] = w * h
            annotations.append(annotation)
        wrong = [random_mask(rng, size) for _ in range(int(rng.integers(0, most + 1)))]
        for mask in masks + wrong:
            for _ in range(int(rng.integers(0, copies))):
                shifted = np.roll(mask, rng.integers(-2, 3, 2), axis=(0, 1))
                box = np.array(bounds(shifted)) + rng.normal(0, rng.choice([0, 2]), 4)
                predictions.append(
                    {
                        "image_id": image_id,
                        "category_id": int(rng.integers(1, 4)),
                        # Few distinct values give ties; float32 is what models produce.
                        "score": float(np.float32(rng.choice([0.1, 0.5, 0.9, rng.random()]))),
                        "bbox": [float(v) for v in box.clip(0)],
                        "segmentation": encode(shifted),
                    }
                )
    if rng.random() < 0.1:
        predictions = []
    for prediction in predictions:  # the class is right most of the time
        same = [a for a in annotations if a["image_id"] == prediction["image_id"]]
        if same and rng.random() < 0.7:
            prediction["category_id"] = same[int(rng.integers(len(same)))]["category_id"]
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(NAMES)]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    return truth, predictions


def pycoco_result(
    truth: dict[str, Any], predictions: list[dict[str, Any]], kind: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """Stats and accumulated arrays of pycocotools from the files as they would be on disk."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco_truth = COCO()
        coco_truth.dataset = json.loads(json.dumps(truth))
        coco_truth.createIndex()
        if predictions:
            found = coco_truth.loadRes(json.loads(json.dumps(predictions)))
        else:  # pycocotools cannot load an empty list
            found = COCO()
            found.dataset = {**coco_truth.dataset, "annotations": []}
            found.createIndex()
        evaluation = COCOeval(coco_truth, found, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats, evaluation.eval


def assert_equal_to_pycocotools(truth: dict[str, Any], predictions: list[dict[str, Any]]) -> None:
    metrics = evaluate_coco(truth, predictions, NAMES)
    result = metrics.to_json()
    for prefix, kind in (("mask", "segm"), ("box", "bbox")):
        stats, arrays = pycoco_result(truth, predictions, kind)
        for key, value in zip(KEYS, stats, strict=True):
            assert result[f"{prefix}/{key}"] == pytest.approx(value, abs=1e-6), key
        precision = arrays["precision"][:, :, :, 0, 2]  # (T, R, K)
        for label, name in enumerate(NAMES):
            levels = {"mAP50-95": precision, "mAP50": precision[:1], "mAP75": precision[5:6]}
            levels["AR100"] = arrays["recall"][:, None, :, 0, 2]
            for key, all_values in levels.items():
                values = all_values[:, :, label]
                expected = values[values > -1].mean() if (values > -1).any() else -1
                got = result["per_class"][name][f"{prefix}/{key}"]
                assert got == pytest.approx(expected, abs=1e-6)
        if kind == "segm":
            curves, scores = metrics.curves, arrays["scores"][0, :, :, 0, 2]
            np.testing.assert_allclose(curves.precision50, precision[0].T, atol=1e-6)
            np.testing.assert_allclose(curves.precision75, precision[5].T, atol=1e-6)
            np.testing.assert_allclose(curves.scores50, scores.T, atol=1e-6)


@pytest.mark.parametrize("block", range(10))
def test_equals_pycocotools(block: int) -> None:
    for seed in range(block * 20, block * 20 + 20):
        assert_equal_to_pycocotools(*random_case(np.random.default_rng(seed)))


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_equals_pycocotools_thousands_of_times(block: int) -> None:
    for seed in range(1000 + block * 200, 1200 + block * 200):
        assert_equal_to_pycocotools(*random_case(np.random.default_rng(seed)))


def test_equals_pycocotools_with_more_than_100_predictions() -> None:
    rng = np.random.default_rng(3)
    truth, _ = random_case(np.random.default_rng(5))
    size = (truth["images"][0]["height"], truth["images"][0]["width"])
    predictions = []
    for _ in range(130):
        mask = random_mask(rng, size)
        predictions.append(
            {
                "image_id": 1,
                "category_id": 1,
                "score": float(rng.choice([0.2, 0.4])),
                "bbox": bounds(mask),
                "segmentation": encode(mask),
            }
        )
    assert_equal_to_pycocotools(truth, predictions)


def one_instance() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A perfect prediction of one dog of 40 x 40 pixels beside an empty image."""
    mask = np.zeros((64, 64), dtype=bool)
    mask[10:50, 10:50] = True
    images = [{"id": i, "height": 64, "width": 64, "file_name": f"{i}.jpg"} for i in (1, 2)]
    row = {"image_id": 1, "category_id": 2, "segmentation": encode(mask), "bbox": bounds(mask)}
    annotation = {**row, "id": 1, "area": 1600.0, "iscrowd": 0}
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(NAMES)]
    truth = {"images": images, "annotations": [annotation], "categories": categories}
    return truth, [{**row, "score": 0.75}]


def test_json_has_the_agreed_keys() -> None:
    result = evaluate_coco(*one_instance(), NAMES).to_json()
    expected = {f"{prefix}/{key}" for prefix in ("mask", "box") for key in KEYS}
    expected |= {f"best/{key}" for key in ("confidence", "F1", "precision", "recall")}
    expected |= {f"calibration/{key}" for key in ("ECE", "count", "expected", "observed")}
    assert set(result) == expected | {"per_class"}
    assert result["mask/mAP50-95"] == pytest.approx(1)
    assert result["box/mAP_medium"] == pytest.approx(1)
    assert result["mask/mAP_small"] == -1
    class_keys = [
        f"{prefix}/{key}"
        for prefix in ("mask", "box")
        for key in ("mAP50-95", "mAP50", "mAP75", "AR100")
    ]
    for name, value, count in (("cat", -1, 0), ("dog", 1, 1), ("bird", -1, 0)):
        expected_row = {**dict.fromkeys(class_keys, value), "instances": count}
        expected_row["best/confidence"] = 0.75 * count
        expected_row |= dict.fromkeys(("best/F1", "best/precision", "best/recall"), count)
        assert result["per_class"][name] == pytest.approx(expected_row)
    assert json.loads(json.dumps(result)) == result


def test_no_predictions() -> None:
    truth, _ = one_instance()
    metrics = evaluate_coco(truth, [], NAMES)
    result = metrics.to_json()
    assert result["mask/mAP50-95"] == 0
    assert result["mask/AR100"] == 0
    assert result["mask/mAP_large"] == -1
    assert metrics.confidence.best == Best(0, 0, 0, 0)
    assert metrics.calibration.error >= 0


@pytest.mark.parametrize("with_images", [True, False])
@pytest.mark.parametrize("with_predictions", [True, False])
def test_no_ground_truth(with_images: bool, with_predictions: bool) -> None:
    truth, predictions = one_instance()
    truth = {**truth, "annotations": [], "images": truth["images"] if with_images else []}
    found = predictions if with_predictions and with_images else []
    metrics = evaluate_coco(truth, found, NAMES)
    result = metrics.to_json()
    assert all(result[f"{prefix}/{key}"] == -1 for prefix in ("mask", "box") for key in KEYS)
    assert metrics.confidence.best == Best(0, 0, 0, 0)
    assert metrics.calibration.error >= 0


def test_arguments_stay_as_they_are(capfd: pytest.CaptureFixture[str]) -> None:
    truth, predictions = random_case(np.random.default_rng(11))
    assert truth["annotations"]
    assert predictions
    before = copy.deepcopy((truth, predictions))
    evaluate_coco(truth, predictions, NAMES)
    assert (truth, predictions) == before
    assert capfd.readouterr() == ("", "")
