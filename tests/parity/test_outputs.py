"""Features, raw outputs and predictions against MMDetection 3.3.0."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import reference_images
import torch
from conftest import Case, measure, reference_json, rgb
from torch import Tensor

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


def network_input(case: Case, image: str) -> Tensor:
    """What MMDetection's network got, before it was normalised: (1, 3, H, W) RGB."""
    if image != "resized200x300":
        return rgb(*reference_images.PREDICT_CASES[image])[None]
    resized = case.goldens()[f"predict/{image}/net_img_uint8"][..., ::-1].copy()
    pixels = torch.from_numpy(resized).permute(2, 0, 1)[None]  # (1, 3, h, w)
    h, w = pixels.shape[-2:]
    padded = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)  # zero once normalised
    padded = padded.repeat(1, 1, -(-h // 32) * 32, -(-w // 32) * 32)
    padded[:, :, :h, :w] = pixels
    return padded


@pytest.mark.parametrize("image", reference_images.PREDICT_CASES)
def test_features_and_outputs_equal(case: Case, image: str) -> None:
    network, goldens = case.network(), case.goldens()
    with torch.no_grad():
        backbone = network.backbone(network_input(case, image))
        neck = network.neck(backbone)
        outputs = network(network_input(case, image))
    for name, tensors in (("backbone", backbone), ("neck", neck)):
        for level, tensor in enumerate(tensors):
            difference = spread(tensor, goldens, f"predict/{image}/{name}/{level}")
            assert measure(case, "features", difference) < 1e-4
    for key, tensor in named_outputs(case, outputs):
        difference = spread(tensor, goldens, f"predict/{image}/head/{key}")
        assert measure(case, "outputs", difference) < 1e-4


def named_outputs(case: Case, outputs) -> Iterator[tuple[str, Tensor]]:
    """Each tensor of the outputs with its name in the reference data."""
    for field, theirs in FIELDS[case.architecture].items():
        ours = getattr(outputs, field)
        if isinstance(ours, tuple):
            yield from ((f"{theirs}/{level}", tensor) for level, tensor in enumerate(ours))
        else:
            yield theirs, ours


def spread(ours: Tensor, goldens, prefix: str) -> float:
    """Largest difference as a fraction of the standard deviation."""
    assert tuple(goldens[f"{prefix}/shape"]) == tuple(ours.shape)
    sub = ours.flatten()[:: int(goldens[f"{prefix}/stride"])].numpy()
    return np.abs(sub - goldens[f"{prefix}/sub"]).max() / goldens[f"{prefix}/stats"][1]


@pytest.mark.parametrize("image", ["sq320", "rect256x384"])
def test_predictions_equal(case: Case, image: str) -> None:
    network, goldens = case.network(), case.goldens()
    with torch.no_grad():
        outputs = network(network_input(case, image))
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
        assert measure(case, "1 - IoU", 1 - mask_iou(found.masks[i], masks[best])) <= 0.001
        assert measure(case, "scores", abs(found.scores[i] - scores[best])) < 3e-4
        if case.architecture == "rtmdet-ins":
            assert measure(case, "boxes", np.abs(found.boxes[i] - boxes[best]).max()) < 0.1


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    union = (a | b).sum()
    return 1.0 if union == 0 else (a & b).sum() / union
