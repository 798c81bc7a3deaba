"""What convert writes, read by a program that knows one polygon per row and nothing of parts."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from crispmask.cli import main
from crispmask.data.paths import label_path
from crispmask.data.scan import build_index
from crispmask.data.scenes import write_sample_dataset
from crispmask.data.spec import read_spec
from crispmask.geometry.raster import rasterise

Outline = NDArray[np.float64]
"""(V, 2) in pixels."""


def plain_rows(file: Path, size: tuple[int, int]) -> list[Outline]:
    """Each row of a label file as one outline."""
    rows = [line.split()[1:] for line in file.read_text().splitlines()]
    return [np.array(row, dtype=np.float64).reshape(-1, 2) * (size[1], size[0]) for row in rows]


def filled(outline: Outline, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose centre has an odd number of edges to its left, one edge after the other."""
    crossed = np.zeros((size[0], size[1] + 1), dtype=bool)
    for (x1, y1), (x2, y2) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        first, end = sorted((int(np.ceil(y1 - 0.5)), int(np.ceil(y2 - 0.5))))
        rows = np.arange(first, end)
        if len(rows):
            x = x1 + (rows + 0.5 - y1) * ((x2 - x1) / (y2 - y1))
            columns = np.ceil(x - 0.5).clip(0, size[1]).astype(int)
            crossed[rows, columns] ^= True
    return np.logical_xor.accumulate(crossed, axis=1)[:, : size[1]]


def drawn(outlines: list[Outline], size: tuple[int, int]) -> NDArray[np.bool_]:
    """As OpenCV fills outlines, their edges a pixel wide."""
    canvas = np.zeros(size, dtype=np.uint8)
    cv2.fillPoly(canvas, [outline.round().astype(np.int32) for outline in outlines], 1)
    return canvas.astype(bool)


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def compare(data: Path, folder: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Converts to COCO and back, and compares every mask with its row read plainly.

    Returns:
        (N,) IoU with an exact filling; (M,) IoU of drawing one outline with drawing its rings,
        for instances of several rings.
    """
    assert main(["convert", f"data={data}", f"out={folder}"]) == 0
    exact, rough = [], []
    spec = read_spec(data)
    for split, paths in (("train", spec.train), ("val", spec.val)):
        file = folder / f"annotations/instances_{split}.json"
        words = [f"from_coco={file}", f"images={paths[0].parent}", f"out={folder / split}"]
        assert main(["convert", *words, "link=true"]) == 0
        index = build_index(paths, len(spec.names))
        written = read_spec(folder / split).train
        for i, path in enumerate(written):
            size = index.size(i)
            assert path.name == index.path(i).name
            polygons, _ = index.annotation(i, size)
            rows = plain_rows(label_path(path), size)
            for parts, mask, row in zip(polygons, rasterise(polygons, size), rows, strict=True):
                exact.append(iou(filled(row, size), mask))
                if len(parts) > 1:
                    rings = [part.astype(np.float64) for part in parts]
                    rough.append(iou(drawn([row], size), drawn(rings, size)))
    return np.array(exact), np.array(rough)


def test_holes_and_parts_through_bridges(tmp_path: Path) -> None:
    data = write_sample_dataset(tmp_path / "sample", num_images=6, imgsz=256, seed=2)
    exact, rough = compare(data, tmp_path / "out")
    assert len(rough) > 4
    assert exact.min() >= 0.999
    assert np.median(rough) > 0.98


@pytest.mark.real
@pytest.mark.skipif(
    "CRISPMASK_DATA" not in os.environ, reason="CRISPMASK_DATA names no folder of datasets"
)
@pytest.mark.parametrize("name", ["facade3", "nuts"])
def test_real_datasets(name: str, tmp_path: Path) -> None:
    data = Path(os.environ["CRISPMASK_DATA"]) / name / "data.yaml"
    exact, _ = compare(data, tmp_path / "out")
    assert len(exact) == {"facade3": 1237, "nuts": 165}[name]
    assert exact.min() >= 0.999
