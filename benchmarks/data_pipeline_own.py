"""Our side of data_pipeline.py: answers with seconds, and with the time of each step."""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import crispmask.augment.paint as paint_module
import crispmask.augment.pipeline as pipeline_module
import crispmask.data.collate as collate_module
import crispmask.data.pixels as pixels_module
from crispmask.config import AugmentConfig
from crispmask.data.dataset import TrainDataset, TrainKey
from crispmask.data.pixel_fill import decode_to_memory
from crispmask.data.pixels import layout_of
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec

BATCH = 8
PAD = (114.0, 114.0, 114.0)


class Work:
    """Batches in the order of training."""

    def __init__(self, data: str, imgsz: int, cache: str) -> None:
        spec = read_spec(Path(data))
        self.index = build_index(spec.train, len(spec.names))
        pixels = None
        if cache == "ram":
            layout = layout_of(self.index, imgsz)
            pixels = decode_to_memory(self.index, imgsz, True, layout, lambda done: None)
        augment = AugmentConfig()
        self.dataset = TrainDataset(self.index, imgsz, augment, 0, 1_000_000, pixels=pixels)
        self.epoch = 0
        self.order: list[int] = []

    def batches(self, count: int) -> None:
        """Makes so many batches and forgets them."""
        for _ in range(count):
            while len(self.order) < BATCH:
                self.epoch += 1
                rng = np.random.default_rng(self.epoch)
                self.order += rng.permutation(len(self.index)).tolist()
            keys = [TrainKey(self.epoch, self.order.pop()) for _ in range(BATCH)]
            samples = list(self.dataset.batch(keys))
            sizes = [self.index.size(sample.index) for sample in samples]
            collate_module.collate(samples, 4, PAD, sizes)

    def steps(self, count: int) -> dict[str, float]:
        """Milliseconds per image of each step, of everything, and of the least there could be."""
        spent: dict[str, float] = defaultdict(float)
        watched = (
            (pixels_module, "read_image", "decode"),
            (pixels_module, "resize_image", "resize"),
            (pipeline_module, "paint", "warp"),
            (pipeline_module, "make_scene", "polygons"),
            (paint_module, "change_colours", "colour"),
            (collate_module, "rasterise", "rasterise"),
            (collate_module, "collate", "collate"),
        )
        kept = [(module, name, getattr(module, name)) for module, name, _ in watched]
        for (module, name, step), (_, _, function) in zip(watched, kept, strict=True):
            setattr(module, name, _timed(function, spent, step))
        start = time.process_time()
        self.batches(count)
        spent["sum"] = time.process_time() - start
        for module, name, function in kept:
            setattr(module, name, function)
        spent["collate"] -= spent["rasterise"]
        spent["warp"] -= spent["colour"]
        spent["rest"] = 2 * spent["sum"] - sum(spent.values())
        times = {step: 1000 * seconds / (count * BATCH) for step, seconds in spent.items()}
        times = dict.fromkeys(("decode", "resize"), 0.0) | times
        times["floor"] = floor(self.dataset.imgsz)
        return times


def _timed(function: Callable[..., Any], spent: dict[str, float], step: str) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent[step] += time.process_time() - start

    return timed


def floor(imgsz: int) -> float:
    """Milliseconds of one warp of the output and one table look-up of it."""
    image = np.random.default_rng(0).integers(0, 256, (imgsz, imgsz, 3)).astype(np.uint8)
    matrix = np.array([[1.01, 0.02, -3.5], [-0.02, 1.01, 4.5]])
    table = np.arange(256)[::-1].astype(np.uint8)
    times = []
    for _ in range(20):
        start = time.process_time()
        warped = cv2.warpAffine(image, matrix, (imgsz, imgsz), flags=cv2.INTER_LINEAR)
        cv2.LUT(warped, table)
        times.append(time.process_time() - start)
    return 1000 * float(np.median(times))


def main(data: str, imgsz: int, cache: str) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    work = Work(data, imgsz, cache)
    for line in sys.stdin:
        if line.strip() == "steps":
            print("answer", json.dumps(work.steps(8)), flush=True)
            continue
        start = time.process_time()
        work.batches(int(line) // BATCH)
        print("answer", time.process_time() - start, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
