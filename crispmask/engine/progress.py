"""What the terminal shows while a run goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column


class Bar:
    """Counts batches on a terminal; does nothing elsewhere.

    Args:
        progress: the display, or None where there is no terminal.
        title: what is counted.
        total: batches.
    """

    def __init__(self, progress: Progress | None, title: str, total: int) -> None:
        self._progress = progress
        self._images = 0
        self._start = time.perf_counter()
        if progress is not None:
            self._task = progress.add_task(title, total=total, text="")

    def reach(self, num_images: int) -> None:
        """Sets how much is done, where images are what is counted."""
        if self._progress is not None:
            speed = num_images / max(time.perf_counter() - self._start, 1e-9)
            self._progress.update(self._task, completed=num_images, text=f"{speed:.0f} img/s")

    def advance(self, num_images: int, text: str = "") -> None:
        """Counts a batch of images; `text` is shown beside the bar."""
        if self._progress is None:
            return
        self._images += num_images
        speed = self._images / max(time.perf_counter() - self._start, 1e-9)
        self._progress.update(self._task, advance=1, text=f"{text}  {speed:.1f} img/s")


@contextmanager
def show_bar(console: Console, title: str, total: int) -> Iterator[Bar]:
    """A bar that disappears when its batches are done."""
    if not console.is_terminal:
        yield Bar(None, title, total)
        return
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", table_column=Column(min_width=len(title))),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
    ]
    if console.width >= 110:  # on a narrow terminal the numbers say more
        columns.insert(1, BarColumn(bar_width=20))
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress, title, total)


@contextmanager
def show_download(console: Console) -> Iterator[Callable[[str, int, int | None], None]]:
    """Takes the name of a file, its bytes so far and in all; the bar comes with the first."""
    if not console.is_terminal:
        yield lambda name, done, total: None
        return
    columns = (
        TextColumn("{task.description}"),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=console, transient=True)
    tasks: dict[str, TaskID] = {}

    def update(name: str, done: int, total: int | None) -> None:
        progress.start()
        if name not in tasks:
            tasks[name] = progress.add_task(name, total=total)
        progress.update(tasks[name], completed=done, total=total)

    try:
        yield update
    finally:
        progress.stop()


def say(console: Console, text: str) -> None:
    """Prints a line as it is: no markup, no colours, no wrapping in files."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss or mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"
