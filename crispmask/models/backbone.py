"""Feature extractors from timm.

Letters: B batch, C channels, h and w size of a feature map.
"""

from __future__ import annotations

import timm
import torch
from timm.models import FeatureInfo
from torch import Tensor, nn

from crispmask.models.layers import Normalise


class Backbone(nn.Module):
    """A timm model that normalises RGB pixels and returns one map per stride.

    Args:
        name: timm name, such as `resnet18` or `cspnext_tiny`.
        strides: the strides wanted, ascending.

    Attributes:
        channels: channels of each returned map.
        name: timm name.
        norm_eval: whether batch statistics stay as they are in training.
        frozen_stages: the stem and this many stages are not trained.
    """

    def __init__(self, name: str, strides: tuple[int, ...]) -> None:
        super().__init__()
        with torch.device("meta"):  # only to ask which strides there are
            reductions = _info(timm.create_model(name, features_only=True)).reduction()
        self.body = timm.create_model(
            name, features_only=True, out_indices=[reductions.index(s) for s in strides]
        )
        self.channels: tuple[int, ...] = tuple(_info(self.body).channels())
        self.name = name
        self.normalise = Normalise()
        self.norm_eval = False
        self.frozen_stages = 0

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps (B, 3, H, W) RGB in [0, 255] to (B, C, H / s, W / s) for each stride s."""
        return self.body(self.normalise(images))

    def fix(self, frozen_stages: int, norm_eval: bool) -> None:
        """Keeps what was learnt before: weights of the first stages, batch statistics of all."""
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        for parameter in (p for module in self.frozen_modules() for p in module.parameters()):
            parameter.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Backbone:
        """Sets the mode, keeping fixed norms fixed."""
        super().train(mode)
        if mode:
            still = [self.body] if self.norm_eval else self.frozen_modules()
            for layer in (m for module in still for m in module.modules()):
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eval()
        return self

    def frozen_modules(self) -> list[nn.Module]:
        """The stem and the first `frozen_stages` stages, in the order data passes them."""
        if self.frozen_stages == 0:
            return []
        body = getattr(self.body, "model", self.body)
        stages = [m for n, m in body.named_children() if n.startswith(("layer", "stages"))]
        if len(stages) == 1 and isinstance(stages[0], nn.Sequential):
            stages = list(stages[0])
        stem = [m for n, m in body.named_children() if not n.startswith(("layer", "stages"))]
        return stem + stages[: self.frozen_stages]


def _info(body: nn.Module) -> FeatureInfo:
    info = body.feature_info
    assert isinstance(info, FeatureInfo)  # every features_only model of timm has one
    return info
