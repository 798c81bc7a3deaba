"""What happens when losses or gradients are not finite.

One such step is left out and its batch saved. Many in a row mean that the weights are beyond
repair: the run goes back to its last checkpoint and on from there at half the rate.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from crispmask.engine.checkpoint import load_checkpoint
from crispmask.engine.plots import batch_sheet
from crispmask.engine.run import Run, restore_run
from crispmask.engine.train_epoch import StepLog
from crispmask.errors import ConfigError
from crispmask.types import Batch

log = logging.getLogger(__name__)

IN_A_ROW = 10
"""Changes of the weights left out in a row after which the run goes back. A gradient scaler
leaves out the first few of a run until it has found its scale."""

SETBACKS = 3
"""Times a run goes back before it is given up."""

MOST_SAVED = 3
"""Batches saved in a run; more would say nothing new."""


class ExplodedError(Exception):
    """Training cannot go on from its present weights."""


@dataclass
class Guard:
    """Watches the steps of a run.

    Attributes:
        folder: where batches are saved.
        names: class names by label.
        in_a_row: changes of the weights left out since the last good one.
        num_saved: batches saved.
    """

    folder: Path
    names: tuple[str, ...]
    in_a_row: int = 0
    num_saved: int = 0

    def watch(self, step: StepLog, batch: Batch, run: Run) -> None:
        """Takes note of a step.

        Raises:
            ExplodedError: too many in a row were not finite.
        """
        if step.is_finite:
            if step.grad_norm is not None:
                self.in_a_row = 0
            return
        if not run.scales_loss:  # a scaler that looks for its scale makes good batches overflow
            self._save(batch, run)
        if step.grad_norm is not None:
            self.in_a_row += 1
        if self.in_a_row >= IN_A_ROW:
            self.in_a_row = 0
            raise ExplodedError

    def _save(self, batch: Batch, run: Run) -> None:
        """Saves a batch as tensors and as a picture."""
        if self.num_saved >= MOST_SAVED:
            return
        self.num_saved += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        rank = f"_rank{run.fabric.global_rank}" if run.fabric.world_size > 1 else ""
        path = self.folder / f"epoch{run.epoch + 1}_batch{run.step}{rank}"
        targets = batch.targets
        torch.save(
            {
                "images": batch.images.cpu(),
                "labels": targets.labels.cpu(),
                "boxes": targets.boxes.cpu(),
                "masks": targets.masks[:].cpu(),  # as bool, also if they were packed
                "counts": targets.counts,
                "indices": batch.indices,
            },
            path.with_suffix(".pt"),
        )
        batch_sheet(batch, self.names, path.with_suffix(".jpg"))
        log.warning(
            "epoch %d: a batch gave losses or gradients that are not finite and is left out; "
            "look at %s",
            run.epoch + 1,
            path.with_suffix(".jpg"),
        )


def go_back(run: Run, last: Path) -> str:
    """Puts a run back to its last checkpoint, at half the rate it had; returns it in words.

    Raises:
        ConfigError: it has gone back too often.
    """
    setbacks, factor = run.setbacks + 1, run.rate_factor / 2
    rate = run.schedule.peak * run.rate_factor
    if setbacks > SETBACKS:
        raise ConfigError(
            f"epoch {run.epoch + 1}: training exploded again at a peak rate of {rate:.3g} "
            f"after going back {SETBACKS} times; use a lower --lr, a longer --warmup-epochs or "
            f"--precision 32, and look at {last.parent.parent / 'unusable'}"
        )
    failed = run.epoch + 1
    restore_run(run, load_checkpoint(last), last)
    run.setbacks, run.rate_factor = setbacks, factor
    return (
        f"epoch {failed}: training exploded at a peak rate of {rate:.3g}; going back to the end "
        f"of epoch {run.epoch} and on with {rate / 2:.3g}"
    )
