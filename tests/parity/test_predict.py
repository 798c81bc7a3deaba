"""MMDetection checkpoints through the public interface: load, predict."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import reference_images
import reference_weights
import torch
import torch.nn.functional as F
from conftest import DATA, Case, reference_json

import crispmask
from crispmask.errors import WeightsError
from crispmask.geometry.boxes import masks_to_boxes
from crispmask.geometry.letterbox import fit_size, pad_image, resize_image
from crispmask.geometry.rle import decode_masks

pytestmark = pytest.mark.parity

IMGSZ = {"solov2": (250, 375), "rtmdet-ins": (320, 320)}


@pytest.fixture(scope="module")
def checkpoint(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / f"{case.name}.pth"
    reference_weights.make_checkpoint(DATA / "keys" / f"{case.name}.json", path, ema=True)
    return path


def test_a_resized_image(case: Case, checkpoint: Path) -> None:
    model = crispmask.load(checkpoint, architecture=case.architecture, model=case.model)
    assert model.names == tuple(f"class_{i:02d}" for i in range(case.num_classes))
    height, width, seed = reference_images.PREDICT_CASES["resized200x300"]
    image = reference_images.image(height, width, seed)[..., ::-1].copy()
    (found,) = model.predict(image, imgsz=IMGSZ[case.architecture], decode="mmdet")
    prefix = "predict/resized200x300/pred"
    goldens = case.goldens()
    scores, labels = goldens[f"{prefix}/scores"], goldens[f"{prefix}/labels"]
    masks = decode_masks(reference_json(goldens[f"{prefix}/rles"]))
    assert len(found) == len(scores)
    assert found.masks.shape == masks.shape
    assert np.abs(found.scores - scores).max() < 3e-4
    assert (np.bincount(found.labels, minlength=80) == np.bincount(labels, minlength=80)).all()
    if case.architecture == "rtmdet-ins":
        # Ours differ by a fraction of a pixel: height and width are scaled each by its own.
        assert np.mean(best_ious(found, found.masks, masks, scores, labels)) > 0.97
        theirs = with_their_scales(model.network, image)
        assert min(best_ious(found, theirs, masks, scores, labels)) >= 0.999
        assert_boxes_clipped_to_the_image(found, goldens[f"{prefix}/bboxes"], scores, labels)
    else:
        # Theirs are zeros; ours are around the masks.
        assert (goldens[f"{prefix}/bboxes"] == 0).all()
        assert (found.boxes == masks_to_boxes(found.masks)).all()
        assert min(best_ious(found, found.masks, masks, scores, labels)) >= 0.999


def assert_boxes_clipped_to_the_image(found, boxes: np.ndarray, scores, labels) -> None:
    """Theirs are clipped to the padded input alone: some leave the image."""
    height, width = found.masks.shape[1:]
    limit = np.array([width, height, width, height], dtype=np.float32)
    assert (boxes > limit + 1).any()
    inside = np.clip(boxes, 0, limit)
    for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
        same = (np.abs(scores - score) < 3e-4) & (labels == label)
        assert np.abs(inside[same] - box).max(axis=1).min() < 0.1


def best_ious(found, ours: np.ndarray, masks: np.ndarray, scores, labels) -> list[float]:
    """IoU of each mask with the recorded one of its label and score; near ties may swap."""
    return [
        max(
            iou(mask, masks[j])
            for j in np.flatnonzero((np.abs(scores - score) < 3e-4) & (labels == label))
        )
        for mask, score, label in zip(ours, found.scores, found.labels, strict=True)
    ]


def with_their_scales(network, image: np.ndarray) -> np.ndarray:
    """Masks enlarged as MMDetection does: the height by the ratio of widths and vice versa."""
    (height, width), canvas = image.shape[:2], (320, 320)
    resized = resize_image(image, fit_size((height, width), canvas))
    padded = pad_image(resized, canvas, (114.0, 114.0, 114.0))
    x = torch.from_numpy(padded).permute(2, 0, 1)[None]
    with torch.no_grad():
        (found,) = network.detect(network(x), network.presets["mmdet"])
    scale_h, scale_w = resized.shape[0] / height, resized.shape[1] / width
    logits = F.interpolate(found.soft_masks[None], canvas, mode="bilinear")
    swapped = (math.ceil(canvas[0] / scale_w), math.ceil(canvas[1] / scale_h))
    logits = F.interpolate(logits, swapped, mode="bilinear")[0, :, :height, :width]
    return (logits > 0).numpy()


def iou(a: np.ndarray, b: np.ndarray) -> float:
    union = (a | b).sum()
    return 1.0 if union == 0 else (a & b).sum() / union


def test_the_wrong_size_names_a_tensor(case: Case, checkpoint: Path) -> None:
    other = "small" if case.model in ("nano", "tiny") else "light-r50"
    with pytest.raises(WeightsError, match="expected"):
        crispmask.load(checkpoint, architecture=case.architecture, model=other)


def test_the_size_is_recognised(case: Case, checkpoint: Path) -> None:
    spec = crispmask.load(checkpoint).spec
    assert (spec.architecture, spec.model) == (case.architecture, case.model)
