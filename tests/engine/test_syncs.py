"""How often a training step makes the CPU wait for a GPU: bounded, whatever the instances."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from sync_count import CountSyncs

from crispmask.config import TrainConfig
from crispmask.engine.device import make_fabric
from crispmask.engine.resolve import resolve
from crispmask.engine.run import Run, start_run
from crispmask.engine.train_epoch import train_step
from crispmask.engine.workdir import WorkDir
from crispmask.models.build import ModelSpec, build_network
from crispmask.types import Batch, Targets

BOUNDS = {"solov2": (4, 11), "rtmdet-ins": (4, 6)}
"""Waits per step, and per image on top. Stated in benchmarks/train_step.md, too."""

SIZES = {"solov2": "nano", "rtmdet-ins": "tiny"}


def make_batch(num_images: int, num_instances: int, size: int = 64) -> Batch:
    """Noise with squares, the same number in each image."""
    generator = torch.Generator().manual_seed(num_instances)
    count = num_images * num_instances
    boxes = torch.zeros(count, 4)
    masks = torch.zeros(count, size // 4, size // 4, dtype=torch.bool)
    for i in range(count):
        x, y = (4 * torch.randint(0, size // 8, (2,), generator=generator)).tolist()
        side = size // 2
        boxes[i] = torch.tensor([x, y, x + side, y + side])
        masks[i, y // 4 : (y + side) // 4, x // 4 : (x + side) // 4] = True
    sizes = ((size, size),) * num_images
    labels = torch.randint(0, 3, (count,), generator=generator)
    targets = Targets(labels, boxes, masks, (num_instances,) * num_images, sizes, 4)
    images = torch.randint(0, 256, (num_images, 3, size, size), generator=generator).byte()
    return Batch(images, targets, tuple(range(num_images)), sizes)


def make_run(architecture: Any, device: str) -> Run:
    config = TrainConfig(
        architecture=architecture,
        model=SIZES[architecture],
        imgsz=64,
        weights="none",
        device=device,
        lr=1e-4,
    )
    settings = resolve(config, WorkDir(Path("x")), Path("data.yaml"), 3, 8)
    network = build_network(ModelSpec(architecture, SIZES[architecture], 3, 64))
    return start_run(network, settings, make_fabric(settings.ranks, settings.precision), 4)


@pytest.mark.parametrize("architecture", ["solov2", "rtmdet-ins"])
def test_waits_are_few_and_do_not_grow_with_instances(architecture: str) -> None:
    run = make_run(architecture, "cpu")
    totals = {}
    for num_images, num_instances in ((2, 2), (2, 12), (3, 2)):
        batch = make_batch(num_images, num_instances)
        train_step(run, batch)
        with CountSyncs() as syncs:
            train_step(run, batch)
        totals[num_images, num_instances] = syncs.total
        whole, per_image = BOUNDS[architecture]
        assert syncs.total <= whole + per_image * num_images, syncs.counts
    assert totals[2, 12] <= totals[2, 2]
    assert totals[2, 2] > 0  # they are seen


def test_the_counter_sees_each_kind() -> None:
    x = torch.arange(4)
    with CountSyncs() as syncs:
        x.sum().item()
        (x > 1).nonzero()
        x.unique()
        x[x > 1]
        torch.tensor([1.0])
        x[1:] + x.new_zeros(3)  # none of these waits
        x[torch.where(x > 1, 0, 1)]
    assert syncs.total == 5


@pytest.mark.gpu
@pytest.mark.parametrize("architecture", ["solov2", "rtmdet-ins"])
def test_waits_of_a_gpu(architecture: str) -> None:
    run = make_run(architecture, "0")
    batch = make_batch(2, 6)
    train_step(run, batch)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            train_step(run, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [w for w in caught if "synchronizing CUDA operation" in str(w.message)]
    whole, per_image = BOUNDS[architecture]
    assert len(waits) <= whole + 1 + 2 * per_image  # one more reads the losses
