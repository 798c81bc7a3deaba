"""The pictures in a run folder. Matplotlib loads on the first plot, not before."""

from __future__ import annotations

from crispmask.engine.plots.evaluation import plot_confusion, plot_f1_curve, plot_pr_curve
from crispmask.engine.plots.labels import plot_labels
from crispmask.engine.plots.results import plot_results
from crispmask.engine.plots.sheets import batch_sheet, instances_sheet

__all__ = [
    "batch_sheet",
    "instances_sheet",
    "plot_confusion",
    "plot_f1_curve",
    "plot_labels",
    "plot_pr_curve",
    "plot_results",
]
