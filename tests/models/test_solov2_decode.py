"""Decoding of SOLOv2: what is left out early would have been left out late."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from crispmask.config import DecodeConfig
from crispmask.models.solov2.decode import decode_image, point_nms


def outputs(seed: int) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
    """Logits and kernels of five levels, and mask features."""
    g = torch.Generator().manual_seed(seed)
    grids = (12, 10, 8, 6, 4)
    logits = [torch.randn(3, s, s, generator=g) * 2 for s in grids]
    kernels = [torch.randn(8, s, s, generator=g) for s in grids]
    return logits, kernels, torch.randn(8, 16, 24, generator=g).relu()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("conf", [0.0, 0.1, 0.25, 0.4, 1.0])
def test_a_higher_conf_returns_the_first_of_the_others(seed: int, conf: float) -> None:
    logits, kernels, features = outputs(seed)
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


@pytest.mark.parametrize("seed", range(4))
def test_only_the_most_probable_cells_are_drawn(seed: int) -> None:
    logits, kernels, features = outputs(seed)
    p = torch.cat([point_nms(x.sigmoid()).flatten() for x in logits]).sort(descending=True).values
    every = DecodeConfig(conf=0.01, candidate_conf=0.05, pre_masks=None, max_det=500)
    assert (p > every.candidate_conf).sum() > 100
    found = decode_image(logits, kernels, features, replace(every, pre_masks=40))
    # The same as a threshold that leaves these out.
    expected = decode_image(logits, kernels, features, replace(every, candidate_conf=p[40].item()))
    assert 10 < len(found) <= 40
    assert found.scores.equal(expected.scores)
    assert found.labels.equal(expected.labels)
    torch.testing.assert_close(found.soft_masks, expected.soft_masks)
    more = decode_image(logits, kernels, features, replace(every, pre_masks=10000))
    assert more.scores.equal(decode_image(logits, kernels, features, every).scores)
    assert len(more) > len(found)
