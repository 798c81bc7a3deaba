"""Names of MMDetection 3.x tensors in terms of ours, and back."""

from __future__ import annotations

import re
from itertools import product

Rule = tuple[str, str]
"""Their name and ours; `#` stands for a number and `*` for the rest, the same in both."""

_SOLOV2: list[Rule] = [
    ("backbone.*", "backbone.body.*"),
    ("neck.lateral_convs.#.conv.*", "neck.laterals.#.*"),
    ("neck.fpn_convs.#.conv.*", "neck.outputs.#.*"),
    ("mask_head.conv_cls.*", "grid_branches.class_logits.*"),
    ("mask_head.conv_kernel.*", "grid_branches.kernels.*"),
]
for _theirs, _ours in (("conv", "conv"), ("gn", "norm")):
    _SOLOV2 += [
        (f"mask_head.cls_convs.#.{_theirs}.*", f"grid_branches.class_convs.#.{_ours}.*"),
        (f"mask_head.kernel_convs.#.{_theirs}.*", f"grid_branches.kernel_convs.#.{_ours}.*"),
        (
            f"mask_head.mask_feature_head.convs_all_levels.#.conv#.{_theirs}.*",
            f"mask_branch.levels.#.#.{_ours}.*",
        ),
        (f"mask_head.mask_feature_head.conv_pred.{_theirs}.*", f"mask_branch.output.{_ours}.*"),
    ]

_RTMDET_INS: list[Rule] = [
    ("backbone.stem.*", "backbone.body.model.stem.*"),
    *((f"backbone.stage{n}.*", f"backbone.body.model.stages.{n - 1}.*") for n in (1, 2, 3, 4)),
    ("bbox_head.rtm_cls.#.*", "head.class_logits.#.*"),
    ("bbox_head.rtm_reg.#.*", "head.distances.#.*"),
    ("bbox_head.rtm_kernel.#.*", "head.kernels.#.*"),
    ("bbox_head.mask_head.fusion_conv.*", "mask_branch.fusion.*"),
    ("bbox_head.mask_head.projection.*", "mask_branch.projection.*"),
    # The box branch is the class branch, and all levels share its convolutions: MMDetection
    # lists each of these tensors several times, we have it once.
    *(
        (f"bbox_head.{branch}_convs.{level}.#.conv.*", "head.shared_convs.#.*")
        for branch, level in product(("cls", "reg"), (0, 1, 2))
    ),
    *((f"bbox_head.{b}_convs.#.#.bn.*", "head.shared_norms.#.#.*") for b in ("cls", "reg")),
]
for _theirs, _ours in (("conv", "conv"), ("bn", "norm")):
    _RTMDET_INS += [
        (f"neck.{theirs}.#.{_theirs}.*", f"neck.{ours}.#.{_ours}.*")
        for theirs, ours in (
            ("reduce_layers", "reduce"),
            ("downsamples", "downsample"),
            ("out_convs", "outputs"),
        )
    ]
    _RTMDET_INS += [
        (f"neck.{way}_blocks.#.{theirs}.{_theirs}.*", f"neck.{way}.#.{ours}.{_ours}.*")
        for way in ("top_down", "bottom_up")
        for theirs, ours in (
            ("main_conv", "main"),
            ("short_conv", "short"),
            ("final_conv", "final"),
            ("blocks.#.conv1", "blocks.#.conv1"),
            ("blocks.#.conv2.depthwise_conv", "blocks.#.depthwise"),
            ("blocks.#.conv2.pointwise_conv", "blocks.#.pointwise"),
        )
    ]
    _RTMDET_INS += [
        (f"bbox_head.kernel_convs.#.#.{_theirs}.*", f"head.kernel_convs.#.#.{_ours}.*"),
        (f"bbox_head.mask_head.stacked_convs.#.{_theirs}.*", f"mask_branch.convs.#.{_ours}.*"),
    ]

_RULES = {"solov2": _SOLOV2, "rtmdet-ins": _RTMDET_INS}


def rename(key: str, architecture: str) -> str | None:
    """Our name of one of their tensors; None if they have no tensor of that name."""
    return _translate(key, _RULES[architecture])


def rename_back(key: str, architecture: str) -> str | None:
    """Their name, or the first of several, of one of our tensors."""
    return _translate(key, [(ours, theirs) for theirs, ours in _RULES[architecture]])


def _translate(key: str, rules: list[Rule]) -> str | None:
    for source, target in rules:
        pattern = re.escape(source).replace(r"\#", r"(\d+)").replace(r"\*", "(.+)")
        match = re.fullmatch(pattern, key)
        if match:
            for group in match.groups():
                target = re.sub(r"[#*]", group, target, count=1)
            return target
    return None
