"""Exports of every size beside PyTorch, on photographs.

    python benchmarks/export.py --data facade3/data.yaml --data nuts/data.yaml --imgsz 320

Weights are random, because trained ones of every size are not at hand: the statistics of the norms
are those of the photographs, and the biases of the classes are raised so that each photograph has
dozens of instances. A checkpoint named ARCHITECTURE_MODEL.pt in --weights is taken instead.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crispmask.data.images import read_image
from crispmask.data.spec import read_spec
from crispmask.errors import ExportError
from crispmask.export import run as export_run
from crispmask.export.compare import FULL, Comparison
from crispmask.export.config import ExportConfig
from crispmask.geometry.letterbox import fit_size, pad_image, resize_image
from crispmask.models.table import list_models
from crispmask.predict import Model, build, load

WANTED = 40
"""Instances of an image that the confidence is chosen for."""


def photographs(data: list[str], num: int) -> list[Path]:
    """The same number from each dataset, spread over its validation images."""
    chosen = []
    for file in data:
        paths = [Path(path) for path in read_spec(file).val]
        places = np.linspace(0, len(paths) - 1, min(num, len(paths))).round().astype(int)
        chosen += [paths[i] for i in places]
    return chosen


def inputs(paths: list[Path], imgsz: int) -> Tensor:
    images = []
    for path in paths:
        image = read_image(path)
        size = fit_size((image.shape[0], image.shape[1]), imgsz)
        images.append(pad_image(resize_image(image, size), (imgsz, imgsz), (114, 114, 114)))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def lifelike(model: Model, x: Tensor) -> None:
    """Norms with the statistics of photographs, and classes that are believed in."""
    network = model.network
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all images
        norm.train()
    with torch.no_grad():
        network(x)
    network.eval()
    with torch.no_grad():
        for name, value in network.named_parameters():
            if "class_logits" in name and name.endswith("bias"):
                value.add_(3.0)


def conf_for(model: Model, paths: list[Path], imgsz: int) -> float:
    """A confidence that leaves about `WANTED` instances per image."""
    found = model.predict(paths, conf=0.01, imgsz=(imgsz, imgsz), max_det=WANTED)
    last = [float(x.scores[-1]) for x in found if len(x) == WANTED]
    return round(float(np.median(last)), 4) if last else 0.01


def exported(
    checkpoint: Path, kind: Any, conf: float, imgsz: int, paths: list[Path]
) -> tuple[Comparison, float]:
    """The comparison, also of an export that would be refused, and the seconds it took."""
    start = time.perf_counter()
    export_run.FULL = replace(FULL, share=0.0)  # nothing is refused
    config = ExportConfig(
        str(checkpoint), kind, str(imgsz), conf=conf, images=len(paths), max_det=100
    )
    comparison = export_run.export(config, paths).comparison
    return comparison, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--images", type=int, default=6, help="of each dataset")
    parser.add_argument("--formats", default="onnx,openvino")
    parser.add_argument("--only", default="", help="such as rtmdet-ins:tiny,solov2:nano")
    parser.add_argument("--weights", type=Path, help="folder of checkpoints")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    paths = photographs(options.data, options.images)
    x = inputs(paths, options.imgsz)
    print(
        "| architecture | model | format | instances | score | box, px | lowest IoU | "
        "IoU >= 0.995 | equal |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for row in list_models():
        name = f"{row.architecture}:{row.model}"
        if options.only and name not in options.only.split(","):
            continue
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder) / f"{row.architecture}_{row.model}.pt"
            given = options.weights / checkpoint.name if options.weights else None
            if given and given.is_file():
                model = load(given)
            else:
                torch.manual_seed(0)
                model = build(row.architecture, row.model, num_classes=3, imgsz=options.imgsz)
                lifelike(model, x)
            model.save(checkpoint)
            conf = conf_for(model, paths, options.imgsz)
            for kind in options.formats.split(","):
                try:
                    found, _ = exported(checkpoint, kind, conf, options.imgsz, paths)
                except ExportError as error:
                    print(f"| {row.architecture} | {row.model} | {kind} | {error} |", flush=True)
                    continue
                fine = np.mean(found.ious >= 0.995) if len(found.ious) else 1.0
                print(
                    f"| {row.architecture} | {row.model} | {kind} | {found.num_expected} | "
                    f"{found.scores.max(initial=0):.1e} | {found.boxes.max(initial=0):.2f} | "
                    f"{found.ious.min(initial=1):.4f} | {fine:.1%} | {found.share:.1%} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
