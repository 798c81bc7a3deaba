"""What every architecture offers: forward, loss, detect and decode.

Letters: B batch, H and W input pixels.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from crispmask.config import DecodeConfig
from crispmask.models.backbone import Backbone
from crispmask.models.detections import Detections, to_instances
from crispmask.types import Instances, Targets

OutputsT = TypeVar("OutputsT")


class Network(nn.Module, Generic[OutputsT]):
    """Base of both architectures; no method changes its type with the mode.

    `forward` never sees targets, `loss` never sees images, `detect` sees neither.
    """

    presets: ClassVar[Mapping[str, DecodeConfig]]
    """Decode settings by name: `default`, `val` and `mmdet` (MMDetection's test_cfg)."""

    pad_value: tuple[float, float, float]
    """RGB pixel value beyond the image."""

    backbone: Backbone

    num_classes: int

    class_weights: Tensor | None
    """(K,) weights of the classes in the class loss; None: all 1."""

    def __init__(self) -> None:
        super().__init__()
        # Part of the training, not of the model: it moves to the device, but is not saved.
        self.register_buffer("class_weights", None, persistent=False)

    def weigh_classes(self, weights: Sequence[float]) -> None:
        """Lets the class loss of class k count `weights[k]` times."""
        self.class_weights = torch.tensor(weights, dtype=torch.float32)

    @abstractmethod
    def forward(self, images: Tensor) -> OutputsT:
        """Raw predictions.

        Args:
            images: (B, 3, H, W) RGB, uint8 or float in [0, 255]; H and W multiples of 32.
        """

    @abstractmethod
    def loss(self, outputs: OutputsT, targets: Targets) -> dict[str, Tensor]:
        """Weighted loss terms: `class`, `mask` and, if the model has boxes, `box`.

        Their sum is the objective. Finite and connected to every trained weight also when
        the batch has no instance.
        """

    @abstractmethod
    def detect(self, outputs: OutputsT, config: DecodeConfig) -> list[Detections]:
        """The instances of each image with their masks at the stride of the mask features."""

    @torch.no_grad()
    def decode(self, outputs: OutputsT, config: DecodeConfig) -> list[Instances]:
        """The instances of each image in input pixels, masks at input size."""
        return [
            to_instances(found, found.input_size, found.input_size)
            for found in self.detect(outputs, config)
        ]
