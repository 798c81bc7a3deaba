"""Trains SOLOv2 twice: with a naive learning rate and with that of the recipe `matched`.

    python benchmarks/learning_rate.py --data data.yaml --imgsz 640 --epochs 20 --out results/

naive is a peak of 0.01 after 3 epochs of warmup from 0.1 %; matched is 0.002 * 5 / (4 + classes)
after 7 epochs from 2 %. Everything else is the same: SGD, batches, images, seed, first weights.
Leaves learning_rate.csv, a row per step of each run, and learning_rate.png (and .pdf) with loss
and gradient norm over steps. Without --data the built-in sample set is drawn.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.ticker import LogLocator

import crispmask
from crispmask.cli import main as command
from crispmask.engine.callback import StepEnd
from crispmask.engine.plots.style import SERIES, new_figure

NAIVE = {"lr": 0.01, "warmup_epochs": 3.0, "warmup_start": 0.001}
MATCHED = {"lr": "auto", "warmup_epochs": 7.0, "warmup_start": 0.02}
COLUMNS = ("run", "step", "epoch", "lr", "loss", "grad_norm")


class Record(crispmask.Callback):
    """Keeps a row for each step."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.rows: list[tuple[str, int, int, float, float, float]] = []

    def on_step(self, event: StepEnd) -> None:
        """Adds the row."""
        norm = float("nan") if event.grad_norm is None else event.grad_norm
        row = (self.run, event.step, event.epoch, event.lr, event.losses["total"], norm)
        self.rows.append(row)


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Medians over `width` steps around each: single batches scatter."""
    half = width // 2
    padded = np.pad(values, half, mode="edge")
    return np.array([np.nanmedian(padded[i : i + 2 * half + 1]) for i in range(len(values))])


def draw(rows: list[tuple[str, int, int, float, float, float]], labels: dict, path: Path) -> None:
    """Loss and gradient norm over steps, both runs: single steps faint, medians of 9 bold."""
    with new_figure(11.0, 4.2, path) as figure:
        panels = figure.subplots(1, 2)
        titles = ("Training loss", "Gradient norm before clipping")
        for axes, column, title in zip(panels, (4, 5), titles, strict=True):
            for colour, (run, label) in zip(SERIES, labels.items(), strict=False):
                steps = np.array([row[1] for row in rows if row[0] == run])
                values = np.array([row[column] for row in rows if row[0] == run])
                values = np.where(np.isfinite(values), values, np.nan)
                axes.plot(steps, values, color=colour, alpha=0.3, linewidth=0.8)
                axes.plot(steps, smooth(values, 9), color=colour, linewidth=2, label=label)
            axes.set_title(title)
            axes.set_xlabel("step")
            axes.set_yscale("log")
            for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
                which("{x:g}")
            axes.yaxis.set_minor_locator(LogLocator(subs=(1.5, 2, 3, 4, 6)))
            axes.grid(visible=True, which="both", alpha=0.3)
        panels[0].legend()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="data.yaml; the sample set if left out")
    parser.add_argument("--images", type=int, default=80, help="of the sample set")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--clip-norm", type=float, default=35.0)
    parser.add_argument("--val-interval", type=int, default=5)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("learning_rate"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows, labels = [], {}
    with tempfile.TemporaryDirectory() as folder:
        data = args.data
        if data is None:
            words = ["--images", str(args.images), "--imgsz", str(args.imgsz)]
            command(["sample", "--out", f"{folder}/data", *words])
            data = f"{folder}/data/data.yaml"
        for run, settings in (("naive", NAIVE), ("matched", MATCHED)):
            record = Record(run)
            result = crispmask.train(
                data=data,
                architecture="solov2",
                optimizer="sgd",
                callbacks=[record],
                work_dir=f"{folder}/{run}",
                **{key: vars(args)[key] for key in ("model", "weights", "imgsz", "batch")},
                **{key: vars(args)[key] for key in ("epochs", "clip_norm", "val_interval")},
                **{key: vars(args)[key] for key in ("workers", "device")},
                **settings,
            )
            rows += record.rows
            peak = max(row[3] for row in record.rows)
            labels[run] = f"{run}, peak {peak:.4g} after {settings['warmup_epochs']:g} epochs"
            norms = np.array([row[5] for row in record.rows])
            losses = np.array([row[4] for row in record.rows])
            print(
                f"| {run} | {peak:.4g} | {np.nanmax(norms):.1f} | {np.nanmedian(norms):.1f} | "
                f"{np.nanmax(losses):.2f} | {np.nanmean(losses[-len(losses) // 10 :]):.2f} | "
                f"{result.best_map:.3f} | {result.metrics['mask/mAP50']:.3f} |"
            )
    with (args.out / "learning_rate.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    for suffix in ("png", "pdf"):
        draw(rows, labels, args.out / f"learning_rate.{suffix}")
    print(args.out / "learning_rate.png")


if __name__ == "__main__":
    main()
