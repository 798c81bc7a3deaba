"""`crispmask sample`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crispmask.cli.arguments import parse
from crispmask.cli.progress import show_progress
from crispmask.data.scenes import write_sample_dataset


@dataclass(frozen=True)
class SampleConfig:
    """Writes the built-in sample dataset: generated, photograph-like scenes in YOLO layout."""

    out: str
    """Folder to write; it must not exist or be empty."""
    images: int = 160
    """Images, three quarters of them for training."""
    imgsz: int = 320
    """Longest side of each image, pixels."""
    seed: int = 0
    """Another seed gives other scenes, the same seed the same ones."""


def sample(argv: Sequence[str], prog: str) -> int:
    """Writes the dataset and prints the path of its data.yaml."""
    config = parse(SampleConfig, argv, prog)
    with show_progress() as progress:
        task = progress.add_task("drawing scenes", total=config.images)
        path = write_sample_dataset(
            Path(config.out),
            num_images=config.images,
            imgsz=config.imgsz,
            seed=config.seed,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    print(path)
    return 0
