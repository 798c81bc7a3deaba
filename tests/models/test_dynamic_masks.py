"""Dynamic convolutions against one instance at a time, one pixel at a time."""

from __future__ import annotations

import torch

from crispmask.models.rtmdet_ins.config import NUM_KERNEL_WEIGHTS
from crispmask.models.rtmdet_ins.dynamic import dynamic_masks


def slow(kernel: torch.Tensor, prior: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    w0, w1, w2, b0, b1, b2 = kernel.split([80, 64, 8, 8, 8, 1])
    x, y, stride = prior.tolist()
    _, h, w = features.shape
    logits = torch.zeros(h, w)
    for i in range(h):
        for j in range(w):
            position = torch.tensor([x - j * 8, y - i * 8]) / (stride * 8)
            z = torch.cat([position, features[:, i, j]])
            z = (w0.view(8, 10) @ z + b0).relu()
            z = (w1.view(8, 8) @ z + b1).relu()
            logits[i, j] = (w2.view(1, 8) @ z + b2).item()
    return logits


def test_equals_the_definition() -> None:
    g = torch.Generator().manual_seed(0)
    kernels = torch.randn(5, NUM_KERNEL_WEIGHTS, generator=g)
    priors = torch.tensor([[0, 0, 8], [24, 16, 8], [32, 32, 16], [0, 32, 32], [40, 8, 8]]).float()
    features = torch.randn(8, 4, 6, generator=g)
    result = dynamic_masks(kernels, priors, features)
    expected = torch.stack([slow(k, p, features) for k, p in zip(kernels, priors, strict=True)])
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


def test_no_instances() -> None:
    result = dynamic_masks(torch.zeros(0, 169), torch.zeros(0, 3), torch.zeros(8, 4, 6))
    assert result.shape == (0, 4, 6)


def test_large_images_keep_their_precision_in_half() -> None:
    g = torch.Generator().manual_seed(1)
    kernels = torch.randn(2, NUM_KERNEL_WEIGHTS, generator=g).half()
    priors = torch.tensor([[1200.0, 1000.0, 8.0], [8.0, 1264.0, 32.0]])
    features = torch.randn(8, 160, 160, generator=g).half()
    result = dynamic_masks(kernels, priors, features)
    # Only the position relative to the prior counts: the corner crop with a moved prior.
    corner = torch.tensor([[1192.0, 1192.0, 0.0]])
    moved = dynamic_masks(kernels.double(), priors - corner, features[:, 149:, 149:])
    assert (result[:, 149:, 149:] - moved).abs().max() < 1e-3 * moved.std()
