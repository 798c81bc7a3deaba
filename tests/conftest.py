"""What tests of several rooms use: small generated datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import pytest

from crispmask.geometry.raster import rasterise
from crispmask.types import Part, Size

COLOURS = np.array([[220, 60, 50], [60, 200, 80], [70, 90, 230], [230, 210, 60]], dtype=np.uint8)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests start first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.path.name != "test_overfit.py")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tests keep does not come into the cache folder of the user."""
    monkeypatch.setenv("CRISPMASK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


class MakeDataset(Protocol):
    def __call__(
        self,
        num_train: int = 6,
        num_val: int = 3,
        size: Size = (96, 128),
        classes: int = 3,
        with_background: bool = True,
        suffix: str = ".jpg",
        seed: int = 0,
        name: str = "dataset",
    ) -> Path: ...


@pytest.fixture
def yolo_dataset(tmp_path: Path) -> MakeDataset:
    """Writes coloured shapes on noise; returns the path of data.yaml.

    An image has one shape of each of up to three classes. With `with_background` the last
    image of each split that has more than one has no instance and no label file.
    """

    def make_dataset(
        num_train: int = 6,
        num_val: int = 3,
        size: Size = (96, 128),
        classes: int = 3,
        with_background: bool = True,
        suffix: str = ".jpg",
        seed: int = 0,
        name: str = "dataset",
    ) -> Path:
        folder = tmp_path / name
        rng = np.random.default_rng(seed)
        for split, count in (("train", num_train), ("val", num_val)):
            images, labels = folder / "images" / split, folder / "labels" / split
            images.mkdir(parents=True)
            labels.mkdir(parents=True)
            for i in range(count):
                image = rng.integers(90, 140, (*size, 3), dtype=np.uint8)
                background = with_background and count > 1 and i == count - 1
                rows = [] if background else _paint_shapes(image, classes, rng)
                ok, data = cv2.imencode(suffix, image[:, :, ::-1])
                assert ok
                data.tofile(images / f"{i:03d}{suffix}")
                if not background:
                    (labels / f"{i:03d}.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
        names = ", ".join(f"shape_{label}" for label in range(classes))
        file = folder / "data.yaml"
        file.write_text(f"train: images/train\nval: images/val\nnames: [{names}]\n", "utf-8")
        return file

    return make_dataset


def _paint_shapes(image: np.ndarray, classes: int, rng: np.random.Generator) -> list[str]:
    """Paints shapes side by side and returns their label rows."""
    height, width = image.shape[:2]
    labels = rng.permutation(classes)[:3].tolist()
    rows = []
    for column, label in enumerate(labels):
        radius = min(height, width / len(labels)) * rng.uniform(0.25, 0.45)
        x = width * (column + 0.5) / len(labels)
        y = rng.uniform(radius, height - radius)
        shape = _shape(label) * radius + (x, y)
        mask = rasterise(((shape.astype(np.float32),),), (height, width))[0]
        image[mask] = COLOURS[label % len(COLOURS)]
        points = (shape / (width, height)).ravel()
        rows.append(" ".join([str(label), *(f"{value:.6f}" for value in points)]))
    return rows


def _shape(label: int) -> Part:
    """Triangle, square, circle ... of radius one around the origin."""
    corners = (3, 4, 24)[label % 3]
    angle = np.arange(corners) * 2 * np.pi / corners
    return np.stack([np.sin(angle), -np.cos(angle)], axis=1).astype(np.float32)
