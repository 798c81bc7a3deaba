"""Raw outputs and predictions against MMDetection 3.3.0."""

from __future__ import annotations

import numpy as np
import pytest
import reference_images
import torch
from conftest import Case, reference_json, rgb

from crispmask.geometry.rle import decode_masks

pytestmark = pytest.mark.parity

FIELDS = {
    "solov2": {
        "class_logits": "cls_preds",
        "kernels": "kernel_preds",
        "mask_features": "mask_feats",
    },
    "rtmdet-ins": {
        "class_logits": "cls_scores",
        "distances": "bbox_preds",
        "kernels": "kernel_preds",
        "mask_features": "mask_feat",
    },
}


@pytest.mark.parametrize("image", ["sq320", "rect256x384"])
def test_outputs_and_predictions_equal(case: Case, image: str) -> None:
    network, goldens = case.network(), case.goldens()
    with torch.no_grad():
        outputs = network(rgb(*reference_images.PREDICT_CASES[image])[None])
    for field, theirs in FIELDS[case.architecture].items():
        ours = getattr(outputs, field)
        if isinstance(ours, tuple):
            for level, tensor in enumerate(ours):
                assert_close(tensor, goldens, f"predict/{image}/head/{theirs}/{level}")
        else:
            assert_close(ours, goldens, f"predict/{image}/head/{theirs}")

    found = network.decode(outputs, network.presets["mmdet"])[0]
    prefix = f"predict/{image}/pred"
    masks = decode_masks(reference_json(goldens[f"{prefix}/rles"]))
    scores, labels = goldens[f"{prefix}/scores"], goldens[f"{prefix}/labels"]
    boxes = goldens[f"{prefix}/bboxes"]
    assert len(found) == len(scores)
    unmatched = list(range(len(scores)))
    for i in range(len(found)):  # near ties may swap places: match by label, then mask and score
        candidates = [j for j in unmatched if labels[j] == found.labels[i]]
        best = max(
            candidates,
            key=lambda j: mask_iou(found.masks[i], masks[j]) - abs(scores[j] - found.scores[i]),
        )
        unmatched.remove(best)
        assert mask_iou(found.masks[i], masks[best]) >= 0.999
        assert abs(found.scores[i] - scores[best]) < 3e-4
        if case.architecture == "rtmdet-ins":
            assert np.abs(found.boxes[i] - boxes[best]).max() < 0.1


def assert_close(ours: torch.Tensor, goldens, prefix: str) -> None:
    assert tuple(goldens[f"{prefix}/shape"]) == tuple(ours.shape)
    sub = ours.flatten()[:: int(goldens[f"{prefix}/stride"])].numpy()
    scale = goldens[f"{prefix}/stats"][1]
    assert np.abs(sub - goldens[f"{prefix}/sub"]).max() < 1e-4 * scale, prefix


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    union = (a | b).sum()
    return 1.0 if union == 0 else (a & b).sum() / union
