"""`crispmask check`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from crispmask.cli.arguments import parse
from crispmask.data.coco import write_json_atomic
from crispmask.data.spec import inspect_spec
from crispmask.doctor.examine import Examination, examine
from crispmask.doctor.page import write_page
from crispmask.doctor.repair import refuse_place, write_repaired_copy
from crispmask.doctor.summary import as_json
from crispmask.doctor.terminal import show, verdict
from crispmask.errors import ConfigError, DatasetError


@dataclass(frozen=True)
class CheckConfig:
    """Reports every problem of a dataset; exits with 1 if there are errors. Changes nothing."""

    data: str
    """Path to data.yaml."""
    split: Literal["all", "train", "val", "test"] = "all"
    """Which images of the dataset."""
    imgsz: int = 640
    """Longest image side that training will use, pixels; decides what is too small."""
    workers: int | Literal["auto"] = "auto"
    """Processes that look at images; auto: one per core."""
    fast: bool = False
    """Read the headers of images only: no search for damage inside and for similar pictures."""
    max_shown: int = 5
    """Places shown of each kind of problem."""
    json: str = ""
    """File for the summary and all problems, to be read by programs."""
    html: str = ""
    """File for a page with pictures of the worst problems."""
    fix_to: str = ""
    """Folder for a repaired copy; it must not exist or be empty, and lie outside the dataset."""
    boxes: Literal["drop", "rectangle"] = "drop"
    """Boxes in the repaired copy: dropped, or turned into rectangles."""
    copy: Literal["copy", "hardlink", "symlink"] = "copy"
    """How images come into the repaired copy."""

    def __post_init__(self) -> None:
        if self.imgsz < 32:
            raise ConfigError(f"--imgsz must be at least 32, not {self.imgsz}")
        if self.workers != "auto" and self.workers < 1:
            raise ConfigError(f"--workers must be at least 1 or auto, not {self.workers}")
        if self.fix_to and self.split != "all":
            raise ConfigError("--fix-to copies all splits; leave --split out")
        if self.max_shown < 0:
            raise ConfigError(f"--max-shown must not be negative, not {self.max_shown}")


def check(argv: Sequence[str], prog: str) -> int:
    """Prints what is wrong with a dataset; writes the report files and the repaired copy."""
    config = parse(CheckConfig, argv, prog)
    if config.fix_to:  # before minutes of work
        refuse_place(Path(config.fix_to), inspect_spec(config.data)[0])
    with _progress("looking at images") as on_progress:
        found = examine(
            config.data,
            split=config.split,
            imgsz=config.imgsz,
            decode=not config.fast,
            workers=None if config.workers == "auto" else config.workers,
            on_progress=on_progress,
        )
    console = Console()
    show(console, found, config.max_shown)
    if config.json:
        Path(config.json).parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(config.json, as_json(found))
        print(f"json  {config.json}")
    if config.html:
        write_page(found, Path(config.html), config.max_shown)
        print(f"html  {config.html}")
    if config.fix_to:
        _write_copy(config, found)
    return 1 if found.number("error") else 0


def _write_copy(config: CheckConfig, found: Examination) -> None:
    """Writes the repaired copy and tells what is left to correct in it."""
    out = Path(config.fix_to)
    with _progress("copying images") as on_progress:
        changes = write_repaired_copy(found, out, config.boxes, config.copy, on_progress)
    print(f"copy  {out}: {len(changes)} changes, listed in {out / 'changes.csv'}")
    try:
        again = examine(out, imgsz=config.imgsz, decode=False)
    except DatasetError as error:  # nothing was left of a split
        print(f"      it cannot be used: {error}")
    else:
        print(f"      {verdict(again)}")


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing elsewhere; gives the function to call with done and total."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    # Drawn by this thread alone: while a decoder is listened to, standard error is no terminal.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("", total=None)
        shown = 0.0

        def update(done: int, total: int) -> None:
            nonlocal shown
            progress.update(task, completed=done, total=total)
            if time.monotonic() - shown > 0.1 or done == total:
                progress.refresh()
                shown = time.monotonic()

        yield update
