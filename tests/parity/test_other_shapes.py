"""What the recorded configurations do not hold: other sizes, class counts and layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import reference_images
import torch
from test_checkpoint_keys import LAYOUTS
from test_mmdet_files import read_keys, save

import crispmask
from crispmask.geometry.letterbox import fit_size, pad_image, resize_image
from crispmask.models.build import ModelSpec, build_network
from crispmask.models.mmdet import convert_state
from crispmask.types import Targets

pytestmark = pytest.mark.parity

SMALLEST = [("solov2", "nano"), ("rtmdet-ins", "tiny")]


def make_targets(size: tuple[int, int], valid: list[tuple[int, int]], K: int) -> Targets:
    """Two rectangles in the first image, none in the second, one in the third."""
    boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0], [4.0, 20.0, 60.0, 44.0], [2.0, 2.0, 30.0, 20.0]])
    masks = torch.zeros(3, *size, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    labels = torch.tensor([0, K - 1, K // 2])
    return Targets(labels, boxes, masks, (2, 0, 1), tuple(valid), 1)


@pytest.mark.parametrize(("architecture", "model"), SMALLEST)
@pytest.mark.parametrize("num_classes", [1, 80])
@pytest.mark.parametrize("size", [(96, 224), (160, 64)])
def test_batches_of_other_sizes_and_class_counts(architecture, model, num_classes, size) -> None:
    """Neither square nor filled, each image with its own share of padding."""
    torch.manual_seed(0)
    height, width = size
    network = build_network(ModelSpec(architecture, model, num_classes)).eval()
    images = torch.randint(0, 256, (3, 3, height, width), dtype=torch.uint8)
    outputs = network(images)
    if architecture == "rtmdet-ins":
        shapes = [tuple(level.shape[1:]) for level in outputs.class_logits]
        assert shapes == [(num_classes, height // s, width // s) for s in (8, 16, 32)]
    else:
        shapes = [tuple(level.shape[1:]) for level in outputs.class_logits]
        assert shapes == [(num_classes, s, s) for s in (40, 36, 24, 16, 12)]
        assert outputs.mask_features.shape[2:] == (height // 4, width // 4)
    targets = make_targets(size, [(height, width), (height - 20, width), (90, 60)], num_classes)
    losses = network.loss(outputs, targets)
    assert all(value.isfinite() and value > 0 for value in losses.values())
    for found in network.decode(outputs, network.presets["val"]):
        assert found.masks.shape[1:] == size


@pytest.mark.parametrize(("architecture", "model"), SMALLEST)
@pytest.mark.parametrize("size", [(200, 301), (333, 127)])
def test_mmdet_preset_on_photographs_that_are_not_square(architecture, model, size) -> None:
    """`predict` gives what resizing, padding, decoding and enlarging give one by one."""
    torch.manual_seed(0)
    built = crispmask.build(architecture, model, num_classes=3, weights=None)
    network = built.network
    with torch.no_grad():  # scores above the threshold of the preset, some of them
        layers = network.head.class_logits if architecture == "rtmdet-ins" else None
        for layer in layers or [network.grid_branches.class_logits]:
            layer.bias.fill_(-1.0)
            layer.weight.mul_(30)
    image = reference_images.image(*size, 3)[..., ::-1].copy()
    (found,) = built.predict(image, imgsz=(160, 256), decode="mmdet")
    assert len(found) > 0
    assert found.masks.shape[1:] == size
    assert (found.boxes >= 0).all()
    assert (found.boxes <= np.array([size[1], size[0]] * 2)).all()

    valid = fit_size(size, (160, 256))
    assert valid[0] == 160 or valid[1] == 256
    padded = pad_image(resize_image(image, valid), (160, 256), network.pad_value)
    x = torch.from_numpy(padded).permute(2, 0, 1)[None]
    with torch.no_grad():
        (raw,) = network.detect(network(x), network.presets["mmdet"])
    np.testing.assert_allclose(raw.scores, found.scores, atol=1e-5)  # threads sum in any order
    for k in range(0, len(found), 17):
        soft = raw.soft_masks[k][None, None]
        full = torch.nn.functional.interpolate(soft, (160, 256), mode="bilinear")
        cut = full[..., : valid[0], : valid[1]]
        mask = torch.nn.functional.interpolate(cut, size, mode="bilinear")[0, 0] > raw.threshold
        assert (mask.numpy() != found.masks[k]).mean() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["rtmdet-ins_s", "solov2_light_r34", "solov2_light_r50", "solov2_r50_fpn_1x_coco"]
)
def test_layouts_beyond_the_recorded_ones_predict(name: str, tmp_path: Path) -> None:
    """From a file in their names to masks, by way of a network that has learnt nothing."""
    architecture, model = LAYOUTS[name]
    torch.manual_seed(0)
    network = build_network(ModelSpec(architecture, model, 80))
    own = network.state_dict()
    state = {}
    for key in read_keys(name):
        ((ours, _),) = convert_state({key: torch.zeros(())}, architecture).items()
        value = own[ours]
        bgr = ours == "backbone.body.model.stem.0.conv.weight"
        state[f"module.{key}"] = value.flip(1) if bgr else value
    path = save(tmp_path / "a.pth", state, meta={"dataset_meta": {"classes": ("x",) * 80}})
    loaded = crispmask.load(path, architecture, model)
    for key, value in loaded.network.state_dict().items():
        assert value.equal(own[key]), key
    image = reference_images.image(90, 130, 1)[..., ::-1].copy()
    (found,) = loaded.predict(image, imgsz=128, conf=0.0, max_det=5)
    assert found.masks.shape[1:] == (90, 130)
