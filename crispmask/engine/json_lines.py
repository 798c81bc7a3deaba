"""A run as JSON lines: one object per event, for scripts. docs/training.md lists the keys."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from crispmask.engine.callback import Callback, EpochEnd, TrainEnd, TrainStart, ValidationEnd
from crispmask.engine.resolve import to_plain


class JsonLines(Callback):
    """Writes events, and the warnings of the package from its making on.

    Args:
        write: takes a line without its end.
    """

    def __init__(self, write: Callable[[str], Any]) -> None:
        self._write = write
        self._warnings = _Warnings(self._send)
        logging.getLogger("crispmask").addHandler(self._warnings)

    def on_train_start(self, event: TrainStart) -> None:
        """Event `start`."""
        self._send(
            "start",
            work_dir=str(event.work_dir),
            config=to_plain(event.config),
            names=list(event.names),
            weights=event.weights,
            device=event.device,
            lr=event.config.lr,
            lr_reason=event.lr_reason,
            parameters=event.num_parameters,
            flops=event.flops,
            train_images=len(event.train),
            train_instances=event.train.num_instances(),
            val_images=len(event.val),
            val_instances=event.val.num_instances(),
            epoch=event.epoch,
            step=event.step,
        )

    def on_validation_end(self, event: ValidationEnd) -> None:
        """Event `validation`."""
        self._send(
            "validation",
            epoch=event.epoch,
            epochs=event.epochs,
            step=event.step,
            is_best=event.is_best,
            seconds=event.seconds,
            metrics=event.evaluation.metrics.to_json(),
        )

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Event `epoch`, with the columns of results.csv."""
        row = {**event.row, "epochs": event.epochs, "step": event.step}
        self._send(
            "epoch",
            **row,
            seconds_left=event.seconds_left,
            unreadable=event.num_unreadable,
        )

    def on_note(self, text: str) -> None:
        """Event `note`."""
        self._send("note", text=text)

    def on_train_end(self, event: TrainEnd) -> None:
        """Event `end`."""
        self._send(
            "end",
            reason=event.reason,
            epoch=event.epoch,
            best_epoch=event.best_epoch,
            best_path=str(event.best_path),
            work_dir=str(event.work_dir),
            seconds=event.seconds,
            metrics=event.metrics,
        )
        logging.getLogger("crispmask").removeHandler(self._warnings)

    def on_error(self, error: BaseException) -> None:
        """Event `error`."""
        self._send("error", type=type(error).__name__, text=" ".join(str(error).split()))
        logging.getLogger("crispmask").removeHandler(self._warnings)

    def _send(self, kind: str, **values: Any) -> None:
        content = {"event": kind, "time": round(time.time(), 3), **values}
        self._write(json.dumps(_plain(content), ensure_ascii=False, allow_nan=False))


class _Warnings(logging.Handler):
    """Event `warning`."""

    def __init__(self, send: Callable[..., None]) -> None:
        super().__init__(logging.WARNING)
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        self._send("warning", text=record.getMessage())


def _plain(value: Any) -> Any:
    """The value with null for numbers that JSON has not."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
