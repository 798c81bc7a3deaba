"""A network small enough to train in tests: one class, one instance per image."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crispmask.config import DecodeConfig
from crispmask.models.detections import Detections
from crispmask.models.interface import Network
from crispmask.types import Batch, Targets


class ToyNetwork(Network[Tensor]):
    presets = {"default": DecodeConfig(), "val": DecodeConfig(conf=0.001)}  # noqa: RUF012 - as the interface has it
    pad_value = (114.0, 114.0, 114.0)
    num_classes = 1

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 5, stride=4, padding=2, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.1)  # draws from torch's global state, which a resume restores
        self.head = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.drop(F.relu(self.norm(self.stem(images.float() / 255 - 0.5)))))

    def loss(self, outputs: Tensor, targets: Targets) -> dict[str, Tensor]:
        covered = torch.stack([masks.any(0) for _, _, masks in targets.per_image()]).float()
        logits = outputs[:, 0].float()
        p = logits.sigmoid()
        dice = 1 - 2 * (p * covered).sum() / (p.square().sum() + covered.sum()).clamp(min=1e-6)
        return {"class": F.binary_cross_entropy_with_logits(logits, covered), "mask": dice}

    @torch.no_grad()
    def detect(self, outputs: Tensor, config: DecodeConfig) -> list[Detections]:
        found = []
        for soft in outputs[:, 0].float().sigmoid():
            score = soft.max()[None]
            keep = score > config.conf
            found.append(
                Detections(
                    scores=score[keep],
                    labels=torch.zeros(int(keep.sum()), dtype=torch.int64),
                    boxes=None,
                    soft_masks=soft[None][keep],
                    threshold=0.5,
                    mask_stride=4,
                )
            )
        return found


def make_batch(seed: int, num_images: int = 2, size: int = 32) -> Batch:
    """Images of noise with a bright square each, the instance."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 60, (num_images, 3, size, size), generator=generator)
    masks = torch.zeros(num_images, size // 4, size // 4, dtype=torch.bool)
    boxes = torch.zeros(num_images, 4)
    for i in range(num_images):
        x, y = (4 * torch.randint(0, size // 8, (2,), generator=generator)).tolist()
        side = size // 2
        images[i, :, y : y + side, x : x + side] += 150
        masks[i, y // 4 : (y + side) // 4, x // 4 : (x + side) // 4] = True
        boxes[i] = torch.tensor([x, y, x + side, y + side])
    targets = Targets(
        labels=torch.zeros(num_images, dtype=torch.int64),
        boxes=boxes,
        masks=masks,
        counts=(1,) * num_images,
        valid_sizes=((size, size),) * num_images,
        mask_stride=4,
    )
    indices = tuple(range(seed * num_images, (seed + 1) * num_images))
    return Batch(images.byte(), targets, indices, ((size, size),) * num_images)


def make_batches(count: int, num_images: int = 2, size: int = 32) -> Iterator[Batch]:
    return (make_batch(seed, num_images, size) for seed in range(count))
