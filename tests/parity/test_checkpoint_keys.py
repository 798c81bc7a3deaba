"""Every official layout and every size has MMDetection's tensors, no more and no fewer."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import DATA

from crispmask.models.build import ModelSpec, build_network
from crispmask.models.mmdet_names import rename, rename_back

pytestmark = pytest.mark.parity

LAYOUTS = {
    "rtmdet-ins_tiny": ("rtmdet-ins", "tiny"),
    "rtmdet-ins_s": ("rtmdet-ins", "s"),
    "rtmdet-ins_m": ("rtmdet-ins", "m"),
    "rtmdet-ins_l": ("rtmdet-ins", "l"),
    "rtmdet-ins_x": ("rtmdet-ins", "x"),
    "solov2_light_r18": ("solov2", "light-r18"),
    "solov2_light_r34": ("solov2", "light-r34"),
    "solov2_light_r50": ("solov2", "light-r50"),
    "solov2_r50_fpn_1x_coco": ("solov2", "r50"),
    "solov2_r101_fpn_3x": ("solov2", "r101"),
    "proj_solov2_nano": ("solov2", "nano"),
    "proj_solov2_small": ("solov2", "small"),
    "proj_solov2_medium": ("solov2", "medium"),
    "proj_solov2_large": ("solov2", "large"),
    "proj_rtmdet_ins_tiny": ("rtmdet-ins", "tiny"),
    "proj_rtmdet_ins_small": ("rtmdet-ins", "small"),
    "proj_rtmdet_ins_medium": ("rtmdet-ins", "medium"),
    "proj_rtmdet_ins_large": ("rtmdet-ins", "large"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_keys_and_shapes(name: str) -> None:
    architecture, model = LAYOUTS[name]
    keys = json.loads((DATA / "keys" / f"{name}.json").read_text())
    with torch.device("meta"):
        network = build_network(ModelSpec(architecture, model, keys["num_classes"]))
    ours = {key: list(value.shape) for key, value in network.state_dict().items()}
    theirs = {rename(key, architecture): shape for key, (shape, _) in keys["state_dict"].items()}
    assert theirs == ours
    for key in ours:
        back = rename_back(key, architecture)
        assert back in keys["state_dict"]
        assert rename(back, architecture) == key
