from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from crispmask.data.images import read_image
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec

COUNTS = {
    ("facade3", "train"): (217, [261, 422, 105]),
    ("facade3", "val"): (99, [124, 271, 54]),
    ("nuts", "train"): (12, [44, 25, 32]),
    ("nuts", "val"): (6, [27, 16, 21]),
}


@pytest.mark.real
@pytest.mark.skipif(
    "CRISPMASK_DATA" not in os.environ, reason="CRISPMASK_DATA names no folder of datasets"
)
@pytest.mark.parametrize(("name", "split"), COUNTS)
def test_counts_are_those_of_the_source(name: str, split: str) -> None:
    spec = read_spec(Path(os.environ["CRISPMASK_DATA"]) / name)
    index = build_index(getattr(spec, split), len(spec.names))
    num_images, num_instances = COUNTS[name, split]
    assert len(index) == num_images
    assert np.bincount(index.labels, minlength=3).tolist() == num_instances
    assert read_image(index.path(0)).shape[:2] == index.size(0)
