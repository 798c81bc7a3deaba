"""Models in ONNX Runtime in turns, image after image: wall and processor time of each part.

    python benchmarks/latency.py --data facade3/data.yaml --threads 2 a.onnx=21 yolo11n-seg.onnx=9.8

A file that crispmask exported is run by its runtime, another one as a YOLO segmentation model.
The number behind a file is that of its GFLOPs, for the column of milliseconds per GFLOP of the
network. Processor time is what remains comparable where other programs run beside it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from crispmask.bench.forms import Form, GraphForm
from crispmask.bench.yolo import YoloForm
from crispmask.data.images import read_image
from crispmask.data.spec import read_spec
from crispmask.runtime import OnnxModel
from crispmask.runtime.prune import read_metadata


def form_of(path: Path, conf: float, threads: int) -> Form:
    if "architecture" in read_metadata(path.read_bytes()):
        return GraphForm(OnnxModel(path, "cpu", threads))
    return YoloForm(path, conf, threads)


def file_of(text: str) -> tuple[Path, float]:
    """A path, and the GFLOPs behind it or 0."""
    path, _, gflops = text.partition("=")
    return Path(path), float(gflops or 0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("files", type=file_of, nargs="+", metavar="FILE=GFLOPS")
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--images", type=int, default=6, help="of each dataset")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--conf", type=float, default=0.25, help="of YOLO models")
    options = parser.parse_args()
    images = []
    for file in options.data:
        paths = read_spec(file).val
        places = np.linspace(0, len(paths) - 1, min(options.images, len(paths))).round()
        images += [read_image(paths[int(i)]) for i in places]
    forms = {path.stem: form_of(path, options.conf, options.threads) for path, _ in options.files}
    wall: dict[str, list[list[float]]] = {name: [] for name in forms}
    cpu: dict[str, list[float]] = {name: [] for name in forms}
    found = dict.fromkeys(forms, 0)
    for form in forms.values():
        form.run(images[0])
    for _ in range(options.rounds):
        for image in images:
            for name, form in forms.items():
                start = time.process_time()
                instances, parts = form.run(image)
                cpu[name].append((time.process_time() - start) * 1000)
                wall[name].append([1000 * seconds for seconds in parts])
                found[name] += len(instances)
    print(
        "| file | median ms | p95 ms | processor ms | instances | prepare | network | per GFLOP "
        "| decode | masks | share of masks |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for path, gflops in options.files:
        name = path.stem
        parts = np.array(wall[name])  # (runs, parts)
        total = parts.sum(1)
        prepare, network, decode, masks = np.median(parts, axis=0).tolist()
        cells = [np.median(total), np.percentile(total, 95), np.median(cpu[name])]
        cells += [found[name] / options.rounds / len(images), prepare, network]
        texts = [f"{value:.1f}" for value in cells]
        texts += [f"{network / gflops:.2f}" if gflops else "-", f"{decode:.1f}", f"{masks:.1f}"]
        texts.append(f"{np.median(parts[:, 3] / total):.0%}")
        print(f"| {name} | " + " | ".join(texts) + " |")


if __name__ == "__main__":
    main()
