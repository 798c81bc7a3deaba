"""Progress on a terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.progress import Progress, TaskID


def show_progress() -> Progress:
    """A display on stderr that disappears at its end; silent where there is no terminal."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def report_downloads(progress: Progress) -> Callable[[str, int, int | None], None]:
    """Takes the name of a file, its bytes so far and in all, and shows them in a display."""
    tasks: dict[str, TaskID] = {}

    def update(name: str, done: int, total: int | None) -> None:
        if name not in tasks:
            tasks[name] = progress.add_task(name, total=total)
        progress.update(tasks[name], completed=done, total=total, visible=done != total)

    return update
