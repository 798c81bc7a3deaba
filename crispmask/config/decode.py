"""From outputs to instances."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DecodeConfig:
    """How outputs become instances. Each architecture names its presets."""

    conf: float = 0.25
    """Lowest score of an instance that is returned."""
    candidate_conf: float = 0.05
    """Lowest class probability of a prior or cell that is looked at."""
    nms_iou: float = 0.6
    """Boxes of one class that overlap more are one instance (rtmdet-ins)."""
    max_det: int = 100
    """Most instances per image."""
    pre_nms: int = 1000
    """Most candidates that enter NMS: per level (rtmdet-ins), per image (solov2)."""
    pre_masks: int | None = 1000
    """Most cells, classes counted apart, whose masks are drawn, the most probable first; None: all
    (solov2)."""
    mask_threshold: float = 0.5
    """Probability above which a pixel belongs to the mask."""
    sigma: float = 2.0
    """Width of the Gaussian of matrix NMS (solov2)."""
