"""`crispmask benchmark`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from crispmask.bench.config import BenchmarkConfig
from crispmask.cli.arguments import parse

if TYPE_CHECKING:
    from crispmask.bench.run import Row


def benchmark(argv: Sequence[str], prog: str) -> int:
    """Measures a model in each form and prints one table.

    Returns:
        Exit code 0.
    """
    config = parse(BenchmarkConfig, argv, prog)
    from crispmask.bench.run import benchmark as run
    from crispmask.bench.run import to_json
    from crispmask.data.coco import write_json_atomic

    if config.json:  # now: a wrong folder is told before the measuring
        Path(config.json).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        rows = run(config, _images(config, Path(folder)), lambda text: print(text, file=sys.stderr))
    _print(rows, bool(config.data))
    if config.json:
        write_json_atomic(config.json, to_json(rows))
    return 0


def _images(config: BenchmarkConfig, folder: Path) -> list[Path]:
    """The validation images, or generated scenes."""
    from crispmask.data.spec import read_spec
    from crispmask.errors import DatasetError

    if config.data:
        spec = read_spec(config.data)
        if not spec.val:
            raise DatasetError(f"{spec.file}: no validation images; name them under val:")
        return [Path(path) for path in spec.val]
    import cv2

    from crispmask.data.scenes import draw_sample

    paths = [folder / f"{i}.png" for i in range(min(config.images, 8))]
    side = 640 if config.imgsz == "auto" else config.imgsz
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), draw_sample(side, 0, "val", i).image[:, :, ::-1])
    return paths


def _print(rows: Sequence[Row], with_map: bool) -> None:
    table = Table("form", "median ms", "p95 ms", "images/s", "peak MB", "instances")
    for name in ("prepare", "network", "decode", "masks"):
        table.add_column(name, justify="right")
    if with_map:
        table.add_column("mask mAP", justify="right")
        table.add_column("box mAP", justify="right")
    for row in rows:
        if row.note:
            continue
        cells = [row.form, f"{row.median_ms:.1f}", f"{row.p95_ms:.1f}", f"{row.per_second:.1f}"]
        cells += [f"{row.memory_mb:.0f}", f"{row.instances:.1f}"]
        cells += [f"{part:.1f}" for part in row.parts_ms]
        if with_map:
            values = (row.mask_map, row.box_map)
            cells += ["-" if value is None else f"{value:.3f}" for value in values]
        table.add_row(*cells)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    print("prepare, network, decode, masks: medians in ms; network of a graph: with its decoding")
    for row in rows:
        if row.note:
            print(f"{row.form}: {row.note}")
