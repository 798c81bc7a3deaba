"""Progress on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import Progress


def show_progress() -> Progress:
    """A display on stderr that disappears at its end; silent where there is no terminal."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)
