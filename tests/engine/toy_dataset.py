"""A YOLO dataset of bright squares and triangles, written to disk."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def write_toy_dataset(
    root: Path, num_train: int = 6, num_val: int = 3, size: int = 64, classes: int = 1
) -> Path:
    """Writes images with one instance each and returns data.yaml."""
    rng = np.random.default_rng(0)
    for split, count in (("train", num_train), ("val", num_val)):
        images, labels = root / "images" / split, root / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for i in range(count):
            image = rng.integers(0, 60, (size, size + 16, 3), dtype=np.uint8)
            x, y = rng.integers(4, size // 2 - 4, 2)
            side = size // 2
            image[y : y + side, x : x + side] += 150
            cv2.imwrite(str(images / f"{i:03}.png"), image)
            corners = [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]
            row = " ".join(f"{a / (size + 16):.6f} {b / size:.6f}" for a, b in corners)
            (labels / f"{i:03}.txt").write_text(f"{i % classes} {row}\n")
    names = ", ".join(f"square{k}" for k in range(classes))
    data = root / "data.yaml"
    data.write_text(f"path: .\ntrain: images/train\nval: images/val\nnames: [{names}]\n")
    return data
