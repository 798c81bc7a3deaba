"""Intervals from outcomes against evaluating resampled datasets from scratch."""

from __future__ import annotations

import copy
from typing import Any, Literal

import numpy as np
import pytest
from metric_cases import outcomes, random_case, row, square, truth_of

from crispmask.metrics.bootstrap import Interval, bootstrap, draw_images
from crispmask.metrics.coco import Summary, evaluate_coco
from crispmask.metrics.outcomes import Outcomes
from crispmask.metrics.weighted_ap import weighted_averages

NAMES = ("a", "b", "c")
KINDS: tuple[Literal["mask", "box"], ...] = ("mask", "box")


def resampled(
    truth: dict[str, Any], predictions: list[dict[str, Any]], counts: np.ndarray
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The dataset with each image as often as its count, copies next to each other."""
    images, annotations, rows = [], [], []
    for image, count in zip(truth["images"], counts.tolist(), strict=True):
        for _ in range(int(count)):
            images.append({**image, "id": len(images) + 1})
            for old, new in ((truth["annotations"], annotations), (predictions, rows)):
                for old_row in old:
                    if old_row["image_id"] == image["id"]:
                        new.append({**old_row, "image_id": len(images)})
    for i, annotation in enumerate(annotations):
        annotation["id"] = i + 1
    return {**truth, "images": images, "annotations": annotations}, rows


def assert_same(summary: Summary, matched: Outcomes, weights: np.ndarray) -> None:
    averages = weighted_averages(matched, weights[None])
    precision = averages.precision[0]

    def mean(values: np.ndarray) -> float:
        return float(values[values > -1].mean()) if (values > -1).any() else -1.0

    assert mean(precision) == pytest.approx(summary.map50_95, abs=1e-6)
    assert mean(precision[0]) == pytest.approx(summary.map50, abs=1e-6)
    assert mean(precision[5]) == pytest.approx(summary.map75, abs=1e-6)
    assert mean(averages.recall[0]) == pytest.approx(summary.ar[2], abs=1e-6)
    for label in range(len(NAMES)):
        assert mean(precision[:, label]) == pytest.approx(summary.class_ap[label], abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_equals_evaluating_resampled_datasets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predictions = random_case(rng)
    before = copy.deepcopy((truth, predictions))
    weights = np.concatenate([np.ones((1, 5)), draw_images(rng, 4, 5)])
    matched = {kind: outcomes(truth, predictions, kind) for kind in KINDS}
    for counts in weights:
        metrics = evaluate_coco(*resampled(truth, predictions, counts), NAMES)
        assert_same(metrics.mask, matched["mask"], counts)
        assert_same(metrics.box, matched["box"], counts)
    assert (truth, predictions) == before


@pytest.mark.parametrize("seed", range(8, 28))
def test_the_figure_itself_is_that_of_coco(seed: int) -> None:
    """Ties and shuffled image ids included, which resamples leave out."""
    rng = np.random.default_rng(seed)
    truth, predictions = random_case(rng, num_images=4)
    rng.shuffle(truth["images"])
    rng.shuffle(predictions)
    for prediction in predictions:
        prediction["score"] = round(prediction["score"], 1)
    metrics = evaluate_coco(truth, predictions, NAMES)
    for kind, summary in (("mask", metrics.mask), ("box", metrics.box)):
        found = bootstrap(outcomes(truth, predictions, kind), num_samples=20)
        assert found.map50_95.value == pytest.approx(summary.map50_95, abs=1e-6)
        assert found.map50.value == pytest.approx(summary.map50, abs=1e-6)
        assert found.map75.value == pytest.approx(summary.map75, abs=1e-6)
        assert found.ar100.value == pytest.approx(summary.ar[2], abs=1e-6)
        assert [i.value for i in found.class_ap] == pytest.approx(summary.class_ap.tolist())


def test_no_more_than_100_predictions_of_an_image_and_class_count() -> None:
    rng = np.random.default_rng(0)
    good = square(2, 2, 10, 10)
    annotations = [row(good, 0)]
    predictions = [
        row(square(int(rng.integers(12, 16)), 14, 6, 6), 0, score=0.5 + i / 1000)
        for i in range(100)
    ]
    predictions.append(row(good, 0, score=0.1))
    for count, expected in ((100, 0.0), (99, 1 / 100)):
        found = predictions[100 - count :]
        summary = evaluate_coco(truth_of(annotations, 1, 1), found, ("a",)).mask
        matched = outcomes(truth_of(annotations, 1, 1), found)
        interval = bootstrap(matched, num_samples=1).map50
        assert interval.value == pytest.approx(summary.map50, abs=1e-6)
        assert interval.value == pytest.approx(expected)


def test_intervals_are_percentiles_of_the_resamples() -> None:
    """Half of the images perfect, half without any prediction: AP varies like a binomial."""
    num_images = 60
    mask = square(2, 2, 10, 10)
    annotations = [row(mask, 0, i + 1) for i in range(num_images)]
    predictions = [row(mask, 0, i + 1, score=0.9 - i / 100) for i in range(0, num_images, 2)]
    matched = outcomes(truth_of(annotations, num_images, 1), predictions)
    found = bootstrap(matched, num_samples=800, seed=3)
    assert found.ar100.value == pytest.approx(0.5)
    # Recall is the mean of 60 draws of 0 or 1, so its standard error is known.
    error = (0.25 / num_images) ** 0.5
    assert found.ar100.low == pytest.approx(0.5 - 1.96 * error, abs=0.025)
    assert found.ar100.high == pytest.approx(0.5 + 1.96 * error, abs=0.025)
    assert found.map50.low < found.map50.value < found.map50.high


def test_the_seed_decides() -> None:
    truth, predictions = random_case(np.random.default_rng(2))
    matched = outcomes(truth, predictions)
    first = bootstrap(matched, num_samples=50, seed=1)
    assert first == bootstrap(matched, num_samples=50, seed=1)
    assert first != bootstrap(matched, num_samples=50, seed=2)


@pytest.mark.parametrize("num_images", [0, 2])
def test_without_instances_nothing_is_defined(num_images: int) -> None:
    predictions = [row(square(0, 0, 8, 8), 0, score=0.5)] if num_images else []
    found = bootstrap(outcomes(truth_of([], num_images, 2), predictions), 30)
    undefined = Interval(-1.0, -1.0, -1.0)
    assert (found.map50_95, found.map50, found.map75, found.ar100) == (undefined,) * 4


def test_without_predictions_everything_is_zero() -> None:
    truth = truth_of([row(square(0, 0, 8, 8), 0)], 1, 2)
    found = bootstrap(outcomes(truth, []), 30)
    assert (found.map50.value, found.map50.low, found.map50.high) == (0, 0, 0)
    assert found.class_ap[1].value == -1
