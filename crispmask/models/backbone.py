"""Feature extractors from timm.

Letters: B batch, C channels, h and w size of a feature map.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
from torch import Tensor, nn

from crispmask.errors import ConfigError
from crispmask.models.layers import IMAGENET_MEAN, IMAGENET_STD, Normalise
from crispmask.models.timm_features import (
    STAGE_STRIDES,
    Colour,
    as_channels_first,
    check_usable,
    describe,
    feature_info,
    full_name,
    normalisation,
    parameter_stages,
)


class Backbone(nn.Module):
    """A timm model that normalises RGB pixels and returns one map per stride.

    Args:
        name: timm name, such as `resnet18` or `cspnext_tiny`.
        strides: the strides wanted, ascending.
        mean: of the images it was trained on, RGB in [0, 255].
        std: likewise.

    Attributes:
        channels: channels of each returned map.
        name: timm name.
        options: what `timm.create_model` needs beside it to make `body`.
        mean: as given.
        norm_eval: whether batch statistics stay as they are in training.
        frozen_stages: the stem and this many stages are not trained.
    """

    def __init__(
        self,
        name: str,
        strides: tuple[int, ...],
        mean: Colour = IMAGENET_MEAN,
        std: Colour = IMAGENET_STD,
    ) -> None:
        super().__init__()
        extractor = describe(name)
        self.name = name
        self.options: dict[str, Any] = {
            "out_indices": [extractor.indices[s] for s in strides],
            **extractor.options,
        }
        self.body = timm.create_model(name, features_only=True, **self.options)
        self.channels: tuple[int, ...] = tuple(feature_info(self.body).channels())
        self.mean = mean
        self.normalise = Normalise(mean, std)
        self.norm_eval = False
        self.frozen_stages = 0

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps (B, 3, H, W) RGB in [0, 255] to (B, C, H / s, W / s) for each stride s."""
        return as_channels_first(self.body, self.body(self.normalise(images)))

    def parameter_stages(self) -> Mapping[str, int]:
        """The stage of each parameter of `body`, 1 to 4; see `timm_features.STAGE_STRIDES`."""
        return parameter_stages(self.name)

    def fix(self, frozen_stages: int, norm_eval: bool) -> None:
        """Keeps what was learnt before: weights of the first stages, batch statistics of all.

        Args:
            frozen_stages: the stem and this many stages are not trained, 0 to 4.
            norm_eval: whether the batch statistics of the whole backbone stay.

        Raises:
            ConfigError: the model has no map the last frozen stage could end with.
        """
        if frozen_stages:
            stride = STAGE_STRIDES[frozen_stages - 1]
            if stride not in describe(self.name).indices:
                raise ConfigError(
                    f"--freeze {frozen_stages}: {self.name} has no map of stride {stride}, "
                    "where that stage would end"
                )
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        stages = self.parameter_stages() if frozen_stages else {}
        for name, parameter in self.body.named_parameters():
            if frozen_stages and stages[name] <= frozen_stages:
                parameter.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Backbone:
        """Sets the mode; what is frozen stays as in evaluation, its dropout included."""
        super().train(mode)
        if mode:
            for module in self.frozen_modules():
                module.eval()
            if self.norm_eval:
                for module in self.body.modules():
                    if getattr(module, "running_var", None) is not None:
                        module.eval()
        return self

    def frozen_modules(self) -> list[nn.Module]:
        """The modules all of whose parameters belong to frozen stages."""
        if self.frozen_stages == 0:
            return []
        stages = self.parameter_stages()
        frozen = []
        for path, module in self.body.named_modules():
            prefix = f"{path}." if path else ""
            names = [prefix + name for name, _ in module.named_parameters()]
            if names and all(stages[name] <= self.frozen_stages for name in names):
                frozen.append(module)
        return frozen


def make_backbone(name: str, strides: tuple[int, ...], architecture: str) -> Backbone:
    """Any backbone of timm, with the normalisation it was trained with.

    Raises:
        ConfigError: it cannot serve this architecture.
    """
    name = full_name(name)
    check_usable(name, strides, architecture)
    return Backbone(name, strides, *normalisation(name))
