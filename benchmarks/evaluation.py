"""Time and memory of the metrics themselves, beside pycocotools, on generated predictions.

    python benchmarks/evaluation.py compare --images 500 --repeats 5
    python benchmarks/evaluation.py memory --images 5000

Each image of 640 x 480 pixels has 7 annotations of 80 classes and 100 predictions, half of them
near an annotation; masks are blobs as networks draw them. `compare` runs both programs in turn on
the same rows in memory, mask and box metrics, and prints medians; `memory` feeds images one after
the other, as validation does, in a process of its own, and prints its peak.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from crispmask.geometry.rle import box_of_rle, encode_masks

SIZE = (480, 640)
NUM_CLASSES = 80
NUM_FOUND = 100
NUM_ANNOTATED = 7
NUM_SHAPES = 400


def shapes(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Masks to draw from, with box and area; encoding new ones for each row would take hours."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    found = []
    for _ in range(NUM_SHAPES):
        cy, cx = rng.uniform(0, SIZE[0]), rng.uniform(0, SIZE[1])
        radius = np.exp(rng.uniform(np.log(8), np.log(150)))
        angle = np.arctan2(y - cy, x - cx)
        waves = sum(rng.normal(0, 0.12) * np.cos(k * angle + rng.uniform(0, 7)) for k in (2, 3, 5))
        mask = np.hypot(y - cy, x - cx) < radius * (1 + waves)
        for dy, dx in ((0, 0), (2, 3), (-4, 2)):  # near each other, as predictions are
            moved = np.roll(mask, (dy, dx), axis=(0, 1))
            rle = encode_masks(moved[None])[0]
            found.append({"segmentation": rle, "bbox": box_of_rle(rle), "area": float(moved.sum())})
    return [shape for shape in found if shape["area"] > 0]


def annotations(shape_list: list[dict[str, Any]], num_images: int, seed: int) -> dict[str, Any]:
    """A COCO annotation file."""
    rng = np.random.default_rng(seed)
    images = [
        {"id": i + 1, "height": SIZE[0], "width": SIZE[1], "file_name": f"{i}.jpg"}
        for i in range(num_images)
    ]
    rows = []
    for i in range(num_images):
        for _ in range(NUM_ANNOTATED):
            shape = int(rng.integers(len(shape_list)))
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": i + 1,
                    "category_id": int(rng.integers(1, NUM_CLASSES + 1)),
                    "iscrowd": int(rng.random() < 0.02),
                    "shape": shape,
                    **shape_list[shape],
                }
            )
    categories = [{"id": k + 1, "name": str(k)} for k in range(NUM_CLASSES)]
    return {"images": images, "annotations": rows, "categories": categories}


def predictions(
    shape_list: list[dict[str, Any]], truth: dict[str, Any], seed: int
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Image id and rows of a COCO results file, image after image."""
    rng = np.random.default_rng(seed + 1)
    for i, image in enumerate(truth["images"]):
        mine = truth["annotations"][i * NUM_ANNOTATED : (i + 1) * NUM_ANNOTATED]
        rows = []
        for k in range(NUM_FOUND):
            near = mine[int(rng.integers(NUM_ANNOTATED))]
            good = rng.random() < 0.5
            shape = (near["shape"] if good else rng.integers(len(shape_list))) + rng.integers(-1, 2)
            chosen = shape_list[int(shape) % len(shape_list)]
            label = near["category_id"] if good else int(rng.integers(1, NUM_CLASSES + 1))
            rows.append(
                {
                    "image_id": image["id"],
                    "category_id": label,
                    "score": float(np.float32((1 - k / NUM_FOUND) * rng.uniform(0.5, 1))),
                    "bbox": chosen["bbox"],
                    "segmentation": dict(chosen["segmentation"]),
                }
            )
        yield image["id"], rows


def ours(truth: dict[str, Any], found: list[tuple[int, list[dict[str, Any]]]]) -> list[float]:
    """Mask and box AP."""
    from crispmask.metrics.coco import measure
    from crispmask.metrics.comparison import Comparer

    comparer = Comparer(truth, NUM_CLASSES)
    for image_id, rows in found:
        comparer.add(image_id, rows)
    metrics = measure(comparer.finish(), [str(k) for k in range(NUM_CLASSES)])
    return [metrics.mask.map50_95, metrics.box.map50_95]


def pycocotools(
    truth: dict[str, Any], found: list[tuple[int, list[dict[str, Any]]]]
) -> list[float]:
    """Mask and box AP; making the objects of the rows counts, as it does for ours."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        result = coco.loadRes([row for _, rows in found for row in rows])
        values = []
        for kind in ("segm", "bbox"):
            evaluation = COCOeval(coco, result, kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            values.append(float(evaluation.stats[0]))
    return values


def faster_coco_eval(
    truth: dict[str, Any], found: list[tuple[int, list[dict[str, Any]]]]
) -> list[float]:
    """Mask and box AP of the library whose RLE routines we use."""
    from faster_coco_eval import COCO, COCOeval_faster

    coco = COCO(truth, print_function=lambda *_: None)
    result = coco.loadRes([row for _, rows in found for row in rows])
    values = []
    for kind in ("segm", "bbox"):
        evaluation = COCOeval_faster(coco, result, kind, print_function=lambda *_: None)
        evaluation.run()
        values.append(float(evaluation.stats[0]))
    return values


def compare(num_images: int, repeats: int) -> None:
    shape_list = shapes(np.random.default_rng(0))
    programs = {"ours": ours, "faster-coco-eval": faster_coco_eval, "pycocotools": pycocotools}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        values = {}
        for name, program in programs.items():
            truth = annotations(shape_list, num_images, 0)  # fresh: they write into their rows
            found = list(predictions(shape_list, truth, 0))
            start, cpu = time.perf_counter(), time.process_time()
            values[name] = program(truth, found)
            seconds[name].append(time.process_time() - cpu)
            wall = time.perf_counter() - start
            print(f"{name:18} {wall:7.2f} s, {seconds[name][-1]:7.2f} s of CPU", values[name])
        assert np.allclose(values["ours"], values["pycocotools"], atol=1e-6), values
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratios = [p / o for p, o in zip(seconds["pycocotools"], seconds["ours"], strict=True)]
    print(json.dumps({"images": num_images, "cpu_seconds": medians, "ratios": ratios}))


def memory(num_images: int) -> None:
    from crispmask.metrics.coco import measure
    from crispmask.metrics.comparison import Comparer

    shape_list = shapes(np.random.default_rng(0))
    truth = annotations(shape_list, num_images, 0)
    comparer = Comparer(truth, NUM_CLASSES)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.process_time()
    generating = 0.0
    feed = predictions(shape_list, truth, 0)
    while True:
        begin = time.process_time()
        step = next(feed, None)
        generating += time.process_time() - begin
        if step is None:
            break
        comparer.add(*step)
    comparison = comparer.finish()
    metrics = measure(comparison, [str(k) for k in range(NUM_CLASSES)])
    spent = time.process_time() - start - generating
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "images": num_images,
                "predictions": len(comparison.predictions),
                "pairs": len(comparison.pairs),
                "cpu_seconds": round(spent, 2),
                "mib_before": round(before),
                "mib_peak": round(peak),
                "mask": metrics.mask.map50_95,
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["compare", "memory"])
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    if args.what == "compare":
        compare(args.images, args.repeats)
    else:
        memory(args.images)


if __name__ == "__main__":
    main()
