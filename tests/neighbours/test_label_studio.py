from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from crispmask.geometry.raster import rasterise
from crispmask.neighbours.label_studio import label_config, pack_mask
from crispmask.types import Instances


def unpack(packed: list[int]) -> NDArray[np.uint8]:
    """Reads the bytes bit by bit as the format says."""
    bits = "".join(f"{byte:08b}" for byte in packed)
    place = 0

    def read(count: int) -> int:
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    num, width = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < num:
        repeated = read(1)
        length = read(sizes[read(2)]) + 1
        if repeated:
            values += [read(width)] * length
        else:
            values += [read(width) for _ in range(length)]
    return np.array(values, dtype=np.uint8)


@pytest.mark.parametrize("density", [0.0, 0.1, 0.6, 1.0])
def test_packed_masks_come_back(density: float) -> None:
    rng = np.random.default_rng(0)
    mask = cv2.resize(rng.random((9, 11)).astype(np.float32), (190, 120)) < density
    rgba = unpack(pack_mask(mask)).reshape(120, 190, 4)
    for channel in range(4):
        np.testing.assert_array_equal(rgba[:, :, channel] == 255, mask)


def instances() -> Instances:
    masks = np.zeros((3, 80, 100), dtype=np.bool_)
    y, x = np.mgrid[:80, :100]
    masks[0] = (x - 40) ** 2 + (y - 40) ** 2 < 900
    masks[1] = ((x - 60) ** 2 + (y - 40) ** 2 < 400) & ((x - 60) ** 2 + (y - 40) ** 2 > 100)
    return Instances(
        scores=np.array([0.9, 0.8, 0.7], dtype=np.float32),
        labels=np.array([1, 0, 0]),
        boxes=np.zeros((3, 4), dtype=np.float32),
        masks=masks,
        names=("nut & bolt", "disk"),
    )


def test_tasks() -> None:
    found = instances()
    task = found.to_label_studio("photos/a.jpg")
    path = Path("photos/a.jpg").absolute().as_posix().lstrip("/")
    assert task["data"] == {"image": f"/data/local-files/?d={path}"}
    (prediction,) = task["predictions"]
    polygon, brush = prediction["result"]  # the empty mask has no region
    assert (polygon["type"], polygon["from_name"]) == ("polygonlabels", "polygon")
    assert polygon["value"]["polygonlabels"] == ["disk"]
    assert (polygon["original_width"], polygon["original_height"]) == (100, 80)
    points = np.array(polygon["value"]["points"], dtype=np.float32)
    assert len(points) < 60
    drawn = rasterise(((points * np.array([1.0, 0.8], dtype=np.float32),),), (80, 100))[0]
    both, either = (drawn & found.masks[0]).sum(), (drawn | found.masks[0]).sum()
    assert both / either > 0.95
    assert brush["value"]["brushlabels"] == ["nut & bolt"]
    rgba = unpack(brush["value"]["rle"]).reshape(80, 100, 4)
    np.testing.assert_array_equal(rgba[:, :, 3] == 255, found.masks[1])


def test_urls_stay() -> None:
    url = "http://127.0.0.1/a.jpg"
    assert instances().to_label_studio(url)["data"] == {"image": url}


def test_label_config_is_xml() -> None:
    root = ET.fromstring(label_config(("nut & bolt", 'a "b"')))
    for kind in ("PolygonLabels", "BrushLabels"):
        labels = root.findall(f"{kind}/Label")
        assert [label.get("value") for label in labels] == ["nut & bolt", 'a "b"']


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_thin_masks_stay_polygons(shape: tuple[int, int]) -> None:
    masks = np.zeros((1, 80, 100), dtype=np.bool_)
    masks[0, 20 : 20 + shape[0], 30 : 30 + shape[1]] = True
    found = Instances(np.ones(1, np.float32), np.zeros(1, np.int64), np.zeros((1, 4)), masks)
    (region,) = found.to_label_studio("a.jpg")["predictions"][0]["result"]
    points = np.array(region["value"]["points"]) * (1, 0.8)
    assert len(points) >= 3
    polygon = (points.astype(np.float32),)
    np.testing.assert_array_equal(rasterise((polygon,), (80, 100)), masks)
