"""Decoding of SOLOv2: what is left out early would have been left out late."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from crispmask.config import DecodeConfig
from crispmask.models.solov2.decode import decode_image


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("conf", [0.0, 0.1, 0.25, 0.4, 1.0])
def test_a_higher_conf_returns_the_first_of_the_others(seed: int, conf: float) -> None:
    g = torch.Generator().manual_seed(seed)
    grids = (12, 10, 8, 6, 4)
    logits = [torch.randn(3, s, s, generator=g) * 2 for s in grids]
    kernels = [torch.randn(8, s, s, generator=g) for s in grids]
    features = torch.randn(8, 16, 24, generator=g).relu()
    config = DecodeConfig(conf=0.0, candidate_conf=0.05, pre_nms=500, max_det=500)
    all_of_them = decode_image(logits, kernels, features, config)
    found = decode_image(logits, kernels, features, replace(config, conf=conf))
    num = int((all_of_them.scores >= conf).sum())
    assert len(found) == num
    assert found.scores.equal(all_of_them.scores[:num])
    assert found.labels.equal(all_of_them.labels[:num])
    torch.testing.assert_close(found.soft_masks, all_of_them.soft_masks[:num])
    if conf == 0.1:
        assert 0 < num < len(all_of_them)
