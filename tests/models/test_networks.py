"""What every size of both architectures promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from crispmask.errors import ConfigError
from crispmask.geometry.packed import PackedMasks
from crispmask.models.build import ModelSpec, build_network
from crispmask.models.table import canonical_model, list_models
from crispmask.types import Targets

SMALLEST = [("solov2", "nano"), ("rtmdet-ins", "tiny")]


def make_targets(
    counts: tuple[int, ...], size: int = 96, stride: int = 4, seed: int = 0
) -> Targets:
    """Random rectangles, some of them smaller than a mask pixel."""
    g = torch.Generator().manual_seed(seed)
    num = sum(counts)
    xy = torch.rand(num, 2, generator=g) * (size - 8)
    wh = torch.rand(num, 2, generator=g).square() * (size / 2) + 0.5
    boxes = torch.cat([xy, (xy + wh).clamp(max=size)], dim=1)
    centres = (torch.arange(size // stride) + 0.5) * stride
    columns = (centres >= boxes[:, None, 0]) & (centres < boxes[:, None, 2])  # (N, w)
    rows = (centres >= boxes[:, None, 1]) & (centres < boxes[:, None, 3])  # (N, h)
    return Targets(
        labels=torch.randint(0, 3, (num,), generator=g),
        boxes=boxes,
        masks=rows[:, :, None] & columns[:, None],
        counts=counts,
        valid_sizes=((size, size),) * len(counts),
        mask_stride=stride,
    )


@pytest.mark.parametrize("row", list_models(), ids=lambda r: f"{r.architecture}-{r.model}")
def test_parameters_of_the_table(row) -> None:
    with torch.device("meta"):
        network = build_network(ModelSpec(row.architecture, row.model, 80))
    assert sum(p.numel() for p in network.parameters()) == row.parameters


@pytest.mark.parametrize("row", list_models(), ids=lambda r: f"{r.architecture}-{r.model}")
def test_flops_of_the_table(row) -> None:
    with torch.device("meta"):
        network = build_network(ModelSpec(row.architecture, row.model, 80)).eval()
        images = torch.empty(1, 3, 640, 640, dtype=torch.uint8)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            outputs = network(images)
        assert counter.get_total_flops() == row.flops
        D, h, w = outputs.mask_features.shape[1:]
    by_hand = {
        "parameters, M": f"{row.parameters / 1e6:.1f}",
        "GFLOPs": f"{row.flops / 1e9:.0f}",
        "cells or priors": str(sum(x[0, 0].numel() for x in outputs.class_logits)),
        "weights of a mask kernel": str(outputs.kernels[0].shape[1]),
        "stride of the mask features": str(640 // w),
        # A kernel of SOLOv2 is one 1x1 convolution of D channels, one of RTMDet-Ins three.
        "GFLOPs of 100 masks, not counted above": (
            f"{100 * 2 * h * w * (D if row.architecture == 'solov2' else 80 + 64 + 8) / 1e9:.2f}"
        ),
    }
    sizes = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text().split("## Sizes")[1]
    column = [(r.architecture, r.model) for r in list_models()].index((row.architecture, row.model))
    for name, value in by_hand.items():
        cells = sizes.split(f"| {name} |")[1].splitlines()[0].split("|")
        assert cells[column].strip() == value, name


def test_nano_and_tiny_name_the_same_row() -> None:
    for architecture in ("solov2", "rtmdet-ins"):
        name = canonical_model(architecture, "nano")
        assert canonical_model(architecture, "tiny") == name
        assert (architecture, name) in {(row.architecture, row.model) for row in list_models()}


def test_unknown_models_say_what_there_is() -> None:
    with pytest.raises(ConfigError, match="nano"):
        build_network(ModelSpec("solov2", "huge", 3))
    with pytest.raises(ConfigError, match="rtmdet-ins"):
        build_network(ModelSpec("yolo", "nano", 3))


def test_grids_of_the_spec() -> None:
    spec = ModelSpec("solov2", "nano", 2, imgsz=96, grids=(7, 5, 4, 3, 2))
    network = build_network(ModelSpec.from_dict(spec.to_dict())).eval()
    outputs = network(torch.zeros(1, 3, 96, 96, dtype=torch.uint8))
    assert [level.shape[2] for level in outputs.class_logits] == [7, 5, 4, 3, 2]
    losses = network.loss(outputs, make_targets((3,)))
    assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize(("architecture", "model"), SMALLEST)
@pytest.mark.parametrize("counts", [(0, 0), (0, 1), (1, 1), (150, 0)])
@pytest.mark.parametrize("stride", [4, 2])
def test_losses_are_finite_and_reach_every_weight(architecture, model, counts, stride) -> None:
    torch.manual_seed(0)
    spec = ModelSpec(architecture, model, 3, imgsz=96, mask_stride=stride)
    network = build_network(spec).train()
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    losses = network.loss(network(images), make_targets(counts, stride=stride))
    assert set(losses) == ({"class", "mask"} | ({"box"} if architecture != "solov2" else set()))
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    if sum(counts) == 0:
        assert losses["mask"].item() == 0


@pytest.mark.parametrize(("architecture", "model"), SMALLEST)
def test_decode_of_an_untrained_network(architecture, model) -> None:
    torch.manual_seed(0)
    network = build_network(ModelSpec(architecture, model, 3, imgsz=96)).eval()
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        outputs = network(images)
    for preset in network.presets.values():
        for found in network.decode(outputs, preset):
            assert len(found) <= preset.max_det
            assert found.masks.shape == (len(found), 64, 96)
            assert found.masks.dtype == bool
            assert (found.scores[:-1] >= found.scores[1:]).all()
            assert (found.boxes >= 0).all()
            assert (found.boxes[:, 2] <= 96).all()
    nothing = network.decode(outputs, network.presets["default"])  # scores start near 0.01
    assert [len(found) for found in nothing] == [0, 0]
    assert nothing[0].boxes.shape == (0, 4)


@pytest.mark.parametrize(("architecture", "model"), SMALLEST)
def test_an_image_in_a_batch_gets_the_outputs_it_gets_alone(architecture, model) -> None:
    network = build_network(ModelSpec(architecture, model, 3, imgsz=96)).eval()
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    with torch.no_grad():
        together, alone = network(images), network(images[1:])
    torch.testing.assert_close(
        together.mask_features[1], alone.mask_features[0], rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        together.class_logits[0][1], alone.class_logits[0][0], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("frozen", [0, 1, 2])
@pytest.mark.parametrize(("architecture", "model"), SMALLEST)
def test_frozen_stages(architecture, model, frozen) -> None:
    network = build_network(ModelSpec(architecture, model, 3, imgsz=96))
    network.backbone.fix(frozen, norm_eval=False)
    network.train()
    still = [n for n, p in network.named_parameters() if not p.requires_grad]
    assert all(name.startswith("backbone.") for name in still)
    assert (len(still) > 0) == (frozen > 0)
    norms = [m for m in network.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert any(not norm.training for norm in norms) == (frozen > 0)
    assert any(norm.training for norm in norms)
    network.backbone.fix(frozen, norm_eval=True)
    assert not any(norm.training for norm in norms)
    last = "layer2" if architecture == "solov2" else "stages.1"
    assert any(last in name for name in still) == (frozen == 2)


@pytest.mark.parametrize(("architecture", "model"), SMALLEST)
@pytest.mark.parametrize("stride", [4, 2, 1])
def test_chunks_change_neither_losses_nor_gradients(
    architecture, model, stride, monkeypatch
) -> None:
    torch.manual_seed(0)
    spec = ModelSpec(architecture, model, 3, imgsz=96, mask_stride=stride)
    network = build_network(spec).eval()
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    targets = make_targets((20, 3), stride=stride)

    def run() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        network.zero_grad()
        losses = network.loss(network(images), targets)
        torch.stack(list(losses.values())).sum().backward()
        return losses, {n: p.grad.clone() for n, p in network.named_parameters()}

    whole, whole_grads = run()
    monkeypatch.setattr("crispmask.models.losses.CHUNK_PIXELS", 7 * (96 // stride) ** 2)
    monkeypatch.setattr("crispmask.models.rtmdet_ins.assign.CHUNK_PAIRS", 100)
    if stride < 4:  # as they are collated
        bits = torch.from_numpy(np.packbits(targets.masks.numpy(), axis=2))
        targets = replace(targets, masks=PackedMasks(bits, 96 // stride))
    chunked, chunked_grads = run()
    for name, value in whole.items():
        torch.testing.assert_close(chunked[name], value, rtol=1e-5, atol=1e-6)
    for name, grad in whole_grads.items():
        scale = grad.abs().max().item()
        torch.testing.assert_close(chunked_grads[name], grad, rtol=0, atol=1e-4 * scale + 1e-7)
