from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crispmask.errors import ConfigError
from crispmask.inference.settings import Settings


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (64, 64),
        (np.int64(64), 64),
        ((64, 96), (64, 96)),
        ([64, 96], (64, 96)),
        (np.array([64, 96]), (64, 96)),
        (None, None),
    ],
)
def test_sizes_become_plain_numbers(given: Any, plain: object) -> None:
    found = Settings(imgsz=given).imgsz
    assert found == plain
    assert all(type(x) is int for x in (found if isinstance(found, tuple) else (found or 0,)))


@pytest.mark.parametrize("wrong", [0, 31, (0, 0), (640, 31), 64.0, (1, 2, 3), "auto"])
def test_sizes_that_cannot_be(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="--imgsz"):
        Settings(imgsz=wrong)


def test_labels_may_be_numbers_of_numpy() -> None:
    names = ("nut", "bolt", "7")
    wanted = [np.int64(1), 0, "7", "1", "nut"]
    assert Settings(classes=wanted).labels(names) == (1, 0, 2, 1, 0)
    with pytest.raises(ConfigError, match="--classes 3: the model has 3 classes"):
        Settings(classes=[np.int64(3)]).labels(names)
