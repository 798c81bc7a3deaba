"""The built-in sample dataset: generated, deterministic, photograph-like scenes."""

from crispmask.data.scenes.shapes import CLASS_NAMES
from crispmask.data.scenes.write import draw_sample, write_sample_dataset

__all__ = ["CLASS_NAMES", "draw_sample", "write_sample_dataset"]
