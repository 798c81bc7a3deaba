"""Masks at the size of the file from masks of the network: processor time of both steps.

    python benchmarks/masks.py

Smooth masks are disks, ragged ones noise that is smooth over four points of the coarse grid: an
untrained network has such masks. Runs are what is drawn, the array is what `instances.masks` holds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.geometry.enlarge import runs_of_soft_masks

SIZES = (((640, 640), (768, 768)), ((480, 640), (3000, 4000)))
"""(height, width) of the image in the input, and of the file."""


def smooth(num: int, side: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    disks = []
    for _ in range(num):
        radius, cy, cx = rng.uniform(0.05, 0.3), *rng.uniform(0.1, 0.9, 2)
        disks.append(radius * side - np.hypot(y - cy * side, x - cx * side))
    return np.stack(disks).astype(np.float32)


def ragged(num: int, side: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(num, side // 4, side // 4)).astype(np.float32)
    return np.stack([cv2.resize(x, (side, side), interpolation=cv2.INTER_CUBIC) for x in noise])


def milliseconds(call: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return float(np.median(times)) * 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--masks", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print("| masks | coarse grid | file | runs of a mask | runs, ms each | array, ms each |")
    print("|---|---|---|---|---|---|")
    for make in (smooth, ragged):
        for stride in (8, 4):
            for valid, original in SIZES:
                num = options.masks if original[0] < 1000 else max(1, options.masks // 10)
                soft, place = make(num, 640 // stride), (stride, valid, original)
                runs = runs_of_soft_masks(soft, 0.0, *place)
                each = np.mean([len(spans) for spans in runs.spans])
                drawn = milliseconds(lambda: runs_of_soft_masks(soft, 0.0, *place), options.rounds)  # noqa: B023  # called at once
                array = milliseconds(runs.dense, options.rounds)
                print(
                    f"| {make.__name__} | {640 // stride} | {original[1]} x {original[0]} | "
                    f"{each:.0f} | {drawn / num:.2f} | {array / num:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
