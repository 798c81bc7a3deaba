"""The scores of a comparison as tables: on the terminal, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from crispmask.atomic import replacing
from crispmask.compare.config import Row
from crispmask.compare.score import FIGURES, Entry, mean_and_spread
from crispmask.data.coco import write_json_atomic

_DIGITS = {
    "parameters": 1,
    "gflops": 1,
    "best_epoch": 0,
    "train_minutes": 1,
    "epoch_seconds": 1,
    "latency_ms": 0,
    "memory_mb": 0,
}
"""After the point; metrics have three."""


def figures_shown(entries: Sequence[Entry]) -> dict[str, str]:
    """The columns of `FIGURES` that at least one score has."""
    return {
        key: title for key, title in FIGURES.items() if any(key in entry.score for entry in entries)
    }


def cells(entries: Sequence[Entry], row: Row, keys: Iterable[str] = FIGURES) -> list[str]:
    """The figures of a row as text, one for each key; a dash where none is known."""
    texts = []
    for key in keys:
        values = [e.score[key] for e in entries if e.row == row and key in e.score]
        if not values:
            texts.append("-")
            continue
        mean, spread = mean_and_spread(values)
        digits = _DIGITS.get(key, 3)
        text = f"{mean:.{digits}f}"
        texts.append(text if spread is None else f"{text} ± {spread:.{digits}f}")
    return texts


def markdown(rows: Sequence[Row], entries: Sequence[Entry]) -> str:
    """The table for a document."""
    keys = figures_shown(entries)
    lines = [
        ["model", *keys.values()],
        ["---"] * (1 + len(keys)),
        *([row.name, *cells(entries, row, keys)] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_tables(out: Path, rows: Sequence[Row], entries: Sequence[Entry]) -> None:
    """Writes compare.md, compare.csv with a line per seed, and compare.json with all scores."""
    with replacing(out / "compare.md") as partial:
        partial.write_text(markdown(rows, entries), encoding="utf-8")
    with (
        replacing(out / "compare.csv") as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["model", "seed", *FIGURES])
        for entry in entries:
            figures = [entry.score.get(key, "") for key in FIGURES]
            writer.writerow([entry.row.name, entry.seed, *figures])
    write_json_atomic(
        out / "compare.json",
        [
            {"model": e.row.name, "seed": e.seed, "score": e.score, "curve": e.curve}
            for e in entries
        ],
    )
