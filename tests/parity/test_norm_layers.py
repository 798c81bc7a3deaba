"""The norms of every layout have MMDetection's constants."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import DATA
from test_checkpoint_keys import LAYOUTS
from torch import nn

from crispmask.models.build import ModelSpec, build_network
from crispmask.models.rtmdet_ins.head import SHARED_MOMENTUM

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("name", LAYOUTS)
def test_constants(name: str) -> None:
    architecture, model = LAYOUTS[name]
    keys = json.loads((DATA / "keys" / f"{name}.json").read_text())
    with torch.device("meta"):
        network = build_network(ModelSpec(architecture, model, keys["num_classes"]))
    found = set()
    for key, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            # Those two branches share are passed twice there, once here.
            shared = key.startswith("head.shared_norms")
            assert not shared or module.momentum == SHARED_MOMENTUM
            momentum = 0.1 if shared else module.momentum
            found.add(("BatchNorm2d", str(module.eps), str(momentum)))
        elif isinstance(module, nn.GroupNorm):
            assert module.num_groups == 32
            found.add(("GroupNorm", str(module.eps), "None"))
    assert found == set(map(tuple, keys["norm_layers"]))
