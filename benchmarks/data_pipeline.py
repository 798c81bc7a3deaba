"""Training images per second and process, beside those of Ultralytics' own dataset class.

    python benchmarks/data_pipeline.py --data facade3/data.yaml sample/data.yaml \
        --yolo-python other-venv/bin/python --out benchmarks/data_pipeline.md

Each side runs in a process of its own with one thread; a round of one is followed by a round of
the other, so that both see the same state of the machine, and the ratio is the median over
rounds. A round is batches of 8 from decoding (or the cache in memory) to tensors with masks at a
quarter of the size. `--yolo-python` is an environment with the package `ultralytics`; it is
never imported here. Datasets are copied first, because it writes beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent


class Side:
    """A process that answers a number of images with the seconds they took."""

    def __init__(self, command: list[str]) -> None:
        environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(HERE.parent))
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.ask("8")  # start up, fill the cache

    def ask(self, words: str) -> str:
        """Sends a line and waits for its answer."""
        assert self.process.stdin
        assert self.process.stdout
        print(words, file=self.process.stdin, flush=True)
        while line := self.process.stdout.readline():
            if line.startswith("answer "):
                return line.removeprefix("answer ").strip()
        raise SystemExit("a process ended early; its error is above")

    def rate(self, images: int) -> float:
        """Images per second of processor time."""
        return images / float(self.ask(str(images)))

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def copy_dataset(data: Path, into: Path) -> Path:
    """The folder of a data.yaml, its images linked, its labels copied."""
    target = into / data.parent.name
    for path in data.parent.rglob("*"):
        new = target / path.relative_to(data.parent)
        if path.is_dir() or path.suffix == ".cache":
            continue
        new.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".txt", ".yaml"):
            shutil.copy(path, new)
        else:
            new.symlink_to(path.resolve())
    text = [line for line in data.read_text().splitlines() if not line.startswith("path:")]
    (target / data.name).write_text("\n".join([f"path: {target}", *text]) + "\n")
    return target / data.name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", type=Path, required=True)
    parser.add_argument("--imgsz", nargs="+", type=int, default=[640, 1280])
    parser.add_argument("--cache", nargs="+", default=["ram", "none"], choices=["ram", "none"])
    parser.add_argument("--yolo-python", default="")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=int, default=32, help="per round")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rates = [
        "| dataset | px | cache | crispmask | ultralytics | ratio |",
        "|---|---|---|---|---|---|",
    ]
    steps: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for source in args.data:
            data = copy_dataset(source, Path(folder))
            for imgsz in args.imgsz:
                for cache in args.cache:
                    row, breakdown = measure(args, data, imgsz, cache)
                    print(row, flush=True)
                    print(breakdown, flush=True)
                    rates.append(row)
                    steps.append(breakdown)
    if args.out:
        head = "| dataset | px | cache | " + " | ".join(STEPS) + " | sum | floor |"
        table = [head, "|---" * (len(STEPS) + 5) + "|", *steps]
        args.out.write_text("\n".join([*rates, "", *table]) + "\n")


STEPS = ("decode", "resize", "warp", "colour", "polygons", "rasterise", "collate", "rest")


def measure(args: argparse.Namespace, data: Path, imgsz: int, cache: str) -> tuple[str, str]:
    """A row of rates, and one of milliseconds per step."""
    words = [str(data), str(imgsz), cache]
    ours = Side([sys.executable, str(HERE / "data_pipeline_own.py"), *words])
    sides = [ours]
    if args.yolo_python:
        sides.append(Side([args.yolo_python, str(HERE / "data_pipeline_yolo.py"), *words]))
    for side in sides:
        side.rate(args.images)
    rounds = [[side.rate(args.images) for side in sides] for _ in range(args.rounds)]
    times = json.loads(ours.ask("steps"))
    for side in sides:
        side.close()
    name = f"| {data.parent.name} | {imgsz} | {cache} |"
    medians = [f"{statistics.median(column):.1f}" for column in zip(*rounds, strict=True)]
    ratio = "-"
    if args.yolo_python:
        ratio = f"{statistics.median(own / other for own, other in rounds):.2f}"
    else:
        medians.append("-")
    shown = " | ".join(f"{times[step]:.2f}" for step in (*STEPS, "sum", "floor"))
    return f"{name} {medians[0]} | {medians[1]} | {ratio} |", f"{name} {shown} |"


if __name__ == "__main__":
    start = time.time()
    main()
    print(f"{time.time() - start:.0f} s", file=sys.stderr)
