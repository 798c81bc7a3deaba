from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pycocotools import mask as reference

from crispmask.geometry.rle import decode_masks, encode_masks

masks = st.tuples(*[st.integers(1, 9)] * 3).flatmap(lambda shape: arrays(bool, shape))


@given(masks)
@settings(max_examples=60, deadline=None)
def test_round_trip_and_pycocotools_reads_it(masks: NDArray[np.bool_]) -> None:
    rles = json.loads(json.dumps(encode_masks(masks)))
    np.testing.assert_array_equal(decode_masks(rles), masks)
    for rle, mask in zip(rles, masks, strict=True):
        assert rle["size"] == list(mask.shape)
        np.testing.assert_array_equal(reference.decode(rle), mask)
        expected = reference.encode(np.asfortranarray(mask, dtype=np.uint8))
        assert rle["counts"] == expected["counts"].decode()


def test_no_masks() -> None:
    assert encode_masks(np.zeros((0, 5, 6), dtype=bool)) == []
    assert decode_masks([]).shape == (0, 0, 0)
