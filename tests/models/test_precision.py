"""Half precision, memory formats and instances that are hardly any: numbers stay finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from test_networks import SMALLEST, make_targets
from torch import Tensor

from crispmask.geometry.packed import PackedMasks
from crispmask.models.build import ModelSpec, build_network
from crispmask.models.interface import Network
from crispmask.types import Targets

SIZE = 64

DEGENERATE = {
    "no area": (40.0, 40.0, 40.0, 40.0),
    "no width": (40.0, 20.0, 40.0, 60.0),
    "far below a pixel": (40.2, 40.2, 40.2001, 40.2001),
    "one pixel": (41.0, 41.0, 42.0, 42.0),
    "one pixel in the corner": (63.0, 63.0, 64.0, 64.0),
    "outside": (200.0, 200.0, 260.0, 240.0),
    "outside to the left": (-60.0, -60.0, -20.0, -20.0),
    "partly outside": (-30.0, 40.0, 30.0, 160.0),
    "the whole image": (0.0, 0.0, 64.0, 64.0),
    "a line": (0.0, 31.9, 64.0, 32.0),
}
"""Boxes of instances, xyxy; masks are the pixels whose centre they hold."""


def targets_of(boxes: list[tuple[float, ...]], stride: int) -> Targets:
    """All boxes in the first of two images, the second one empty; packed as they are collated."""
    found = torch.tensor(boxes).reshape(-1, 4)
    centres = (torch.arange(SIZE // stride) + 0.5) * stride
    columns = (centres >= found[:, None, 0]) & (centres < found[:, None, 2])  # (N, w)
    rows = (centres >= found[:, None, 1]) & (centres < found[:, None, 3])  # (N, h)
    masks: Tensor | PackedMasks = rows[:, :, None] & columns[:, None]
    if stride < 4:
        bits = np.packbits(masks.numpy(), axis=2)
        masks = PackedMasks(torch.from_numpy(bits), SIZE // stride)
    return Targets(
        labels=torch.zeros(len(found), dtype=torch.int64),  # the other classes have no instance
        boxes=found,
        masks=masks,
        counts=(len(found), 0),
        valid_sizes=((SIZE, SIZE), (SIZE, SIZE)),
        mask_stride=stride,
    )


def build(architecture: str, model: str, stride: int = 4) -> Network[Any]:
    torch.manual_seed(0)
    grids = (6, 5, 4, 3, 2) if architecture == "solov2" else None
    spec = ModelSpec(architecture, model, 3, SIZE, mask_stride=stride, grids=grids)
    return build_network(spec).train()


def noise() -> Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8, generator=g)


def tensors_of(outputs: Any) -> Iterator[Tensor]:
    for output in outputs:
        yield from output if isinstance(output, tuple) else (output,)


def map_outputs(outputs: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Outputs of the same form made of other tensors."""
    parts = (tuple(map(change, o)) if isinstance(o, tuple) else change(o) for o in outputs)
    return type(outputs)(*parts)


def check_step(network: Network, losses: dict[str, Tensor]) -> None:
    for name, value in losses.items():
        assert value.dtype == torch.float32, name
        assert value.isfinite(), name
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(("architecture", "model"), SMALLEST)
@pytest.mark.parametrize("stride", [4, 2, 1])
def test_instances_that_are_hardly_any(architecture: str, model: str, stride: int) -> None:
    """Each alone, one twice, none, and all at once."""
    network = build(architecture, model, stride)
    outputs = network(noise())
    cut = map_outputs(outputs, lambda x: x.detach().requires_grad_())
    alone = [[box] for box in DEGENERATE.values()]
    for boxes in (*alone, [DEGENERATE["one pixel"]] * 2, []):
        losses = network.loss(cut, targets_of(boxes, stride))
        assert all(value.isfinite() for value in losses.values()), boxes
        total = torch.stack(list(losses.values())).sum()
        for grad in torch.autograd.grad(total, list(tensors_of(cut))):
            assert grad.isfinite().all(), boxes
    check_step(network, network.loss(outputs, targets_of(list(DEGENERATE.values()), stride)))


@pytest.mark.parametrize(("architecture", "model"), SMALLEST)
@pytest.mark.parametrize(
    "dtype",
    [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.slow)],  # slow on CPUs
    ids=str,
)
def test_a_step_in_half_precision(architecture: str, model: str, dtype: torch.dtype) -> None:
    network = build(architecture, model)
    targets = make_targets((2, 3), size=SIZE)
    with torch.autocast("cpu", dtype):
        outputs = network(noise())
        assert outputs.mask_features.dtype == dtype
        losses = network.loss(outputs, targets)
        found = network.eval().detect(outputs, network.presets["val"])
    assert all(image.scores.isfinite().all() for image in found)
    check_step(network, losses)
    exact = network.loss(network.train()(noise()), targets)
    for name, value in exact.items():
        # Priors near a tie are assigned otherwise: half precision is close, not equal.
        assert losses[name].item() == pytest.approx(value.item(), rel=0.2), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")
@pytest.mark.parametrize(("architecture", "model"), SMALLEST)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_step_in_half_precision_on_a_gpu(architecture: str, model: str, dtype) -> None:
    network = build(architecture, model).to("cuda", memory_format=torch.channels_last)
    targets = make_targets((2, 3), size=SIZE).to("cuda")
    with torch.autocast("cuda", dtype):
        losses = network.loss(network(noise().to("cuda")), targets)
    check_step(network, losses)


@pytest.mark.parametrize(("architecture", "model"), SMALLEST)
def test_outputs_far_from_zero_give_finite_losses(architecture: str, model: str) -> None:
    """As large as float16 can hold, of both signs: sigmoids that are 0 or 1 exactly."""
    network = build(architecture, model)
    outputs = network(noise())
    for extreme in (65504.0, -65504.0):
        full = map_outputs(outputs, lambda x, v=extreme: torch.full_like(x, v).half().detach())
        leaves = [x.requires_grad_() for x in tensors_of(full)]
        losses = network.loss(full, make_targets((2, 3), size=SIZE))
        assert all(value.isfinite() for value in losses.values()), losses
        total = torch.stack(list(losses.values())).sum()
        for grad in torch.autograd.grad(total, leaves):
            assert not grad.isnan().any()


@pytest.mark.parametrize(("architecture", "model"), SMALLEST)
def test_channels_last_changes_no_output_and_stays(architecture: str, model: str) -> None:
    network = build(architecture, model).eval()
    with torch.no_grad():
        expected = network(noise())
        network.to(memory_format=torch.channels_last)
        formats = []
        for layer in network.modules():  # what each convolution gives on
            if isinstance(layer, torch.nn.Conv2d):
                layer.register_forward_hook(lambda m, x, y: formats.append(is_channels_last(y)))
        outputs = network(noise().contiguous(memory_format=torch.channels_last))
    assert formats
    assert all(formats)
    for ours, theirs in zip(tensors_of(outputs), tensors_of(expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * theirs.std().item())


def is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)
