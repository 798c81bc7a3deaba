"""Peak memory and time of the instances of one large image, from soft masks to files.

    python benchmarks/large_images.py --side 8000 --instances 100

Soft masks are disks of all sizes at the stride of the model; whatever comes after the network is
run on them: masks at the size of the image, boxes, and every file `crispmask predict` can write.
With --dense the masks are made as one array, as they were before they were kept as runs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from crispmask.cli.writer import ResultWriter, Wanted
from crispmask.geometry import mask_runs
from crispmask.models.detections import Detections, to_instances


def detections(num: int, grid: int) -> Detections:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:grid, :grid]
    soft = np.empty((num, grid, grid), dtype=np.float32)
    for mask in soft:
        cx, cy, radius = rng.uniform(0, grid), rng.uniform(0, grid), rng.uniform(3, grid / 3)
        mask[:] = radius - np.hypot(x - cx, y - cy)
    return Detections(
        scores=torch.linspace(0.9, 0.3, num),
        labels=torch.arange(num) % 5,
        boxes=None,
        soft_masks=torch.from_numpy(soft),
        threshold=0.0,
        mask_stride=4,
    )


def peak_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=8000)
    parser.add_argument("--instances", type=int, default=100)
    parser.add_argument("--dense", action="store_true")
    options = parser.parse_args()
    if options.dense:
        mask_runs.DENSE_BYTES = 1 << 60
    size = (options.side, options.side)
    image = np.full((*size, 3), 90, dtype=np.uint8)
    found = detections(options.instances, 160)
    start = peak_mb()
    began = time.perf_counter()
    instances = to_instances(found, (640, 640), size, ("a", "b", "c", "d", "e"))
    kept = instances.compact_masks
    held = kept.nbytes if isinstance(kept, np.ndarray) else sum(s.nbytes for s in kept.spans)
    print(f"before {start:.0f} MB, {image.nbytes / 2**20:.0f} MB of it the image")
    print(
        f"masks {time.perf_counter() - began:.1f} s, held {held / 2**20:.1f} MB, "
        f"peak {peak_mb():.0f} MB"
    )
    for name in ("json", "csv", "txt", "crops", "label_studio", "overlays"):
        began = time.perf_counter()
        chosen = {"overlays": False, name: True}
        with (
            tempfile.TemporaryDirectory() as folder,
            ResultWriter(Path(folder), Wanted(**chosen), instances.names) as writer,
        ):
            writer.add_image("a.jpg", Path("a.jpg"), image, instances)
        print(f"{name} {time.perf_counter() - began:.1f} s, peak {peak_mb():.0f} MB", flush=True)


if __name__ == "__main__":
    main()
