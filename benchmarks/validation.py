"""Where the time of a validation goes: the network, and everything around it.

    python benchmarks/validation.py --data facade3/data.yaml --weights best.pt --images 99
    python benchmarks/validation.py --data facade3/data.yaml --architecture solov2 --images 16

`--max-det` instances are kept in each image: every candidate counts, whatever its score. Without
weights the network is random and its masks are noise, the most expensive ones there are. Each part
is timed where it happens; prints CPU and wall seconds of each and the share outside of the network,
in the validation of an epoch and with what is measured once, at the end of a run and by `val`:
Boundary AP and the figure in the manner of Ultralytics.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

SMALLEST = {"solov2": "nano", "rtmdet-ins": "tiny"}


class Stopwatch:
    """CPU and wall seconds by name."""

    def __init__(self) -> None:
        self.wall: defaultdict[str, float] = defaultdict(float)
        self.cpu: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Adds the time of a block."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall[name] += time.perf_counter() - wall
        self.cpu[name] += time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", default="")
    parser.add_argument("--architecture", choices=list(SMALLEST), default="rtmdet-ins")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--images", type=int, default=99)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--max-det", type=int, default=300)
    args = parser.parse_args()
    print(json.dumps(measure(args), indent=2))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    import torch

    import crispmask
    from crispmask.data.coco import coco_ground_truth
    from crispmask.data.dataset import ValDataset
    from crispmask.data.loader import val_loader
    from crispmask.data.scan import build_index
    from crispmask.data.spec import read_spec
    from crispmask.engine.evaluate import to_coco
    from crispmask.engine.predictions import Predictions
    from crispmask.metrics.coco import measure as measure_metrics
    from crispmask.metrics.coco import measure_fully
    from crispmask.metrics.comparison import Comparer

    spec = read_spec(args.data)
    index = build_index(spec.val, len(spec.names), workers=0)
    if args.weights:
        model = crispmask.load(args.weights)
    else:
        torch.manual_seed(0)
        size = SMALLEST[args.architecture]
        model = crispmask.build(args.architecture, size, len(spec.names), imgsz=args.imgsz)
    decode = replace(
        model.network.presets["val"],
        max_det=args.max_det,
        conf=0.0,
        candidate_conf=0.0,
        nms_iou=0.7 if args.weights else 1.0,
    )
    loader = val_loader(
        ValDataset(index, args.imgsz),
        batch=args.batch,
        workers=0,
        mask_stride=model.spec.mask_stride,
        pad_value=model.network.pad_value,
    )
    watch = Stopwatch()
    with watch("ground truth"):
        truth = coco_ground_truth(index, spec.names)
    ids = {i + 1 for i in range(min(args.images, len(index)))}
    part = {**truth, "images": [image for image in truth["images"] if image["id"] in ids]}
    part["annotations"] = [a for a in truth["annotations"] if a["image_id"] in ids]
    comparer, predictions = Comparer(part, len(spec.names)), Predictions()
    network = model.network.eval().to(memory_format=torch.channels_last)
    batches = islice(loader, -(-len(ids) // args.batch))
    with torch.no_grad():
        while True:
            with watch("loading"):
                batch = next(batches, None)
            if batch is None:
                break
            with watch("network"):
                images = batch.images.contiguous(memory_format=torch.channels_last)
                outputs = network(images)
            with watch("decoding"):
                detections = network.detect(outputs, decode)
            for found, i, valid, original in zip(
                detections,
                batch.indices,
                batch.targets.valid_sizes,
                batch.original_sizes,
                strict=True,
            ):
                if i + 1 not in ids:
                    continue
                with watch("masks and RLE"):
                    rows = to_coco(found, i + 1, valid, original)
                with watch("comparing"):
                    comparer.add(i + 1, rows)
                with watch("writing"):
                    predictions.add(i + 1, rows)
    with watch("metrics"):
        measure_metrics(comparer.finish(), spec.names)
    of_epoch = {kind: dict(getattr(watch, kind)) for kind in ("cpu", "wall")}
    with watch("once: all metrics"):
        measure_fully(part, predictions.images(), spec.names, args.imgsz)
    return {
        "images": len(ids),
        "instances per image": round(len(predictions) / max(len(ids), 1), 1),
        "milliseconds per image": {
            kind: {
                name: round(1000 * value / max(len(ids), 1), 1)
                for name, value in getattr(watch, kind).items()
            }
            for kind in ("cpu", "wall")
        },
        "outside of the network": {
            kind: {
                "an epoch": round(1 - parts["network"] / sum(parts.values()), 3),
                "with all metrics": round(
                    1 - parts["network"] / sum(getattr(watch, kind).values()), 3
                ),
            }
            for kind, parts in of_epoch.items()
        },
    }


if __name__ == "__main__":
    main()
