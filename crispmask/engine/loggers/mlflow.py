"""`--logger mlflow`: MLflow Tracking."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from crispmask.engine.callback import Callback, EpochEnd, StepEnd, TrainEnd, TrainStart
from crispmask.engine.loggers.files import (
    FILES,
    PICTURES,
    figures,
    import_logger,
    keep_run_id,
    read_run_id,
    summary,
)
from crispmask.engine.loggers.settings import flat_settings
from crispmask.engine.resolve import to_plain

EVERY = 10
"""Steps from one report of a step to the next."""


class MLflow(Callback):
    """Reports figures and settings, and at the end files, pictures and the best checkpoint.

    Where to is taken from its environment variables, such as MLFLOW_TRACKING_URI and
    MLFLOW_EXPERIMENT_NAME.

    Raises:
        ConfigError: mlflow is not installed.
    """

    def __init__(self) -> None:
        self._mlflow = import_logger("mlflow")
        self._active = False

    def on_train_start(self, event: TrainStart) -> None:
        """Begins a run, or goes on with the one this folder had."""
        run_id = read_run_id(event.work_dir, "mlflow")
        run = self._mlflow.start_run(
            run_id=run_id, run_name=None if run_id else event.work_dir.name
        )
        self._active = True
        keep_run_id(event.work_dir, "mlflow", str(run.info.run_id))
        if run_id is None:  # settings cannot be given twice
            self._mlflow.log_params(flat_settings(to_plain(event.config)))

    def on_step(self, event: StepEnd) -> None:
        """Loss, learning rate and gradient norm now and then."""
        if event.step % EVERY == 0:
            self._log(event.figures(), event.step)

    def on_epoch_end(self, event: EpochEnd) -> None:
        """The columns of results.csv."""
        self._log(figures(event.row), event.step)

    def on_train_end(self, event: TrainEnd) -> None:
        """Figures of the best model, files of the run folder."""
        self._log({**summary(event.metrics), "best/epoch": event.best_epoch}, event.step)
        for name in (*FILES, *PICTURES, str(event.best_path.relative_to(event.work_dir))):
            if (event.work_dir / name).is_file():
                self._mlflow.log_artifact(str(event.work_dir / name))
        self._mlflow.end_run()

    def on_error(self, error: BaseException) -> None:
        """Ends the run as failed, or as killed; one that was interrupted can be continued."""
        if self._active:
            stopped = isinstance(error, KeyboardInterrupt)
            self._mlflow.end_run("KILLED" if stopped else "FAILED")

    def _log(self, values: Mapping[str, Any], step: int) -> None:
        finite = {key: float(value) for key, value in values.items() if math.isfinite(value)}
        self._mlflow.log_metrics(finite, step=step)
