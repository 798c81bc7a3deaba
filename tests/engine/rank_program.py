"""Trains a few steps as one of several processes, all norms fixed, and saves what came out.

python rank_program.py ARCHITECTURE DATA RANK WORLD_SIZE PORT OUT [ACCUMULATE]
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from crispmask.config import AugmentConfig, TrainConfig
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec
from crispmask.engine.device import make_fabric
from crispmask.engine.prepare import Data, make_loaders, make_network
from crispmask.engine.ranks import Ranks
from crispmask.engine.resolve import resolve
from crispmask.engine.run import start_run
from crispmask.engine.seat import Seat
from crispmask.engine.train_epoch import train_step
from crispmask.engine.workdir import WorkDir


def main(
    architecture: str, data: str, rank: int, world_size: int, port: int, out: str, gather: int = 1
) -> None:
    torch.set_num_threads(1)
    config = TrainConfig(
        data=data,
        architecture=architecture,
        batch=4,
        imgsz=64,
        lr=0.002,
        epochs=3,
        warmup_epochs=0,
        weights="none",
        workers=0,
        device="cpu",
        optimizer="sgd",
        augment=AugmentConfig(mosaic=0.5),
    )
    spec = read_spec(data)
    index = build_index(spec.train, len(spec.names))
    settings = resolve(config, WorkDir(Path(out)), spec.file, len(spec.names), len(index))
    settings = replace(settings, ranks=Ranks("cpu", (), world_size))
    seat = Seat(rank, 0, "127.0.0.1", port) if world_size > 1 else None
    fabric = make_fabric(settings.ranks, "32", seat)
    fabric.launch()
    fabric.seed_everything(0, verbose=False)
    network, _, _ = make_network(settings, len(spec.names), load=False)
    run = start_run(network, settings, fabric, 1)
    run.full_gather = gather
    loaders = make_loaders(settings, Data(spec, index, index, {}), network.pad_value, fabric)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    logs = []
    for epoch in range(3):
        loaders.set_epoch(epoch)
        for k, batch in enumerate(loaders.train):
            log = train_step(run, batch, is_last=k + 1 == len(loaders.train))
            logs.append(
                (log.losses, log.grad_norm, log.num_images, log.num_instances, batch.indices)
            )
    torch.save(
        {
            "logs": logs,
            "weights": {name: p.detach().clone() for name, p in network.named_parameters()},
            "ema": run.ema.network.state_dict(),
        },
        f"{out}/{world_size}_{gather}_{rank}.pt",
    )


if __name__ == "__main__":
    architecture, data, *numbers, out = sys.argv[1:7]
    main(architecture, data, *map(int, numbers), out, *map(int, sys.argv[7:]))
