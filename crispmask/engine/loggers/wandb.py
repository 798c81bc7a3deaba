"""`--logger wandb`: Weights & Biases."""

from __future__ import annotations

from typing import Any

from crispmask.engine.callback import (
    Callback,
    EpochEnd,
    StepEnd,
    TrainEnd,
    TrainStart,
    ValidationEnd,
)
from crispmask.engine.loggers.files import (
    PICTURES,
    figures,
    import_logger,
    keep_run_id,
    read_run_id,
    summary,
)
from crispmask.engine.loggers.pictures import (
    chosen_images,
    is_time_for_pictures,
    labels_and_predictions,
)
from crispmask.engine.resolve import to_plain

EVERY = 10
"""Steps from one report of a step to the next; each is a message over the network."""


class WandB(Callback):
    """Reports figures, pictures and settings; checkpoints stay here.

    Project, mode and more are taken from its environment variables, such as WANDB_PROJECT.

    Raises:
        ConfigError: wandb is not installed.
    """

    def __init__(self) -> None:
        self._wandb = import_logger("wandb")
        self._run: Any = None
        self._start: TrainStart | None = None

    def on_train_start(self, event: TrainStart) -> None:
        """Begins a run, or goes on with the one this folder had."""
        self._start = event
        run_id = read_run_id(event.work_dir, "wandb")
        self._run = self._wandb.init(
            id=run_id,
            resume="allow" if run_id else None,
            name=event.work_dir.name,
            dir=str(event.work_dir),
            config=to_plain(event.config),
        )
        keep_run_id(event.work_dir, "wandb", str(self._run.id))
        # Steps of the optimizer are the axis of everything; without this a run that is continued
        # could not report steps again that were lost.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def on_step(self, event: StepEnd) -> None:
        """Loss, learning rate and gradient norm now and then."""
        if event.step % EVERY == 0:
            self._log(event.figures(), event.step)

    def on_validation_end(self, event: ValidationEnd) -> None:
        """Images beside their labels now and then."""
        if self._start is None or not is_time_for_pictures(event.epoch, event.epochs):
            return
        val, names = self._start.val, self._start.names
        rows = event.evaluation.predictions
        pictures = [
            self._wandb.Image(labels_and_predictions(val, i, rows, names), caption=val.path(i).name)
            for i in chosen_images(val)
        ]
        self._log({"labels and predictions": pictures}, event.step)

    def on_epoch_end(self, event: EpochEnd) -> None:
        """The columns of results.csv."""
        self._log({**figures(event.row), "epoch": event.epoch}, event.step)

    def on_train_end(self, event: TrainEnd) -> None:
        """Figures of the best model, pictures of the run folder."""
        paths = [event.work_dir / name for name in PICTURES]
        pictures = {path.stem: self._wandb.Image(str(path)) for path in paths if path.is_file()}
        self._log(pictures, event.step)
        self._run.summary.update({**summary(event.metrics), "best/epoch": event.best_epoch})
        self._run.finish()

    def on_error(self, error: BaseException) -> None:
        """Ends the run as failed; one that was interrupted can be continued."""
        if self._run is not None:
            self._run.finish(exit_code=1)

    def _log(self, values: dict[str, Any], step: int) -> None:
        self._run.log({**values, "step": step})
