"""What a person sees of a run on the terminal or in a notebook."""

from __future__ import annotations

from rich.console import Console

from crispmask.engine.callback import Callback, EpochEnd, TrainEnd, TrainStart
from crispmask.engine.messages import epoch_line, print_end, print_interrupted, start_rows
from crispmask.engine.progress import say


class Screen(Callback):
    """Prints what is trained, a line for each epoch, and what came out.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started: TrainStart | None = None
        self._epochs = 0

    def on_train_start(self, event: TrainStart) -> None:
        """Prints what is going to be trained, on what and where."""
        self._started, self._epochs = event, event.config.epochs
        for name, value in start_rows(event).items():
            say(self._console, f"{name:<10}{value}")

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Prints the line of an epoch."""
        self._epochs = event.epochs
        line = epoch_line(
            event.row, event.epochs, event.num_images, event.seconds_left, event.num_unreadable
        )
        say(self._console, line)

    def on_note(self, text: str) -> None:
        """Prints it."""
        say(self._console, text)

    def on_train_end(self, event: TrainEnd) -> None:
        """Prints the metrics of the best model and where everything lies."""
        print_end(self._console, event)

    def on_error(self, error: BaseException) -> None:
        """Prints where to continue from, if it was Ctrl-C; the command tells errors."""
        if isinstance(error, KeyboardInterrupt) and self._started is not None:
            last = self._started.work_dir / "weights" / "last.pt"
            print_interrupted(self._console, self._epochs, last)
