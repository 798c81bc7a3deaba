"""Builds a network from a description that fits into a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from crispmask.errors import ConfigError
from crispmask.models.backbone import Backbone, make_backbone
from crispmask.models.interface import Network
from crispmask.models.rtmdet_ins.config import STRIDES, RTMDetInsConfig
from crispmask.models.rtmdet_ins.model import RTMDetIns
from crispmask.models.solov2 import config as solov2
from crispmask.models.solov2.model import Solov2
from crispmask.models.table import find_model


@dataclass(frozen=True)
class ModelSpec:
    """What defines a network.

    Attributes:
        architecture: `solov2` or `rtmdet-ins`.
        model: a size of the table, or an official layout such as `r50`, `light-r18`, `x`.
        num_classes: K.
        imgsz: longest image side it is made for; None keeps the published grids and ranges.
        mask_stride: input pixels per pixel of the mask loss.
        grids: S of the five grids of solov2; None follows `imgsz`.
        backbone: timm name of another backbone than that of the model; None takes the latter.
    """

    architecture: str
    model: str
    num_classes: int
    imgsz: int | None = None
    mask_stride: int = 4
    grids: tuple[int, ...] | None = None
    backbone: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelSpec:
        """The inverse of `to_dict`."""
        return cls(**values)


def build_network(spec: ModelSpec) -> Network[Any]:
    """The network of a spec with random weights.

    Raises:
        ConfigError: no such architecture or model, or a backbone that does not fit it.
    """
    if spec.num_classes < 1:
        raise ConfigError(f"a model needs at least one class, not {spec.num_classes}")
    config = find_model(spec.architecture, spec.model)
    if isinstance(config, RTMDetInsConfig):
        backbone = _backbone(spec, config.backbone, STRIDES)
        return RTMDetIns(config, spec.num_classes, spec.mask_stride, backbone)
    if spec.imgsz is not None:
        config = replace(
            config,
            grids=solov2.grids_for(spec.imgsz),
            scale_ranges=solov2.ranges_for(spec.imgsz),
        )
    if spec.grids is not None:
        config = replace(config, grids=tuple(spec.grids))
    backbone = _backbone(spec, config.backbone, solov2.BACKBONE_STRIDES)
    return Solov2(config, spec.num_classes, spec.mask_stride, backbone)


def _backbone(spec: ModelSpec, usual: str, strides: tuple[int, ...]) -> Backbone | None:
    """The backbone a spec asks for, None if it is the usual one of its model."""
    if spec.backbone is None or spec.backbone == usual:
        return None
    return make_backbone(spec.backbone, strides, spec.architecture)
