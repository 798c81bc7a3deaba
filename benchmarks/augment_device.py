"""Training images per second: painted by a device that holds them, and by loading processes.

    python benchmarks/augment_device.py --data sample/data.yaml --workers 4 --imgsz 640

Both sides give the same batches, on the device, in rounds that take turns; the medians count.
`painter alone` is what a batch of the first side takes without its loading processes: what a
training would wait for if they were infinitely fast. The levels are how far pixels of the same
samples are apart.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator

import torch

from crispmask.config import AugmentConfig
from crispmask.data.dataset import TrainDataset
from crispmask.data.device_images import decode_to_device
from crispmask.data.index import DatasetIndex
from crispmask.data.loader import BatchLoader, train_loader
from crispmask.data.painter import Painter
from crispmask.data.pixel_fill import decode_to_memory
from crispmask.data.pixels import layout_of
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec
from crispmask.types import Batch

PAD = (114.0, 114.0, 114.0)


def loaders(index: DatasetIndex, args: argparse.Namespace) -> dict[str, BatchLoader]:
    """Batches painted on the device, and by processes that have the images in memory."""
    layout, device = layout_of(index, args.imgsz), torch.device(args.device)
    images = decode_to_device(index, args.imgsz, layout, device, None, lambda done: None)
    ram = decode_to_memory(index, args.imgsz, True, layout, lambda done: None)
    common = (index, args.imgsz, AugmentConfig(), 0, 1_000_000)
    on_device = TrainDataset(*common, pixels=images.blanks(), unpainted=True)
    pin = device.type == "cuda"

    def loader(dataset: TrainDataset, painter: Painter | None) -> BatchLoader:
        return train_loader(
            dataset, args.batch, args.workers, 4, PAD, 0, pin_memory=pin, painter=painter
        )

    return {
        "device": loader(on_device, Painter(images)),
        "workers": loader(TrainDataset(*common, pixels=ram), None),
    }


def endless(loader: BatchLoader) -> Iterator[Batch]:
    for epoch in range(1_000_000):
        loader.set_epoch(epoch)
        yield from loader


def finish(device: str) -> None:
    """Waits until the device has done what it was told."""
    if device == "cuda":
        torch.cuda.synchronize()


def rate(batches: Iterator[Batch], args: argparse.Namespace) -> float:
    """Images per second over so many batches."""
    num, start = 0, time.perf_counter()
    for _ in range(args.batches):
        batch = next(batches).to(args.device, non_blocking=True)
        num += len(batch.images)
    finish(args.device)
    return num / (time.perf_counter() - start)


def painter_alone(loader: BatchLoader, args: argparse.Namespace) -> float:
    """Milliseconds per image of painting alone, the pictures being there."""
    assert loader.painter is not None
    dataset = loader.dataset.dataset  # type: ignore[attr-defined]  # inside its guard
    pictures = [
        [sample.picture for sample in dataset.batch(keys)]
        for keys, _ in zip(loader.batch_sampler, range(args.batches), strict=False)
    ]
    loader.painter(pictures[0])
    finish(args.device)
    start = time.perf_counter()
    for batch in pictures:
        loader.painter(batch)
    finish(args.device)
    return 1000 * (time.perf_counter() - start) / sum(map(len, pictures))


def levels_apart(sides: dict[str, BatchLoader], args: argparse.Namespace) -> torch.Tensor:
    """(values,) levels of 255 between the pixels that both sides give for the same samples."""
    found = []
    for loader in sides.values():
        loader.set_epoch(0)
    for _, batches in zip(range(args.batches), zip(*sides.values(), strict=True), strict=False):
        device, workers = (batch.images.int().cpu() for batch in batches)
        found.append((device - workers).abs().flatten())
    return torch.cat(found).float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", required=True)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--batches", type=int, default=20, help="per round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    spec = read_spec(args.data)
    sides = loaders(build_index(spec.train, len(spec.names)), args)
    apart = levels_apart(sides, args)
    shares = ", ".join(f"{(apart <= k).float().mean():.4%} within {k}" for k in (0, 1, 2))
    print(f"levels apart: {apart.mean():.4f} in the mean, {shares}, {apart.max():.0f} at most")
    streams = {name: endless(loader) for name, loader in sides.items()}
    for stream in streams.values():
        rate(stream, args)  # the first batches start the processes
    rates: dict[str, list[float]] = {name: [] for name in streams}
    for _ in range(args.rounds):
        for name, stream in streams.items():
            rates[name].append(rate(stream, args))
    for name, values in rates.items():
        print(f"{name:8} {statistics.median(values):8.1f} images/s  {values}")
    print(f"painter alone {painter_alone(sides['device'], args):.2f} ms per image")


if __name__ == "__main__":
    main()
