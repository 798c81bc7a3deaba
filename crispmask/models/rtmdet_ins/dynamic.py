"""Dynamic convolutions: from predicted weights to mask logits.

Letters: M masks of one image, D kernel weights, h and w size of the mask features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from crispmask.models.rtmdet_ins.config import DYNAMIC_LAYERS, STRIDES

MASK_STRIDE = STRIDES[0]
"""Input pixels per pixel of the mask features."""


def dynamic_masks(kernels: Tensor, priors: Tensor, mask_features: Tensor) -> Tensor:
    """Mask logits of instances from their kernels.

    Three 1x1 convolutions with ReLU between, on the position relative to the prior and the
    mask features. A kernel lists all weights, then all biases. The relative position is
    (prior - pixel) / (8 * stride of the prior); being linear in the pixel it is folded into
    the first layer, so that all instances share one input.
    Source: RTMDet, arXiv:2212.07784, instance segmentation (after CondInst, arXiv:2003.05664).

    Args:
        kernels: (M, D).
        priors: (M, 3) x, y, stride of the prior each kernel comes from.
        mask_features: (8, h, w).

    Returns:
        (M, h, w) float32.
    """
    h, w = mask_features.shape[1:]
    inputs = with_positions(mask_features).flatten(1)  # (10, h * w)
    weights, biases = place_kernels(kernels, priors)
    z = (weights[0].flatten(0, 1) @ inputs).view(-1, 8, h * w)  # (M, 8, h * w)
    z = (z + biases[0][..., None]).relu_()  # in place: there are many pixels
    z = torch.baddbmm(biases[1][..., None], weights[1], z).relu_()  # (M, 8, h * w)
    z = torch.baddbmm(biases[2][..., None], weights[2], z)  # (M, 1, h * w)
    return z.view(-1, h, w)


def with_positions(mask_features: Tensor) -> Tensor:
    """Prepends x and y in input pixels: (..., 8, h, w) to (..., 10, h, w) float32."""
    h, w = mask_features.shape[-2:]
    y = torch.arange(h, device=mask_features.device, dtype=torch.float32) * MASK_STRIDE
    x = torch.arange(w, device=mask_features.device, dtype=torch.float32) * MASK_STRIDE
    grid = torch.stack([x.expand(h, w), y[:, None].expand(h, w)])  # (2, h, w)
    grid = grid.expand(*mask_features.shape[:-3], 2, h, w)
    return torch.cat([grid, mask_features.float()], dim=-3)


def place_kernels(kernels: Tensor, priors: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and biases of each layer as `split_kernels`, for absolute positions.

    The first layer reads the features of `with_positions` and knows where its prior lies.
    """
    weights, biases = split_kernels(kernels.float())
    reach = priors[:, None, 2:] * MASK_STRIDE  # (M, 1, 1)
    position = weights[0][..., :2] / reach  # (M, 8, 2)
    biases[0] = biases[0] + (position @ priors[:, :2, None]).squeeze(2)  # (M, 8)
    weights[0] = torch.cat([-position, weights[0][..., 2:]], dim=2)  # (M, 8, 10)
    return weights, biases


def split_kernels(kernels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Weights (M, out, in) and biases (M, out) of each layer from kernels (M, D)."""
    sizes = [o * i for o, i in DYNAMIC_LAYERS] + [o for o, _ in DYNAMIC_LAYERS]
    pieces = kernels.split(sizes, dim=1)
    weights = [p.reshape(-1, o, i) for p, (o, i) in zip(pieces, DYNAMIC_LAYERS, strict=False)]
    return weights, list(pieces[len(DYNAMIC_LAYERS) :])
