"""Time of `crispmask check` on a generated dataset: `python benchmarks/check.py --images 20000`.

Images are 640 x 480 JPEG files of about 60 KB: some scenes of the built-in sample dataset, each
written many times shifted and with other noise, with ten polygons of 40 points each. They are
written to the folder of `--out` once and used again; `--repeats 0` only writes them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from crispmask.data.processes import usable_cpus
from crispmask.data.scenes.write import draw_sample

SIZE = (480, 640)
SCENES = 24
PER_JOB = 100


def scene(seed: int) -> np.ndarray:
    image = draw_sample(640, seed, "train", seed).image
    return cv2.resize(image, SIZE[::-1])


def write_some(job: tuple[str, int, int]) -> int:
    """Writes images first to end - 1 and their labels."""
    out, first, end = Path(job[0]), job[1], job[2]
    base = scene(first // PER_JOB % SCENES)
    noise = np.random.default_rng(first).integers(0, 17, base.shape, dtype=np.uint8)
    for i in range(first, end):
        rng = np.random.default_rng(i)
        split = "val" if i % 10 == 0 else "train"
        # Blocks of other brightness make each a picture of its own, noise gives it its size.
        blocks = rng.integers(0, 120, (6, 8, 3), dtype=np.uint8)
        change = cv2.add(cv2.resize(blocks, SIZE[::-1]), np.roll(noise, rng.integers(SIZE[1]), 1))
        moved = np.roll(base, tuple(rng.integers(0, SIZE)), axis=(0, 1))
        pixels = cv2.subtract(cv2.add(moved, change), np.full_like(base, 68))
        content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 82])[1]
        content.tofile(out / f"images/{split}/{i:06}.jpg")
        (out / f"labels/{split}/{i:06}.txt").write_text("".join(map(polygon, [rng] * 10)))
    return end - first


def polygon(rng: np.random.Generator) -> str:
    angle = np.arange(40) * 2 * np.pi / 40
    radius = rng.uniform(0.03, 0.15) * rng.uniform(0.8, 1.0, 40)
    centre = rng.uniform(0.2, 0.8, 2)
    points = centre + np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None]
    return " ".join([str(rng.integers(0, 5)), *(f"{v:.6f}" for v in points.ravel())]) + "\n"


def write_dataset(out: Path, images: int) -> None:
    for kind in ("images", "labels"):
        for split in ("train", "val"):
            (out / kind / split).mkdir(parents=True)
    jobs = [(str(out), i, min(i + PER_JOB, images)) for i in range(0, images, PER_JOB)]
    with multiprocessing.Pool(usable_cpus()) as pool:
        pool.map(write_some, jobs, chunksize=1)
    text = "train: images/train\nval: images/val\nnames: [a, b, c, d, e]\n"
    (out / "data.yaml").write_text(text)


def cpu_seconds() -> float:
    """Seconds that finished child processes have computed: other work on the machine is not in."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20000)
    parser.add_argument("--out", type=Path, default=Path("runs/check"))
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    out = arguments.out / str(arguments.images)
    if not (out / "data.yaml").exists():
        write_dataset(out, arguments.images)
    size = sum(path.stat().st_size for path in out.glob("images/*/*")) / arguments.images
    print(f"{arguments.images} images of {size / 1000:.0f} KB, {usable_cpus()} cores")
    times: dict[str, list[float]] = {"": [], "--fast": []}
    for _ in range(arguments.repeats):
        for flag, seconds in times.items():
            report = arguments.out / "check.json"
            words = ["check", "--data", str(out), "--json", str(report), *flag.split()]
            start, used = time.perf_counter(), cpu_seconds()
            done = subprocess.run(
                [sys.executable, "-m", "crispmask", *words], stdout=subprocess.DEVNULL, check=False
            )
            seconds.append(time.perf_counter() - start)
            counts = json.loads(report.read_text())["counts"]
            used = cpu_seconds() - used
            print(
                f"check {flag:7}{seconds[-1]:7.1f} s  of all cores together {used:.1f} s  "
                f"exit {done.returncode}  {counts}",
                flush=True,
            )
    for flag, seconds in times.items():
        if seconds:
            print(f"median {flag:7}{np.median(seconds):6.1f} s")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"largest process {peak:.0f} MB")


if __name__ == "__main__":
    main()
