"""What the terminal shows while a run goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

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


class NotebookLine(Bar):
    """Counts batches in one line of a notebook that changes in place.

    Args:
        shell: of IPython, whose display is used.
        title: what is counted.
        total: batches.
    """

    def __init__(self, shell: ModuleType, title: str, total: int) -> None:
        super().__init__(None, title, total)
        self._display = shell.display
        self._id = f"crispmask-{id(self)}"
        self._title, self._total, self._done, self._shown = title, total, 0, 0.0
        self._show(title, update=False)

    def reach(self, num_images: int) -> None:
        """Sets how much is done, where images are what is counted."""
        self._done = num_images
        self._refresh("")

    def advance(self, num_images: int, text: str = "") -> None:
        """Counts a batch of images; `text` is shown beside it."""
        self._done += 1
        self._images += num_images
        self._refresh(f"  {text}  {self._images / max(self._seconds(), 1e-9):.1f} img/s")

    def clear(self) -> None:
        """Leaves the line empty."""
        self._show("", update=True)

    def _seconds(self) -> float:
        return time.perf_counter() - self._start

    def _refresh(self, text: str) -> None:
        if self._seconds() - self._shown < _NOTEBOOK_SECONDS and self._done < self._total:
            return
        self._shown = self._seconds()
        left = self._shown / max(self._done, 1) * (self._total - self._done)
        line = f"{self._title}  {self._done}/{self._total}{text}  left {duration(left)}"
        self._show(line, update=True)

    def _show(self, line: str, update: bool) -> None:
        self._display({"text/plain": line}, raw=True, display_id=self._id, update=update)


_NOTEBOOK_SECONDS = 0.5
"""Seconds between changes of a line in a notebook; each is a message to the browser."""


def notebook_display() -> ModuleType | None:
    """IPython's module of displays, if this runs in the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return import_module("IPython.display") if hasattr(shell, "kernel") else None


@contextmanager
def show_bar(console: Console, title: str, total: int) -> Iterator[Bar]:
    """A bar that disappears when its batches are done."""
    notebook = None if console.quiet else notebook_display()
    if notebook is not None:
        line = NotebookLine(notebook, title, total)
        yield line
        line.clear()
        return
    if not console.is_terminal or console.quiet:
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
    if not console.is_terminal or console.quiet:
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
