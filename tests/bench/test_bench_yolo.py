"""Decoding of YOLO graphs, on outputs made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from crispmask.bench.yolo import YoloForm


class FakeSession:
    """Returns the same rows and maps for every image."""

    def __init__(self, rows: NDArray[np.float32], maps: NDArray[np.float32]) -> None:
        self.outputs = [rows[None], maps[None]]
        self.inputs: list[NDArray[np.float32]] = []

    def run(self, names: None, feed: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        assert names is None
        self.inputs.append(feed["images"])
        return self.outputs


@pytest.fixture
def form() -> YoloForm:
    """Three places: a disk, the same a bit worse, the same as another class, with low scores."""
    maps = np.zeros((32, 16, 16), dtype=np.float32)
    y, x = np.mgrid[:16, :16] + 0.5
    maps[3] = 20 - (x - 8) ** 2 - (y - 8) ** 2
    rows = np.zeros((4 + 2 + 32, 4), dtype=np.float32)
    rows[:4] = np.array([[32, 32, 30, 40]] * 4).T
    rows[4:6] = [[0.9, 0.8, 0.0, 0.1], [0.0, 0.0, 0.5, 0.2]]
    rows[6 + 3] = 1
    form = YoloForm.__new__(YoloForm)
    form._session = FakeSession(rows, maps)
    form._input, form._size, form._conf, form._names = "images", (64, 64), 0.25, ("a", "b")
    return form


def test_instances(form: YoloForm) -> None:
    image = np.full((32, 64, 3), 255, dtype=np.uint8)
    instances, seconds = form.run(image)
    assert len(seconds) == 4
    np.testing.assert_allclose(instances.scores, [0.9, 0.5])  # the second place is suppressed
    assert instances.labels.tolist() == [0, 1]
    assert instances.boxes[0].tolist() == [17, 12, 47, 32]
    (x,) = form._session.inputs
    assert x.shape == (1, 3, 64, 64)
    assert x[0, 0, 0, 0] == 1
    np.testing.assert_allclose(x[0, 0, -1, -1], 114 / 255)


def test_masks_are_the_maps_inside_the_box(form: YoloForm) -> None:
    """At the size of the input: each pixel by its own, with bilinear weights written out."""
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    mask = form.run(image)[0].masks[0]
    maps = form._session.outputs[1][0, 3]
    inside = np.full((16, 16), -20.0)
    for row in range(16):
        for column in range(16):
            # The box is 17 to 47 and 12 to 52 input pixels, four of them to a map pixel.
            x, y = 4 * (column + 0.5), 4 * (row + 0.5)
            if 17 <= x <= 47 and 12 <= y <= 52:
                inside[row, column] = maps[row, column]
    for row in range(64):
        for column in range(64):
            y = min(max((row + 0.5) / 4 - 0.5, 0), 15)
            x = min(max((column + 0.5) / 4 - 0.5, 0), 15)
            i, j = min(int(y), 14), min(int(x), 14)
            v, u = y - i, x - j
            value = (1 - v) * ((1 - u) * inside[i, j] + u * inside[i, j + 1]) + v * (
                (1 - u) * inside[i + 1, j] + u * inside[i + 1, j + 1]
            )
            if abs(value) > 1e-3:
                assert mask[row, column] == (value > 0), (row, column)


def test_nothing(form: YoloForm) -> None:
    form._conf = 0.95
    instances, _ = form.run(np.zeros((20, 30, 3), dtype=np.uint8))
    assert instances.masks.shape == (0, 20, 30)
