"""`--batch probe`: the largest batch that a GPU holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from crispmask.config import TrainConfig
from crispmask.engine.device import make_fabric
from crispmask.engine.prepare import make_network
from crispmask.engine.ranks import Ranks
from crispmask.engine.resolve import Settings
from crispmask.engine.run import start_run
from crispmask.engine.slices import add_at_once, is_out_of_memory
from crispmask.errors import ConfigError
from crispmask.types import Batch, Targets

SHARE = 0.85
"""Of the free memory that is used; images with more instances than the probe's need the rest."""

INSTANCES = 50
"""Instances of each image of the probe: four photographs of a mosaic rarely hold more."""

LARGEST = 512
"""Most images that are tried; more are no use."""


def is_asked_for(config: TrainConfig) -> bool:
    """Whether `--batch` is to be found by trying."""
    return config.batch in ("probe", -1)


def with_probed_batch(
    config: TrainConfig, settings: Settings, num_classes: int
) -> tuple[TrainConfig, str]:
    """A configuration with a batch in numbers, and a line about it.

    Args:
        config: asks for a probe.
        settings: of the run with the batch of the model table.
        num_classes: K.

    Raises:
        ConfigError: torchrun or SLURM started several processes, or no image fits.
    """
    ranks, table = settings.ranks, settings.batch
    if ranks.kind != "cuda":
        return replace(config, batch=table), (
            f"--batch probe: tries out GPUs only, this run is on {ranks.kind}; "
            f"takes the {table} of the model table"
        )
    if ranks.starter != "crispmask" or ranks.nodes > 1:
        raise ConfigError("--batch probe: give a number where several machines train together")
    free, total = torch.cuda.mem_get_info(ranks.gpus[0])
    found, needed = largest_batch(
        lambda batch: _peak_bytes(settings, num_classes, batch), int(SHARE * free)
    )
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(ranks.gpus[0])  # that of the probe is not that of the run
    if not found:
        raise ConfigError(
            f"--batch probe: not even one image of {config.imgsz} px fits into the "
            f"{free / 2**30:.1f} GiB that are free; lower --imgsz"
        )
    return replace(config, batch=found * ranks.world_size), (
        f"--batch probe: {found} images per GPU need {needed / 2**30:.1f} of the "
        f"{free / 2**30:.1f} GiB free, {total / 2**30:.1f} in all; the model table says {table}"
    )


def largest_batch(peak_bytes: Callable[[int], int | None], limit: int) -> tuple[int, int]:
    """The largest batch whose memory stays below a limit, and that memory; 0, 0 if none does.

    Batches double until one is too large; the rest is halved between the last two.

    Args:
        peak_bytes: memory a batch needs; None if it runs out.
        limit: bytes.
    """
    fits, needed, too_large = 0, 0, LARGEST + 1
    batch = 1
    while fits + 1 < too_large:
        peak = peak_bytes(batch)
        if peak is not None and peak <= limit:
            fits, needed = batch, peak
        else:
            too_large = batch
        batch = min(2 * fits, LARGEST) if too_large > LARGEST else (fits + too_large) // 2
    return fits, needed


def _peak_bytes(settings: Settings, num_classes: int, batch: int) -> int | None:
    """Memory of two steps, the second one with the state of the optimizer."""
    gpu = settings.ranks.gpus[0]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(gpu)
    try:
        fabric = make_fabric(Ranks("cuda", (gpu,)), settings.precision)
        network, _, _ = make_network(settings, num_classes, load=False)
        run = start_run(network, replace(settings, sync_bn=False), fabric, steps_per_epoch=2)
        run.model.train()
        for _ in range(2):
            run.optimizer.zero_grad()
            add_at_once(run, _noise(batch, settings, num_classes), updates=True)
            run.optimizer.step()
    except RuntimeError as error:
        if is_out_of_memory(error):
            return None
        raise
    return int(torch.cuda.max_memory_reserved(gpu))


def _noise(batch: int, settings: Settings, num_classes: int) -> Batch:
    """Images of noise with instances all over."""
    imgsz, stride = settings.config.imgsz, settings.config.mask_stride
    generator = torch.Generator().manual_seed(0)
    num = batch * INSTANCES
    corners = torch.rand(num, 2, generator=generator) * imgsz * 0.8
    sides = torch.rand(num, 2, generator=generator) * imgsz * 0.2
    masks = torch.zeros(num, imgsz // stride, imgsz // stride, dtype=torch.bool)
    for mask, (x, y), (width, height) in zip(masks, corners.tolist(), sides.tolist(), strict=True):
        rows = slice(int(y / stride), int((y + height) / stride) + 1)
        mask[rows, int(x / stride) : int((x + width) / stride) + 1] = True
    images = torch.randint(0, 256, (batch, imgsz, imgsz, 3), generator=generator, dtype=torch.uint8)
    return Batch(
        images=images.permute(0, 3, 1, 2),
        targets=Targets(
            labels=torch.randint(0, num_classes, (num,), generator=generator),
            boxes=torch.cat([corners, corners + sides + 1], dim=1),
            masks=masks,
            counts=(INSTANCES,) * batch,
            valid_sizes=((imgsz, imgsz),) * batch,
            mask_stride=stride,
        ),
        indices=tuple(range(batch)),
        original_sizes=((imgsz, imgsz),) * batch,
    )
