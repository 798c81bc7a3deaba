"""Peak memory against the number of instances in one image.

    python benchmarks/memory.py                  # the table of benchmarks/memory.md
    python benchmarks/memory.py --what train --architectures solov2 --strides 1    # a part
    python benchmarks/memory.py --case train rtmdet-ins 300 4    # one row, as JSON

Each case runs in a process of its own: one training step (forward, loss, backward) of the
smallest size of an architecture on one image, or the prediction of one image, as instances or
as the RLE that validation stores. On a CPU peak resident memory counts, on a GPU what torch
allocated. Instances are discs of 20 to 60 pixels, spread over the image.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

IMGSZ = 1280
SMALLEST = {"solov2": "nano", "rtmdet-ins": "tiny"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", nargs=4, metavar=("WHAT", "ARCHITECTURE", "INSTANCES", "STRIDE"))
    parser.add_argument("--what", nargs="+", default=["train", "predict", "val"])
    parser.add_argument("--architectures", nargs="+", default=list(SMALLEST))
    parser.add_argument("--instances", type=int, nargs="+", default=[0, 1, 30, 100, 300])
    parser.add_argument("--strides", type=int, nargs="+", default=[4, 2, 1])
    parser.add_argument("--imgsz", type=int, default=IMGSZ)
    args = parser.parse_args()
    if args.case:
        what, architecture, instances, stride = args.case
        run = {"train": train_step, "predict": predict, "val": validate}[what]
        print(json.dumps(run(architecture, int(instances), int(stride), args.imgsz)))
        return
    columns = ("positives", "forward", "added", "peak", "seconds")
    print("| what | architecture | instances | mask stride |", " | ".join(columns), "|")
    print("|---" * (4 + len(columns)) + "|")
    for what in args.what:
        for architecture in args.architectures:
            for stride in args.strides if what == "train" else [1]:
                for instances in args.instances:
                    row = run_case(what, architecture, instances, stride, args.imgsz)
                    cells = [what, architecture, instances, stride if what == "train" else "-"]
                    cells += [f"{row[column]:.0f}" for column in columns]
                    print("|", " | ".join(map(str, cells)), "|", flush=True)


def run_case(
    what: str, architecture: str, instances: int, stride: int, imgsz: int = IMGSZ
) -> dict[str, float]:
    """Measures one case in a fresh process; sizes in MiB."""
    root = Path(__file__).parents[1]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    words = [what, architecture, str(instances), str(stride)]
    done = subprocess.run(
        [sys.executable, __file__, "--case", *words, "--imgsz", str(imgsz)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def train_step(architecture: str, instances: int, stride: int, imgsz: int) -> dict[str, float]:
    """One step of the trainer, whose targets the collation makes from polygons."""
    import torch

    from crispmask.data.collate import collate
    from crispmask.models.build import ModelSpec, build_network

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    spec = ModelSpec(architecture, SMALLEST[architecture], 3, imgsz, mask_stride=stride)
    network = build_network(spec).train().to(device, memory_format=torch.channels_last)
    memory = Memory(device)
    batch = collate([scene(instances, imgsz)], stride, network.pad_value, [(imgsz, imgsz)])
    start = time.perf_counter()
    batch = batch.to(device)
    outputs = network(batch.images.contiguous(memory_format=torch.channels_last))
    forward = memory.now()
    losses = network.loss(outputs, batch.targets)
    torch.stack(list(losses.values())).sum().backward()
    peak = memory.peak()
    seconds = time.perf_counter() - start
    return {
        "positives": count_positives(network, outputs, batch.targets),
        "forward": forward,
        "added": peak - forward,
        "peak": peak,
        "seconds": seconds,
    }


def predict(architecture: str, instances: int, stride: int, imgsz: int) -> dict[str, float]:
    """`Model.predict` of a photograph of 1280 px times `stride`: masks at its size."""
    return _predict(architecture, instances, stride, imgsz, as_rle=False)


def validate(architecture: str, instances: int, stride: int, imgsz: int) -> dict[str, float]:
    """What validation does with an image of 1280 px times `stride`."""
    return _predict(architecture, instances, stride, imgsz, as_rle=True)


def _predict(
    architecture: str, instances: int, stride: int, imgsz: int, as_rle: bool
) -> dict[str, float]:
    from dataclasses import replace

    import torch

    from crispmask.engine.evaluate import to_coco
    from crispmask.models.build import ModelSpec, build_network
    from crispmask.models.detections import to_instances

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    spec = ModelSpec(architecture, SMALLEST[architecture], 3, imgsz)
    network = build_network(spec).eval().to(device, memory_format=torch.channels_last)
    x = torch.from_numpy(scene(instances, imgsz).image).permute(2, 0, 1)[None].to(device)
    size = (imgsz * stride, imgsz * stride)
    # An untrained network finds next to nothing: every candidate is kept.
    decode = replace(network.presets["val"], conf=0.0, candidate_conf=0.0, max_det=instances)
    decode = replace(decode, nms_iou=1.0)
    memory = Memory(device)
    start = time.perf_counter()
    with torch.inference_mode():
        outputs = network(x.contiguous(memory_format=torch.channels_last))
        forward = memory.now()
        (found,) = network.detect(outputs, decode)
        if as_rle:
            to_coco(found, 1, (imgsz, imgsz), size)
        else:
            to_instances(found, (imgsz, imgsz), size)
    peak = memory.peak()
    return {
        "positives": len(found),
        "forward": forward,
        "added": peak - forward,
        "peak": peak,
        "seconds": time.perf_counter() - start,
    }


class Memory:
    """Memory used since it was made, MiB."""

    def __init__(self, device: str) -> None:
        self.on_gpu = device == "cuda"
        self._highest = 0.0
        self._start = self._used()
        if not self.on_gpu:
            threading.Thread(target=self._watch, daemon=True).start()

    def now(self) -> float:
        """What is used at this moment."""
        return self._used() - self._start

    def peak(self) -> float:
        """The most that was used."""
        if self.on_gpu:
            import torch

            return torch.cuda.max_memory_allocated() / 2**20 - self._start
        # Not ru_maxrss: a process inherits that of the one that started it.
        status = Path("/proc/self/status").read_text()
        kib = int(status.split("VmHWM:")[1].split()[0])
        return max(kib / 2**10, self._highest) - self._start

    def _used(self) -> float:
        if self.on_gpu:
            import torch

            return torch.cuda.memory_allocated() / 2**20
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def _watch(self) -> None:
        while True:
            self._highest = max(self._highest, self._used())
            time.sleep(0.005)


def scene(instances: int, imgsz: int):
    """Noise with discs on it, as a sample with polygons."""
    import numpy as np

    from crispmask.types import Sample

    rng = np.random.default_rng(0)
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    polygons = []
    for _ in range(instances):
        radius = rng.uniform(10, 30)
        centre = rng.uniform(radius, imgsz - radius, 2)
        polygons.append(((circle * radius + centre).astype(np.float32),))
    image = rng.integers(0, 256, (imgsz, imgsz, 3), dtype=np.uint8)
    return Sample(image, tuple(polygons), rng.integers(0, 3, instances))


def count_positives(network, outputs, targets) -> int:
    """Masks the loss compared."""
    import torch

    from crispmask.models.priors import boxes_from_distances

    with torch.no_grad():
        if not hasattr(outputs, "distances"):
            h, w = outputs.mask_features.shape[-2:]
            levels = network.assign(targets, (h * 4, w * 4))[0]
            return sum(len(level.cells) for level in levels)
        from crispmask.models.rtmdet_ins.model import valid_priors

        logits, distances = (
            torch.cat([x.flatten(2) for x in levels], dim=2).transpose(1, 2).float()
            for levels in (outputs.class_logits, outputs.distances)
        )
        priors = network.priors(outputs)
        boxes = boxes_from_distances(priors, distances)
        valid = valid_priors(priors, targets)
        (found,) = network.assign(logits, boxes, priors, valid, targets)
        return int((found.instances >= 0).sum())


if __name__ == "__main__":
    main()
