"""Several models, one recipe, one dataset, one evaluator, one report."""

from __future__ import annotations

from crispmask.compare.config import CompareConfig

__all__ = ["CompareConfig"]
