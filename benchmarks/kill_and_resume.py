"""Kills a training run at random moments and resumes it, then compares it with one left alone.

    python benchmarks/kill_and_resume.py --kills 25

A small model is trained twice on the built-in sample with the same flags and --deterministic. The
second run is killed with SIGKILL, its loading processes too, in turn while it trains, while it
validates and while it writes a checkpoint, at a random time within. Each time it goes on with
--resume. In the end the weights of both, averaged and raw, and the state of the optimizer must be
equal bit by bit, results.csv as well but for times and memory, and nothing half written may lie
about. Prints a row of a table for every kill.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import crispmask.engine.fit  # noqa: F401 - before it is forked
from crispmask.cli import main as main_of_crispmask
from crispmask.engine import epochs

FLAGS = (
    "--weights none --epochs {epochs} --batch 4 --imgsz 96 --workers 2 --deterministic "
    "--device cpu --patience 0 --warmup-epochs 1"
)
NOT_COMPARED = ("seconds/train", "seconds/data", "seconds/val", "memory_mb")


class Process:
    """A command in a fork of this program and in a session of its own, with its children.

    It has imported everything, so that most of the time is spent where a kill may hit.
    """

    def __init__(self, note: Path, *words: str) -> None:
        note.write_text("")
        self.words, self.code = words, None
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            note_phases(note)
            os._exit(main_of_crispmask(words))

    def poll(self) -> int | None:
        """None while it runs."""
        if self.code is None and os.waitpid(self.pid, os.WNOHANG)[0]:
            self.code = 1  # which code does not matter: what is left tells
        return self.code

    def kill(self) -> None:
        """Kills it and its children."""
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def finish(self) -> None:
        """Waits for its end, which must be a good one."""
        if self.code is None and os.waitpid(self.pid, 0)[1] != 0:
            sys.exit(f"failed: {self.words}")


def note_phases(note: Path) -> None:
    """Lets a file say what a run is at."""

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            before = note.read_text()
            note.write_text(name)
            try:
                return function(*args, **options)
            finally:
                note.write_text(before)

        return call

    def slow_save(content: Any, file: Any) -> None:
        file.flush()
        save(content, file)
        file.flush()
        time.sleep(0.4)  # a small checkpoint is written faster than the other program looks

    save, torch.save = torch.save, slow_save
    epochs.train_epoch = noted("training", epochs.train_epoch)
    epochs.evaluate = noted("validation", epochs.evaluate)
    epochs.write_file = noted("writing", epochs.write_file)


LONGEST = {"training": 1.0, "validation": 0.12, "writing": 0.4}
"""Random times after which a run is killed are up to this, seconds, from the start of a phase."""


def rows_done(run: Path) -> int:
    path = run / "results.csv"
    return len(path.read_text().splitlines()) - 1 if path.is_file() else 0


def wait_for(condition: Callable[[], bool], process: Process, end: float) -> bool:
    """Whether a condition came true before the process ended, and the time `end`."""
    while process.poll() is None and time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.001)
    return False


def kill_and_resume(train: list[str], run: Path, kills: int, seed: int, end: float) -> int:
    """Runs to the end in spite of `kills` kills; returns how many hit, also in earlier calls.

    At the time `end` it stops, with one more kill that is not counted, to be called again.
    """
    note, table = run.with_suffix(".note"), run.with_suffix(".md")
    hits = len(table.read_text().splitlines()) if table.is_file() else 0
    resume = ("train", "--resume", str(run))
    process = Process(note, *(resume if (run / "weights" / "last.pt").is_file() else train))
    while hits < kills:
        rng = random.Random(seed + hits)
        phase = list(LONGEST)[(seed + hits) % len(LONGEST)]
        done = rows_done(run)
        # An epoch of each process is left to it: otherwise the run might never end.
        found = wait_for(lambda done=done: rows_done(run) > done, process, end) and wait_for(
            lambda phase=phase: note.read_text() == phase, process, end
        )
        wait = rng.uniform(0, LONGEST[phase])
        time.sleep(wait)
        if process.poll() is not None:
            break
        process.kill()
        if not found:
            return hits
        hits += 1
        partial = [path.name.split(".")[1] + ".pt" for path in run.rglob(".*.pt.*.partial")]
        at = note.read_text() or "between"
        half = f"{partial[0]} half written" if partial else ""
        row = f"| {hits} | {phase} + {wait:.3f} s | {at} | {rows_done(run)} | {half} |"
        print(row, flush=True)
        with table.open("a") as file:
            file.write(row + "\n")
        note.unlink()
        process = Process(note, *resume)
    process.finish()
    return hits


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
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--architecture", default="rtmdet-ins")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--root", help="a folder to keep, in which the next call goes on")
    parser.add_argument("--minutes", type=float, default=60, help="stop after these, with --root")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return compare_runs(args, Path(args.root or folder))


def compare_runs(args: argparse.Namespace, root: Path) -> int:
    root.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * args.minutes
    data, straight, killed = root / "data", root / "straight", root / "killed"
    note = root / "note"
    if not data.is_dir():
        words = ("--out", str(data), "--images", str(args.images), "--imgsz", "96")
        Process(note, "sample", *words).finish()
    train = ["train", "--data", str(data / "data.yaml"), "--architecture", args.architecture]
    train += FLAGS.format(epochs=args.epochs).split()
    if not (straight / "metrics.json").is_file():
        Process(note, *train, "--work-dir", str(straight)).finish()
    hits = kill_and_resume([*train, "--work-dir", str(killed)], killed, args.kills, args.seed, end)
    if not (killed / "metrics.json").is_file():
        print(f"{hits} kills so far; start it again to go on")
        return 0
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
