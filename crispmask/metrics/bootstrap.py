"""How far the figures of a split would vary if its images had been other ones.

Letters: B resamples, I images, K classes, T IoU levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crispmask.metrics.outcomes import Outcomes
from crispmask.metrics.weighted_ap import Averages, weighted_averages

_MOST_SAMPLES = 1000
_FEWEST_SAMPLES = 200
_MOST_WORK = 150_000_000
"""Resamples times predictions; more predictions get fewer resamples."""
_CHUNK = 4_000_000
"""Weights in memory at once."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and the 95 % interval around it; all -1 where the figure is undefined.

    Attributes:
        value: of the split itself.
        low: 2.5 % of the resamples are below.
        high: 2.5 % of the resamples are above.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Intervals:
    """Figures of one kind of overlap with their intervals.

    Attributes:
        map50_95: mean average precision over classes and IoU levels.
        map50: at IoU 0.50 alone.
        map75: at IoU 0.75 alone.
        ar100: mean recall.
        class_ap: AP of each class over all IoU levels.
        num_samples: resamples drawn.
    """

    map50_95: Interval
    map50: Interval
    map75: Interval
    ar100: Interval
    class_ap: tuple[Interval, ...]
    num_samples: int


def bootstrap(outcomes: Outcomes, num_samples: int | None = None, seed: int = 0) -> Intervals:
    """Percentile intervals from drawing as many images as there are, with replacement.

    The predictions stay as they are and so do their outcomes, which never cross images: a
    resample is a weight per image. A class without instances in a resample is left out of its
    means, as COCO does.

    Source: B. Efron, R. Tibshirani: An Introduction to the Bootstrap, 1993, the percentile
    interval.

    Args:
        outcomes: of a split.
        num_samples: resamples; None takes 1000, fewer if there are very many predictions.
        seed: of the draws.
    """
    if num_samples is None:
        affordable = _MOST_WORK // max(len(outcomes.scores), 1)
        num_samples = min(_MOST_SAMPLES, max(_FEWEST_SAMPLES, affordable))
    num_images = outcomes.num_images
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // max(num_images, len(outcomes.scores), 1))
    figures = [_figures(weighted_averages(outcomes, np.ones((1, num_images))))]
    for start in range(0, num_samples if num_images else 0, chunk):
        weights = draw_images(rng, min(chunk, num_samples - start), num_images)
        figures.append(_figures(weighted_averages(outcomes, weights)))
    table = np.concatenate(figures)  # (1 + B, 4 + K), the split itself first
    intervals = [_interval(column[0], column[1:]) for column in table.T]
    map50_95, map50, map75, ar100, *class_ap = intervals
    return Intervals(map50_95, map50, map75, ar100, tuple(class_ap), num_samples)


def draw_images(rng: np.random.Generator, count: int, num_images: int) -> NDArray[np.float64]:
    """(count, I) how often each image is drawn, I draws each."""
    share = np.full(num_images, 1 / num_images)
    return rng.multinomial(num_images, share, size=count).astype(np.float64)


def _figures(averages: Averages) -> NDArray[np.float64]:
    """(B, 4 + K): mAP50-95, mAP50, mAP75, AR100, and AP of each class; -1 if undefined."""
    precision, recall = averages.precision, averages.recall
    columns = [
        _mean(precision),
        _mean(precision[:, :1]),
        _mean(precision[:, 5:6]),
        _mean(recall),
        *(_mean(precision[:, :, label : label + 1]) for label in range(precision.shape[2])),
    ]
    return np.stack(columns, axis=1)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B,) means of the values (B, T, K) that are not -1; -1 if all are."""
    flat = values.reshape(len(values), -1)
    defined = flat > -1
    count = defined.sum(1)
    total = np.where(defined, flat, 0).sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), -1.0)


def _interval(value: float, samples: NDArray[np.float64]) -> Interval:
    samples = samples[samples > -1]
    if value < 0 or not len(samples):
        return Interval(float(value), -1.0, -1.0)
    low, high = np.percentile(samples, [2.5, 97.5])
    return Interval(float(value), float(low), float(high))
