"""Reading, keeping and sharing the index of a large dataset; the figures are in index.md.

    python benchmarks/index.py --out /some/disk/dataset --images 100000

writes a dataset of tiny images with ten polygons of 32 points each (about 1.7 GB for 100,000
images, kept for the next time), reads it without an index, with one, and after one label file has
changed, and measures what 1 and 8 loading processes add to the memory. Linux only.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from crispmask.data.index import ARRAYS, DatasetIndex
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec
from crispmask.data.workers import StartWorker, light_forks, new_slots

LOOKS = 100_000
"""Images that the workers look at in one round, some more than once if there are fewer."""


def generate(folder: Path, images: int) -> None:
    """Writes the dataset, unless it is there."""
    if (folder / "data.yaml").is_file():
        return
    rng = np.random.default_rng(0)
    angle = np.arange(32) * 2 * np.pi / 32
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    _, picture = cv2.imencode(".jpg", np.zeros((16, 24, 3), dtype=np.uint8))
    content = picture.tobytes()
    for kind in ("images", "labels"):
        (folder / kind / "train").mkdir(parents=True)
    for i in range(images):
        centres = rng.uniform(0.2, 0.8, (10, 1, 2))
        points = centres + circle * rng.uniform(0.02, 0.2, (10, 32, 1))
        rows = [
            f"{n % 8} " + " ".join([f"{x:.5f}" for x in polygon])
            for n, polygon in enumerate(points.reshape(10, 64).tolist())
        ]
        (folder / f"images/train/{i:012d}.jpg").write_bytes(content)
        (folder / f"labels/train/{i:012d}.txt").write_text("\n".join(rows) + "\n")
    names = ", ".join("abcdefgh")
    text = f"train: images/train\nval: images/train\nnames: [{names}]\n"
    (folder / "data.yaml").write_text(text)
    time.sleep(3)  # files that were written just now are not kept


def read(data: str) -> None:
    """Prints the seconds of finding the images, of their index, and what it holds."""
    start = time.perf_counter()
    spec = read_spec(data)
    found = time.perf_counter()
    index = build_index(spec.train, len(spec.names))
    end = time.perf_counter()
    source = "mapped" if index.file else "in memory"
    print(found - start, end - found, len(index), len(index.labels), source)


class Looks(Dataset[torch.Tensor]):
    """Looks at annotations."""

    note: object = None

    def __init__(self, index: DatasetIndex) -> None:
        self.index = index

    def __len__(self) -> int:
        return LOOKS

    def __getitem__(self, i: int) -> torch.Tensor:
        i %= len(self.index)
        polygons, labels = self.index.annotation(i, self.index.size(i))
        return torch.tensor([len(labels), sum(len(parts[0]) for parts in polygons)])


def workers_memory(data: str, workers: int, images: int, method: str, mapped: bool) -> None:
    """Prints the memory, MB, of this process and its workers after they looked at LOOKS images."""
    spec = read_spec(data)
    index = build_index(spec.train[:images], len(spec.names))
    if not mapped:
        index = DatasetIndex(**{name: np.array(getattr(index, name)) for name in ARRAYS})
    del spec
    loader = DataLoader(
        Looks(index),
        256,
        num_workers=workers,
        persistent_workers=True,
        multiprocessing_context=method,
        worker_init_fn=StartWorker(new_slots(workers)),
    )
    # As in training, where both were used before the processes start.
    torch.manual_seed(0)
    np.random.default_rng(0)
    with light_forks():
        batches = iter(loader)
    for _ in batches:
        pass
    for _ in loader:
        pass
    children = [worker.pid for worker in loader._iterator._workers]  # type: ignore[union-attr]  # open
    print(sum(map(memory_of, [os.getpid(), *children])))


def memory_of(pid: int) -> float:
    """Memory of a process, MB, where a page that n processes share counts 1/n.

    Without files other than the index: of the libraries, unrelated processes share some.
    """
    total, counts = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first, *rest = line.split()
        if "-" in first:  # a new mapping: addresses, permissions, offset, device, inode, file
            name = rest[4] if len(rest) > 4 else ""
            counts = not name.startswith("/") or name.endswith(".index")
        elif first == "Pss:" and counts:
            total += int(rest[0])
    return total / 1024


def run(*words: str, cache: str) -> list[str]:
    environment = {**os.environ, "CRISPMASK_CACHE": cache, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    generate(args.out, args.images)
    data = str(args.out / "data.yaml")
    with tempfile.TemporaryDirectory() as cache:
        first = run("read", data, cache=cache)
        print(f"{first[2]} images, {first[3]} instances")
        print(f"finding the images         {float(first[0]):.2f} s")
        print(f"reading without an index   {float(first[1]):.1f} s")
        size = sum(path.stat().st_size for path in Path(cache).rglob("*.index"))
        print(f"size of the index          {size / 2**20:.0f} MB")
        again = [run("read", data, cache=cache) for _ in range(args.repeats)]
        assert {row[4] for row in again} == {"mapped"}
        for column, title in ((0, "finding the images"), (1, "loading the index")):
            times = [float(row[column]) for row in again]
            print(f"{title:<26} {statistics.median(times):.2f} s ({max(times):.2f} at most)")
        label = next((args.out / "labels/train").iterdir())
        os.utime(label, (1e9, time.time() - 1e6))
        print(f"after one label changed    {float(run('read', data, cache=cache)[1]):.2f} s")
        print("memory of all processes, MB    1 worker  8 workers")
        for title, images, method, mapped in (
            ("100 images, forked", 100, "fork", 1),
            ("all images, forked", args.images, "fork", 1),
            ("100 images, spawned", 100, "spawn", 1),
            ("all images, spawned", args.images, "spawn", 1),
            ("the same without a file", args.images, "spawn", 0),
        ):
            words = (str(images), method, str(mapped))
            few, many = (float(run("memory", data, n, *words, cache=cache)[0]) for n in "18")
            print(f"{title:<30} {few:8.0f} {many:10.0f}")


if __name__ == "__main__":
    if sys.argv[1] == "read":
        read(sys.argv[2])
    elif sys.argv[1] == "memory":
        workers_memory(*sys.argv[2:3], *map(int, sys.argv[3:5]), sys.argv[5], sys.argv[6] == "1")
    else:
        main()
