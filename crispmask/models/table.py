"""The table of models, shown without importing torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crispmask.config import Architecture
from crispmask.errors import ConfigError
from crispmask.models.rtmdet_ins import config as rtmdet_ins
from crispmask.models.rtmdet_ins.config import RTMDetInsConfig
from crispmask.models.solov2 import config as solov2
from crispmask.models.solov2.config import Solov2Config


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One size of one architecture.

    Attributes:
        architecture: `solov2` or `rtmdet-ins`.
        model: name of the size.
        backbone: timm name.
        neck_channels: channels of the pyramid.
        mask_channels: channels of the mask features.
        parameters: parameters with 80 classes.
        flops: of the forward pass of one 640 x 640 image, a multiply-add counted as 2;
            the kernels applied afterwards to what was found are not in it.
        batch: images per training step when none is given.
    """

    architecture: Architecture
    model: str
    backbone: str
    neck_channels: int
    mask_channels: int
    parameters: int
    flops: int
    batch: int


_COSTS = {
    ("solov2", "nano"): (13_652_048, 57_146_101_760),
    ("solov2", "small"): (26_687_536, 120_627_099_648),
    ("solov2", "medium"): (33_701_904, 178_557_329_408),
    ("solov2", "large"): (66_460_304, 398_787_543_040),
    ("rtmdet-ins", "tiny"): (5_638_187, 20_955_194_880),
    ("rtmdet-ins", "small"): (10_183_311, 38_076_805_120),
    ("rtmdet-ins", "medium"): (27_575_111, 97_100_267_520),
    ("rtmdet-ins", "large"): (57_365_663, 193_266_196_480),
}
"""Parameters and FLOPs with 80 classes; a test counts both again."""


def list_models() -> list[ModelRow]:
    """The sizes of both architectures, smallest first."""
    rows = [
        ModelRow(
            "solov2",
            model,
            size.backbone,
            size.fpn_channels,
            size.kernel_channels,
            *_COSTS["solov2", model],
            size.batch,
        )
        for model, size in solov2.SIZES.items()
    ]
    rows += [
        ModelRow(
            "rtmdet-ins",
            model,
            size.backbone,
            size.channels,
            rtmdet_ins.NUM_PROTOTYPES,
            *_COSTS["rtmdet-ins", model],
            size.batch,
        )
        for model, size in rtmdet_ins.SIZES.items()
    ]
    return rows


def canonical_model(architecture: str, model: str) -> str:
    """The one name of a model that has two: `nano` for solov2's smallest, `small` for `s` ..."""
    if model in ("nano", "tiny"):
        return "nano" if architecture == "solov2" else "tiny"
    return _OFFICIAL.get(model, model) if architecture == "rtmdet-ins" else model


_OFFICIAL = {"s": "small", "m": "medium", "l": "large"}
"""Official names of the sizes of RTMDet-Ins."""

_TABLES = {"solov2": solov2, "rtmdet-ins": rtmdet_ins}


def models_of(architecture: str) -> Mapping[str, Solov2Config | RTMDetInsConfig]:
    """The sizes of an architecture and its official layouts beyond, by canonical name.

    Raises:
        ConfigError: no such architecture.
    """
    if architecture not in _TABLES:
        raise ConfigError(f"no architecture {architecture!r}: choose {' or '.join(_TABLES)}")
    tables = _TABLES[architecture]
    names = dict.fromkeys(canonical_model(architecture, name) for name in tables.LAYOUTS)
    rows = {**tables.SIZES, **tables.LAYOUTS}
    return {name: rows[name] for name in (*tables.SIZES, *names)}


def find_model(architecture: str, model: str) -> Solov2Config | RTMDetInsConfig:
    """The size or official layout of a name.

    Raises:
        ConfigError: no such architecture, or it has no such model.
    """
    rows = models_of(architecture)
    name = canonical_model(architecture, model)
    if name not in rows:
        raise ConfigError(f"{architecture} has no model {model!r}: choose {', '.join(rows)}")
    return rows[name]
