"""Kills a training run at random moments and resumes it, then compares it with one left alone.

    python benchmarks/kill_and_resume.py --kills 25

A small model is trained twice on the built-in sample with the same flags and --deterministic. The
second run is killed with SIGKILL, its loading processes too, after random times from its first
checkpoint on: in training, in validation, while a checkpoint is written. Each time it goes on with
--resume. In the end the weights of both, averaged and raw, and the state of the optimizer must be
equal bit by bit, results.csv as well but for times and memory, and nothing half written may lie
about.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

FLAGS = (
    "--weights none --epochs {epochs} --batch 4 --imgsz 96 --workers 2 --deterministic "
    "--device cpu --patience 0 --warmup-epochs 1"
)
NOT_COMPARED = ("seconds/train", "seconds/val", "memory_mb")


def crispmask(*words: str, **options: Any) -> subprocess.Popen[bytes]:
    """Starts a command in a process group of its own, so that its children die with it."""
    return subprocess.Popen(
        [sys.executable, "-m", "crispmask", *words], start_new_session=True, **options
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    if process.wait() != 0:
        sys.exit(f"failed: {process.args}")


def where(run: Path) -> str:
    """What a killed run was at: the files half written tell."""
    partial = [path.name for path in run.rglob(".*.partial")]
    with (run / "results.csv").open() if (run / "results.csv").is_file() else open(os.devnull) as f:
        rows = sum(1 for _ in f) - 1
    return f"after {max(rows, 0)} epochs" + (f", while writing {partial[0]}" if partial else "")


def kill_and_resume(train: list[str], run: Path, kills: int, rng: random.Random) -> int:
    """Runs to the end in spite of `kills` kills; returns how many hit."""
    process, hits = crispmask(*train, stdout=subprocess.DEVNULL), 0
    last = run / "weights" / "last.pt"
    while True:
        written = last.stat().st_mtime_ns if last.is_file() else 0
        deadline = time.monotonic() + 300
        # From the start of the first epoch of this process on; before it nothing can be lost.
        while process.poll() is None and time.monotonic() < deadline:
            if (last.stat().st_mtime_ns if last.is_file() else 0) != written:
                break
            time.sleep(0.002)
        if hits < kills and process.poll() is None:
            time.sleep(rng.uniform(0, 3))
        if hits == kills or process.poll() is not None:
            finish(process)
            return hits
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        hits += 1
        print(f"kill {hits}: {where(run)}", flush=True)
        process = crispmask("train", "--resume", str(run), stdout=subprocess.DEVNULL)


def difference(a: Any, b: Any, name: str = "") -> str:
    """The first place where two checkpoints differ, empty if there is none."""
    if isinstance(a, torch.Tensor):
        return "" if torch.equal(a, b) else name
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return f"{name}: keys"
        return next(filter(None, (difference(a[k], b[k], f"{name}/{k}") for k in a)), "")
    if isinstance(a, (list, tuple)):
        found = (difference(x, y, f"{name}/{i}") for i, (x, y) in enumerate(zip(a, b, strict=True)))
        return next(filter(None, found), "")
    return "" if a == b else f"{name}: {a!r} {b!r}"


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "results.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if key not in NOT_COMPARED}
            for row in csv.DictReader(file)
        ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--architecture", default="rtmdet-ins")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data, straight, killed = root / "data", root / "straight", root / "killed"
        finish(
            crispmask(
                *("sample", "--out", str(data), "--images", str(args.images), "--imgsz", "96"),
                stdout=subprocess.DEVNULL,
            )
        )
        train = ["train", "--data", str(data / "data.yaml"), "--architecture", args.architecture]
        train += FLAGS.format(epochs=args.epochs).split()
        finish(crispmask(*train, "--work-dir", str(straight), stdout=subprocess.DEVNULL))
        hits = kill_and_resume(
            [*train, "--work-dir", str(killed)], killed, args.kills, random.Random(args.seed)
        )
        contents = [
            torch.load(run / "weights" / "last.pt", weights_only=True) for run in (straight, killed)
        ]
        for content in contents:
            content["config"].pop("work_dir")
        found = difference(*contents)
        if not found and rows(straight) != rows(killed):
            found = "results.csv"
        left = [str(path.relative_to(killed)) for path in killed.rglob(".*.partial")]
        if not found and left:
            found = f"left behind: {left}"
        print(f"{hits} kills in {args.epochs} epochs:", found or "equal bit by bit")
        return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
