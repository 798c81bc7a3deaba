"""Names of MMDetection 3.x state dicts in terms of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from crispmask.errors import WeightsError

_SOLOV2 = [
    (r"^backbone\.", "backbone.body."),
    (r"^neck\.lateral_convs\.(\d)\.conv\.", r"neck.laterals.\1."),
    (r"^neck\.fpn_convs\.(\d)\.conv\.", r"neck.outputs.\1."),
    (r"^mask_head\.(cls|kernel)_convs\.(\d)\.", r"grid_branches.\1_convs.\2."),
    (r"^grid_branches\.cls_convs\.", "grid_branches.class_convs."),
    (r"^mask_head\.conv_cls\.", "grid_branches.class_logits."),
    (r"^mask_head\.conv_kernel\.", "grid_branches.kernels."),
    (
        r"^mask_head\.mask_feature_head\.convs_all_levels\.(\d)\.conv(\d)\.",
        r"mask_branch.levels.\1.\2.",
    ),
    (r"^mask_head\.mask_feature_head\.conv_pred\.", "mask_branch.output."),
    (r"^(grid_branches|mask_branch)\.(.*)\.gn\.", r"\1.\2.norm."),
]

_RTMDET_INS = [
    (r"^backbone\.stem\.", "backbone.body.model.stem."),
    *((rf"^backbone\.stage{n}\.", f"backbone.body.model.stages.{n - 1}.") for n in (1, 2, 3, 4)),
    (r"^neck\.reduce_layers\.", "neck.reduce."),
    (r"^neck\.top_down_blocks\.", "neck.top_down."),
    (r"^neck\.bottom_up_blocks\.", "neck.bottom_up."),
    (r"^neck\.downsamples\.", "neck.downsample."),
    (r"^neck\.out_convs\.", "neck.outputs."),
    (r"^(neck\..*)\.(main|short|final)_conv\.", r"\1.\2."),
    (r"^(neck\..*)\.conv2\.(depthwise|pointwise)_conv\.", r"\1.\2."),
    (r"^(neck\..*)\.bn\.", r"\1.norm."),
    (r"^bbox_head\.cls_convs\.\d\.(\d)\.conv\.", r"head.shared_convs.\1."),
    (r"^bbox_head\.cls_convs\.(\d)\.(\d)\.bn\.", r"head.shared_norms.\1.\2."),
    (r"^bbox_head\.kernel_convs\.(\d)\.(\d)\.conv\.", r"head.kernel_convs.\1.\2.conv."),
    (r"^bbox_head\.kernel_convs\.(\d)\.(\d)\.bn\.", r"head.kernel_convs.\1.\2.norm."),
    (r"^bbox_head\.rtm_cls\.", "head.class_logits."),
    (r"^bbox_head\.rtm_reg\.", "head.distances."),
    (r"^bbox_head\.rtm_kernel\.", "head.kernels."),
    (r"^bbox_head\.mask_head\.fusion_conv\.", "mask_branch.fusion."),
    (r"^bbox_head\.mask_head\.stacked_convs\.(\d)\.conv\.", r"mask_branch.convs.\1.conv."),
    (r"^bbox_head\.mask_head\.stacked_convs\.(\d)\.bn\.", r"mask_branch.convs.\1.norm."),
    (r"^bbox_head\.mask_head\.projection\.", "mask_branch.projection."),
]

_RULES = {"solov2": _SOLOV2, "rtmdet-ins": _RTMDET_INS}

_ALIAS = re.compile(r"^bbox_head\.reg_convs\.")
_STEM = "backbone.body.model.stem.0.conv.weight"


def rename(key: str, architecture: str) -> str | None:
    """Our name of an MMDetection key; None for an alias of a tensor listed elsewhere."""
    if _ALIAS.match(key):
        return None
    for pattern, replacement in _RULES[architecture]:
        key = re.sub(pattern, replacement, key)
    return key


def convert_state(state: Mapping[str, Tensor], architecture: str) -> dict[str, Tensor]:
    """The state dict under our names.

    RTMDet-Ins was published for BGR input: the input channels of its stem are turned round,
    since images here are RGB everywhere. Its mean and std agree with ours up to that order.

    Raises:
        WeightsError: two values for one shared tensor.
    """
    converted: dict[str, Tensor] = {}
    for key, value in state.items():
        name = rename(key, architecture)
        if name is None:
            continue
        if name in converted and not converted[name].equal(value):
            raise WeightsError(f"{key} differs from the other copies of the shared {name}")
        converted[name] = value
    if architecture == "rtmdet-ins" and _STEM in converted:
        converted[_STEM] = converted[_STEM].flip(1)
    return converted


def read_classes(path: Path, content: Mapping[str, Any], architecture: str) -> tuple[str, ...]:
    """Class names of an MMDetection checkpoint, by its meta block or else numbered.

    Raises:
        WeightsError: the file holds no class prediction of that architecture.
    """
    key = {"solov2": "mask_head.conv_cls.bias", "rtmdet-ins": "bbox_head.rtm_cls.0.bias"}
    bias = content.get("state_dict", {}).get(key.get(architecture, ""))
    if bias is None:
        raise WeightsError(f"{path}: no {architecture} checkpoint of MMDetection 3.x")
    meta = content.get("meta") or {}
    dataset = meta.get("dataset_meta") or {}
    names = dataset.get("classes") or dataset.get("CLASSES") or ()  # both are found in files
    if len(names) == len(bias):
        return tuple(str(name) for name in names)
    return tuple(f"class_{i}" for i in range(len(bias)))
