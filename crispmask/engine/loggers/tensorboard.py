"""Events for `tensorboard --logdir`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from crispmask.engine.callback import Callback, EpochEnd, StepEnd, TrainEnd, TrainStart

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard(Callback):
    """Writes the losses of every step and the columns of results.csv into the run folder."""

    def __init__(self) -> None:
        self._writer: SummaryWriter | None = None

    def on_train_start(self, event: TrainStart) -> None:
        """Opens a file; events of later steps, left by an interrupted run, are hidden."""
        # Imported here: it takes a second.
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(event.work_dir), purge_step=event.step or None)

    def on_step(self, event: StepEnd) -> None:
        """Loss, learning rate and gradient norm."""
        values = {"step/total": event.losses["total"], "step/lr": event.lr}
        if event.grad_norm is not None:
            values["step/norm"] = event.grad_norm
        self._add(values, event.step)

    def on_epoch_end(self, event: EpochEnd) -> None:
        """The columns of results.csv."""
        row = {key: value for key, value in event.row.items() if key != "epoch"}
        self._add(row, event.step)
        if self._writer is not None:
            self._writer.flush()

    def on_train_end(self, event: TrainEnd) -> None:
        """Closes the file."""
        self._close()

    def on_error(self, error: BaseException) -> None:
        """Closes the file."""
        self._close()

    def _add(self, values: Mapping[str, float], step: int) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
