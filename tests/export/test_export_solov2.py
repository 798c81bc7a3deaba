"""Rows of the graph beside the instances PyTorch decodes, without exporting anything."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from crispmask.config import DecodeConfig
from crispmask.export.solov2 import decode_rows
from crispmask.models.solov2.decode import decode_image
from crispmask.models.solov2.model import Solov2Outputs

CONFIG = DecodeConfig(conf=0.01, candidate_conf=0.05, pre_nms=30, max_det=20)


def outputs(seed: int) -> Solov2Outputs:
    """Two images, the first of which has next to nothing."""
    g = torch.Generator().manual_seed(seed)
    grids = (12, 10, 8, 6, 4)
    believed = torch.tensor([-9.0, 0.0])[:, None, None, None]
    return Solov2Outputs(
        tuple(torch.randn(2, 3, s, s, generator=g) * 2 + believed for s in grids),
        tuple(torch.randn(2, 8, s, s, generator=g) for s in grids),
        torch.randn(2, 8, 16, 24, generator=g).relu(),
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fixed_rows", [False, True])
@pytest.mark.parametrize("pre_masks", [40, 1000, None])
def test_rows_are_the_instances(seed: int, fixed_rows: bool, pre_masks: int | None) -> None:
    config = replace(CONFIG, pre_masks=pre_masks)
    made = outputs(seed)
    rows = decode_rows(made, config, fixed_rows)
    for i, count in enumerate(rows.counts.tolist()):
        logits, kernels = ([level[i] for level in x] for x in (made.class_logits, made.kernels))
        expected = decode_image(logits, kernels, made.mask_features[i], config)
        assert count == len(expected)
        torch.testing.assert_close(rows.scores[i, :count], expected.scores)
        assert rows.labels[i, :count].equal(expected.labels)
        torch.testing.assert_close(rows.soft_masks[i, :count], expected.soft_masks)
        assert not rows.scores[i, count:].any()
    assert rows.counts[1] == config.max_det
    if fixed_rows:
        assert rows.scores.shape == (2, config.max_det)
