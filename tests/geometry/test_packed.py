"""Packed masks read like the bool masks they were made from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crispmask.geometry import packed
from crispmask.geometry.packed import PackedMasks, rasterise_packed
from crispmask.geometry.raster import rasterise


@given(st.integers(0, 2**31), st.integers(0, 5), st.integers(1, 20), st.sampled_from([1, 2, 3]))
@settings(max_examples=30, deadline=None)
def test_the_same_pixels(seed: int, num: int, width: int, stride: int) -> None:
    rng = np.random.default_rng(seed)
    polygons = tuple((rng.uniform(0, 20, (5, 2)).astype(np.float32),) for _ in range(num))
    expected = torch.from_numpy(rasterise(polygons, (9, width), stride))
    masks = rasterise_packed(polygons, (9, width), stride)
    assert masks.shape == expected.shape
    assert len(masks) == num
    assert masks[:].dtype == torch.bool
    assert torch.equal(masks[:], expected)
    index = torch.from_numpy(rng.integers(0, max(num, 1), 7 if num else 0))
    assert torch.equal(masks[index], expected[index])
    counts = [num // 2, 0, num - num // 2]
    pieces = masks.split(counts)
    assert [len(piece) for piece in pieces] == counts
    assert torch.equal(PackedMasks.cat(pieces)[:], expected)
    assert masks.bits.numel() == num * expected.shape[1] * -(-expected.shape[2] // 8)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    polygons = tuple((rng.uniform(0, 20, (5, 2)).astype(np.float32),) for _ in range(7))
    whole = rasterise_packed(polygons, (20, 20), 1)
    monkeypatch.setattr(packed, "CHUNK_PIXELS", 3 * 400)
    assert torch.equal(rasterise_packed(polygons, (20, 20), 1).bits, whole.bits)
