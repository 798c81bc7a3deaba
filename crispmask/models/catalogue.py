"""COCO weights that were published for the official layouts. No torch here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from crispmask.config import Architecture

OPENMMLAB = "https://download.openmmlab.com"
"""Where MMDetection publishes; the variable CRISPMASK_MIRROR names another place."""

HUB = "https://huggingface.co"
"""Where the mirrors are; the variable HF_ENDPOINT names another place, as for its own tools."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file to download.

    Attributes:
        url: where it is.
        sha256: of its content, as far as it is known: the first 8 hex digits or all 64.
    """

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """Of the file."""
        return self.url.rpartition("/")[2]

    def redirected(self) -> Source:
        """The source at the place the environment names, if it does."""
        for base, variable in ((OPENMMLAB, "CRISPMASK_MIRROR"), (HUB, "HF_ENDPOINT")):
            other = os.environ.get(variable, "").rstrip("/")
            if other and self.url.startswith(f"{base}/"):
                return replace(self, url=other + self.url.removeprefix(base))
        return self


@dataclass(frozen=True, slots=True)
class CocoWeights:
    """Weights of one official layout.

    Attributes:
        architecture: `solov2` or `rtmdet-ins`.
        layout: which of its layouts.
        mask_ap: mask mAP50-95 on COCO val2017 that its authors publish, in percent.
        sources: the official file, then mirrors.
    """

    architecture: Architecture
    layout: str
    mask_ap: float
    sources: tuple[Source, ...]


def _solov2(layout: str, ap: float, folder: str, stamp: str, digits: str) -> CocoWeights:
    url = f"{OPENMMLAB}/mmdetection/v2.0/solov2/{folder}/{folder}_{stamp}-{digits}.pth"
    return CocoWeights("solov2", layout, ap, (Source(url, digits),))


def _rtmdet_ins(
    layout: str, ap: float, folder: str, stamp: str, sha256: str, mirror: str
) -> CocoWeights:
    name = f"{folder}_{stamp}-{sha256[:8]}.pth"
    size = layout[0]  # the mirrors are named after t, s, m, l and x
    copy = f"LibreRTMDet{size}-seg"
    sources = (
        Source(f"{OPENMMLAB}/mmdetection/v3.0/rtmdet/{folder}/{name}", sha256),
        Source(f"{HUB}/LibreYOLO/{copy}/resolve/main/{copy}.pt", mirror),
    )
    return CocoWeights("rtmdet-ins", layout, ap, sources)


CATALOGUE: tuple[CocoWeights, ...] = (
    _solov2("light-r18", 29.7, "solov2_light_r18_fpn_3x_coco", "20220511_083717", "75fa355b"),
    _solov2("light-r34", 31.9, "solov2_light_r34_fpn_3x_coco", "20220511_091839", "e51659d3"),
    _solov2("light-r50", 33.7, "solov2_light_r50_fpn_3x_coco", "20220512_165256", "c93a6074"),
    _solov2("r50", 37.5, "solov2_r50_fpn_3x_coco", "20220512_125856", "fed092d4"),
    _solov2("r101", 39.1, "solov2_r101_fpn_3x_coco", "20220511_095119", "c559a076"),
    _rtmdet_ins(
        "tiny",
        35.4,
        "rtmdet-ins_tiny_8xb32-300e_coco",
        "20221130_151727",
        "ec670f7ee9e20bd7931e15f15b7016f7fe531baaab81f2e6153382d046111885",
        "55c387ce50424e9bf1816b59f6eff7ec1ea9455db35049be46f946670c18d775",
    ),
    _rtmdet_ins(
        "s",
        38.7,
        "rtmdet-ins_s_8xb32-300e_coco",
        "20221121_212604",
        "fdc5d7ec327cf46dba079d664be98a853e80936098c1778edf5ffb726b084908",
        "29ffa1d3719d335034259c6e1b2accd68c50460f86a44c9d08f497041ee4153f",
    ),
    _rtmdet_ins(
        "m",
        42.1,
        "rtmdet-ins_m_8xb32-300e_coco",
        "20221123_001039",
        "6eba602e5fb98ee993cffb1724bd6d51d2e86a69f261147f405e5582ad0098c1",
        "bd0c615739c58a3fcbfb783c927ecfae57f0aa55c0d5ecded1e4b0fa996acb7f",
    ),
    _rtmdet_ins(
        "l",
        43.7,
        "rtmdet-ins_l_8xb32-300e_coco",
        "20221124_103237",
        "78d1d6525c3065c3cf4f7033326f8a38ac6252fad28a7ff5f12e9db2d1a92b6a",
        "2df3d44206b14c994cd86eca9a75c73a9dbb9acd00293f158dbf1d7da3967310",
    ),
    _rtmdet_ins(
        "x",
        44.6,
        "rtmdet-ins_x_8xb16-300e_coco",
        "20221124_111313",
        "33d4595b3be83358b5187c0e9473aac6fb5d441f523fc2bdccb955121b77cfd7",
        "2870367a886c344de867e7c8f885b76aece9911bace8c1997f34947d5f43e592",
    ),
)
"""Official file names and folders: MMDetection, configs/rtmdet and configs/solov2. Full hashes
and mirrors: the model cards of LibreYOLO/LibreRTMDet{t,s,m,l,x}-seg."""

SERVES: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("solov2", "nano"): "light-r18",
        ("solov2", "small"): "light-r34",
        ("solov2", "medium"): "r50",
        ("solov2", "large"): "r101",
        ("rtmdet-ins", "small"): "s",
        ("rtmdet-ins", "medium"): "m",
        ("rtmdet-ins", "large"): "l",
    }
)
"""The layout whose weights a size starts from, where its name is another."""

PARTIAL = frozenset({("solov2", size) for size in ("nano", "small", "medium", "large")})
"""Sizes with other widths than the layout: only the layers that fit are filled."""


def find_weights(architecture: str, model: str) -> CocoWeights | None:
    """The weights that serve a size or layout, by its name in the table."""
    layout = SERVES.get((architecture, model), model)
    rows = (row for row in CATALOGUE if (row.architecture, row.layout) == (architecture, layout))
    return next(rows, None)
