"""What the page is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crispmask.config import DecodeConfig
from crispmask.data.index import DatasetIndex
from crispmask.metrics.coco import CocoMetrics
from crispmask.metrics.comparison import Comparison


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything the page shows or computes its figures from.

    Attributes:
        title: what was measured, such as the name of the run.
        subtitle: a line about it.
        metrics: of the measured split.
        predictions: rows of the COCO results file.
        comparison: of them with the annotations of the split.
        measured: its name, a key of `splits`.
        splits: the splits whose labels are counted.
        results: results.csv of the run, None for a validation.
        command: the words that do the same again.
        config: settings as YAML, empty if there are none beyond the command.
        facts: names and values of the timings and versions table.
    """

    title: str
    subtitle: str
    metrics: CocoMetrics
    predictions: Sequence[Mapping[str, Any]]
    comparison: Comparison
    measured: str
    splits: Mapping[str, DatasetIndex]
    results: Path | None = None
    command: str = ""
    config: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by label."""
        return self.metrics.names

    @property
    def conf(self) -> float:
        """Confidence from which predictions are shown first: that of the best F1."""
        best = self.metrics.confidence.best
        return best.confidence if best.f1 > 0 else DecodeConfig.conf

    @property
    def index(self) -> DatasetIndex:
        """The measured split."""
        return self.splits[self.measured]
