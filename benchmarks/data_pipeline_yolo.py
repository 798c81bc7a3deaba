"""The side of Ultralytics in data_pipeline.py: run by its own Python, imports nothing of ours.

Its dataset class with its defaults, but for the rotation of 2 degrees that crispmask has.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from ultralytics.cfg import get_cfg
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_det_dataset

BATCH = 8


def main(data: str, imgsz: int, cache: str) -> None:
    torch.set_num_threads(1)
    spec = check_det_dataset(data)
    dataset = YOLODataset(
        img_path=spec["train"],
        data=spec,
        task="segment",
        imgsz=imgsz,
        augment=True,
        hyp=get_cfg(overrides={"degrees": 2.0}),
        batch_size=BATCH,
        cache="ram" if cache == "ram" else False,
    )
    order = shuffled(len(dataset))
    for line in sys.stdin:
        start = time.process_time()
        for _ in range(int(line) // BATCH):
            dataset.collate_fn([dataset[next(order)] for _ in range(BATCH)])
        print("answer", time.process_time() - start, flush=True)


def shuffled(count: int) -> Iterator[int]:
    rng = np.random.default_rng(0)
    while True:
        yield from rng.permutation(count).tolist()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
