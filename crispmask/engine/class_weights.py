"""How much each class counts in the classification loss.

Letters: K classes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from crispmask.config import TrainConfig
from crispmask.data.index import DatasetIndex
from crispmask.errors import ConfigError

LARGEST = 10.0
"""Largest weight `auto` gives: a class with a handful of instances shall not rule the rest."""


def check_class_weights(config: TrainConfig, num_classes: int) -> None:
    """Raises ConfigError if weights were given for another number of classes."""
    weights = config.class_weight_values()
    if weights is not None and len(weights) != num_classes:
        raise ConfigError(
            f"--class-weights holds {len(weights)} numbers, but the dataset has {num_classes} "
            "classes; give one for each of them, in the order of data.yaml"
        )


def resolve_class_weights(
    config: TrainConfig, train: DatasetIndex, num_classes: int
) -> TrainConfig:
    """The configuration with numbers in place of `auto`, three digits after the point."""
    if config.class_weights != "auto":
        return config
    counts = np.bincount(train.labels[~train.crowd], minlength=num_classes)
    weights = ",".join(f"{weight:.3f}" for weight in weights_of(counts))
    return replace(config, class_weights=weights)


def weights_of(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Weights that fall with the square root of how often a class occurs.

    w_k = s / sqrt(n_k), at most `LARGEST`, with s so that the mean over the instances,
    sum(n_k w_k) / sum(n_k), is 1 before that limit: the loss keeps its size. The root lies
    between no weights and inverse frequency, with which rare classes are found everywhere.
    A class without instances has 1.

    Args:
        counts: (K,) n_k, instances of each class.
    """
    present = counts > 0
    if not present.any():
        return np.ones(len(counts))
    root = np.sqrt(counts.astype(np.float64))
    scale = counts.sum() / root[present].sum()  # n_k / sqrt(n_k) = sqrt(n_k)
    return np.where(present, np.minimum(scale / np.maximum(root, 1e-12), LARGEST), 1.0)
