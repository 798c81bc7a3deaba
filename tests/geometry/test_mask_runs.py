from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from crispmask.geometry import mask_runs
from crispmask.geometry.mask_runs import array_if_small, coco_rles, runs_of, spans_of
from crispmask.geometry.outline import outlines
from crispmask.geometry.rle import encode_masks
from crispmask.geometry.runs import read_runs, write_runs
from crispmask.types import Instances


def some_masks() -> NDArray[np.bool_]:
    """Noise, blobs, whole columns, everything, nothing, single pixels in the corners."""
    rng = np.random.default_rng(0)
    masks = np.zeros((9, 23, 17), dtype=np.bool_)
    masks[0] = rng.random((23, 17)) < 0.5
    masks[1, 3:9, 2:7] = True
    masks[1, 5, 4] = False
    masks[2, :, 4:6] = True  # one run over two columns
    masks[3] = True
    masks[5, 0, 0] = masks[6, -1, -1] = True
    masks[7, 12:, 3] = masks[7, :4, 4] = True  # goes on in the next column
    masks[8] = rng.random((23, 17)) < 0.03
    return masks


def slow_spans(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    spans, begin = [], None
    for place, pixel in enumerate([*mask.T.ravel().tolist(), False]):
        if pixel and begin is None:
            begin = place
        if not pixel and begin is not None:
            spans.append((begin, place))
            begin = None
    return spans


def test_runs_are_those_of_a_walk_over_all_pixels() -> None:
    for mask in some_masks():
        assert [tuple(span) for span in spans_of(mask, (23, 17)).tolist()] == slow_spans(mask)


def test_masks_come_back() -> None:
    masks = some_masks()
    runs = runs_of(masks, (23, 17))
    assert runs.shape == masks.shape
    np.testing.assert_array_equal(runs.dense(), masks)
    np.testing.assert_array_equal(runs[[3, 0]].dense(), masks[[3, 0]])
    np.testing.assert_array_equal(runs[2:5].dense(), masks[2:5])
    np.testing.assert_array_equal(
        runs[masks.any(axis=(1, 2))].dense(), masks[[0, 1, 2, 3, 5, 6, 7, 8]]
    )
    for i, mask in enumerate(masks):
        assert runs.area(i) == mask.sum()
        assert runs.extent(i) == mask_runs.extent_of(mask)
        np.testing.assert_array_equal(runs.crop(i, (2, 3, 11, 20)), mask[3:20, 2:11])
        assert runs.crop(i, (2, 3, 11, 20)).flags.c_contiguous
        assert runs.crop(i, (5, 4, 5, 9)).shape == (5, 0)


def test_a_part_at_a_corner() -> None:
    whole = np.zeros((30, 40), dtype=np.bool_)
    whole[4:27, 11:28] = some_masks()[0]
    np.testing.assert_array_equal(
        spans_of(some_masks()[0], (30, 40), (11, 4)), spans_of(whole, (30, 40))
    )


def test_rle_is_that_of_coco() -> None:
    masks = some_masks()
    assert coco_rles(masks) == encode_masks(masks)
    large = np.zeros((1, 3000, 2000), dtype=np.bool_)
    large[0, 100:2900, 50:1950] = True
    large[0, 1000:1003, 700] = False
    assert coco_rles(large) == encode_masks(large)


@pytest.mark.parametrize("runs", [[5], [0, 7], [0, 1, 70000, 2, 3, 64_000_000], [1, 2, 3, 4, 1]])
def test_text_of_runs(runs: list[int]) -> None:
    assert read_runs(write_runs(runs)) == runs


def instances(masks: object, num: int) -> Instances:
    return Instances(
        scores=np.linspace(0.9, 0.3, num, dtype=np.float32),
        labels=np.arange(num) % 3,
        boxes=np.tile(np.array([2, 3, 11, 20], dtype=np.float32), (num, 1)),
        masks=masks,  # type: ignore[arg-type]  # runs or arrays
        names=("a", "b", "c"),
    )


def test_instances_do_the_same_with_runs_as_with_an_array() -> None:
    masks = some_masks()
    dense, compact = instances(masks, 9), instances(runs_of(masks, (23, 17)), 9)
    image = np.full((23, 17, 3), 90, dtype=np.uint8)
    np.testing.assert_array_equal(dense.plot(image), compact.plot(image))
    assert dense.to_coco(4) == compact.to_coco(4)
    for a, b in zip(dense.polygons(), outlines(compact.compact_masks), strict=True):
        assert [x.tolist() for x in a] == [x.tolist() for x in b]
    assert dense.size == compact[3:].size == (23, 17)
    assert not isinstance(compact.compact_masks, np.ndarray)  # nothing above made the array
    assert compact.masks.dtype == np.bool_
    np.testing.assert_array_equal(compact[[1, 4]].masks, masks[[1, 4]])
    assert compact.masks is compact.masks


def test_only_large_masks_are_kept_as_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = some_masks()
    kept = array_if_small(runs_of(masks, (23, 17)))
    assert isinstance(kept, np.ndarray)
    np.testing.assert_array_equal(kept, masks)
    monkeypatch.setattr(mask_runs, "DENSE_BYTES", masks.nbytes - 1)
    runs = array_if_small(runs_of(masks, (23, 17)))
    assert isinstance(runs, mask_runs.MaskRuns)
    np.testing.assert_array_equal(runs.dense(), masks)


def test_nothing() -> None:
    nothing = instances(runs_of(np.zeros((0, 23, 17), dtype=np.bool_), (23, 17)), 0)
    assert nothing.masks.shape == (0, 23, 17)
    assert nothing.to_coco() == []
    assert nothing.polygons() == ()
