"""Milliseconds and peak memory of one training step, beside those of YOLO11n-seg.

    python benchmarks/train_step.py --yolo-python yolo/bin/python --imgsz 320 --batch 2

Every model trains on the same images and the same number of instances in processes of its own
that take turns: a machine that slows down slows all of them. A step is what training does:
forward, loss, backward, clipping, optimizer, averaged weights. `--yolo-python` is the Python of
an environment with Ultralytics (AGPL: run there, never imported here); without it only our models
are timed.
`--profile` adds where the time of our steps goes. `--waiting` trains for real instead, and says
which share of an epoch was spent waiting for images.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

OURS = {"rtmdet-ins": "tiny", "solov2": "nano"}


def make_batch(imgsz: int, batch: int, instances: int, seed: int = 0) -> dict[str, Any]:
    """Images of noise with rectangles: pixels, labels, boxes xyxy, masks at a quarter."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (batch, 3, imgsz, imgsz), generator=generator).byte()
    side = imgsz // 4
    masks = torch.zeros(batch * instances, side, side, dtype=torch.bool)
    boxes = torch.zeros(batch * instances, 4)
    for i in range(batch * instances):
        w, h = (imgsz * (0.1 + 0.4 * torch.rand(2, generator=generator))).tolist()
        x, y = (torch.rand(2, generator=generator) * torch.tensor([imgsz - w, imgsz - h])).tolist()
        boxes[i] = torch.tensor([x, y, x + w, y + h])
        masks[i, int(y / 4) : int((y + h) / 4) + 1, int(x / 4) : int((x + w) / 4) + 1] = True
    labels = torch.randint(0, 3, (batch * instances,), generator=generator)
    return {"images": images, "labels": labels, "boxes": boxes, "masks": masks}


def our_step(architecture: str, args: argparse.Namespace) -> tuple[Callable[[], None], Any]:
    """A training step of ours on a batch that stays the same, and its run."""
    from crispmask.config import TrainConfig
    from crispmask.engine.device import make_fabric
    from crispmask.engine.resolve import resolve
    from crispmask.engine.run import start_run
    from crispmask.engine.train_epoch import train_step
    from crispmask.engine.workdir import WorkDir
    from crispmask.models.build import ModelSpec, build_network
    from crispmask.types import Batch, Targets

    made = make_batch(args.imgsz, args.batch, args.instances)
    size = (args.imgsz, args.imgsz)
    targets = Targets(
        made["labels"],
        made["boxes"],
        made["masks"],
        (args.instances,) * args.batch,
        (size,) * args.batch,
        4,
    )
    batch = Batch(made["images"], targets, tuple(range(args.batch)), (size,) * args.batch)
    config = TrainConfig(
        architecture=architecture,
        model=OURS[architecture],
        imgsz=args.imgsz,
        batch=args.batch,
        weights="none",
        device=args.device,
        precision=args.precision,
        lr=1e-4,
    )
    settings = resolve(config, WorkDir(Path("x")), Path("data.yaml"), 3, 100)
    network = build_network(ModelSpec(architecture, OURS[architecture], 3, args.imgsz))
    run = start_run(network, settings, make_fabric(settings.ranks, settings.precision), 100)
    run.model.train()
    return lambda: train_step(run, batch) and None, run


def yolo_step(args: argparse.Namespace) -> Callable[[], None]:
    """The same of YOLO11n-seg through the interfaces of Ultralytics."""
    import torch
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import SegmentationModel
    from ultralytics.utils.torch_utils import ModelEMA

    made = make_batch(args.imgsz, args.batch, args.instances)
    device = torch.device("cuda" if args.device in ("cuda", "0") else "cpu")
    model = SegmentationModel("yolo11n-seg.yaml", nc=3, verbose=False).to(device).train()
    model.args = get_cfg()
    average = ModelEMA(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.937, nesterov=True)
    boxes = made["boxes"] / args.imgsz
    index = torch.arange(args.batch).repeat_interleave(args.instances)
    overlap = torch.zeros(args.batch, args.imgsz // 4, args.imgsz // 4)
    for i, mask in enumerate(made["masks"]):  # one map of indices per image
        overlap[index[i]][mask] = i % args.instances + 1
    batch = {
        "img": made["images"],
        "cls": made["labels"].float()[:, None],
        "bboxes": torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1),
        "batch_idx": index.float(),
        "masks": overlap,
    }

    def step() -> None:
        moved = {key: value.to(device) for key, value in batch.items()}
        moved["img"] = moved["img"].float() / 255
        with torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16"):
            loss, items = model(moved)
        loss.sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update(model)
        terms = items.values() if isinstance(items, dict) else items  # by version
        torch.stack([torch.as_tensor(term).detach().reshape(()) for term in terms]).cpu()

    return step


def synchronise(device: str) -> None:
    if device in ("cuda", "0"):
        import torch

        torch.cuda.synchronize()


def peak_mb(device: str) -> float:
    """Peak memory so far: of the GPU, or of this process."""
    if device in ("cuda", "0"):
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**10


def work(args: argparse.Namespace) -> None:
    """Times the steps of one model and prints them."""
    step = yolo_step(args) if args.work == "yolo11n" else our_step(args.work, args)[0]
    before = peak_mb(args.device)
    seconds, cpu = [], []
    for _ in range(args.warmup + args.steps):
        synchronise(args.device)
        start, start_cpu = time.perf_counter(), time.process_time()
        step()
        synchronise(args.device)
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    found = {"seconds": seconds[args.warmup :], "cpu": cpu[args.warmup :], "before": before}
    print(json.dumps({**found, "peak": peak_mb(args.device)}))


def compare(args: argparse.Namespace) -> None:
    """Lets every model take turns and prints a table."""
    models = list(OURS)
    if args.yolo_python:
        models.append("yolo11n")
    found: dict[str, list[dict[str, Any]]] = {model: [] for model in models}
    for number in range(args.rounds):
        for model in models if number % 2 == 0 else models[::-1]:
            python = args.yolo_python if model == "yolo11n" else sys.executable
            words = [python, __file__, *sys.argv[1:], "--work", model]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            found[model].append(json.loads(done.stdout.splitlines()[-1]))
    wall, cpu = (
        {m: statistics.median(statistics.median(r[key]) for r in found[m]) for m in found}
        for key in ("seconds", "cpu")
    )
    print(
        "| model | ms per step | CPU ms per step | x YOLO11n-seg | peak MiB | of it by the steps |"
    )
    print("|---|---|---|---|---|---|")
    for model, rounds in found.items():
        peak = statistics.median(r["peak"] for r in rounds)
        added = statistics.median(r["peak"] - r["before"] for r in rounds)
        # CPU time says most on a machine that is busy, the wall clock with a GPU.
        basis = wall if args.device in ("cuda", "0") else cpu
        times = f"{basis[model] / basis['yolo11n']:.2f}" if args.yolo_python else "-"
        name = f"{model} {OURS[model]}" if model in OURS else "YOLO11n-seg"
        spent = f"{wall[model] * 1e3:.0f} | {cpu[model] * 1e3:.0f}"
        print(f"| {name} | {spent} | {times} | {peak:.0f} | {added:.0f} |")


def profile(args: argparse.Namespace) -> None:
    """Prints which part of a step takes how much, by torch.profiler."""
    from torch.profiler import ProfilerActivity, record_function
    from torch.profiler import profile as watch

    on_gpu = args.device in ("cuda", "0")

    def named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **options: Any) -> Any:
            with record_function(name):
                return function(*words, **options)

        return call

    for architecture in OURS:
        step, run = our_step(architecture, args)
        network = run.network
        heads = {"rtmdet-ins": ("head", "mask_branch"), "solov2": ("grid_branches", "mask_branch")}
        for part in ("backbone", "neck", *heads[architecture]):
            module = getattr(network, part)
            module.forward = named(f"part: forward, {part.replace('_', ' ')}", module.forward)
        network.assign = named("part: loss, of it the assignment", network.assign)
        network.loss = named("part: loss", network.loss)
        run.fabric.backward = named("part: backward", run.fabric.backward)
        clip = run.fabric.clip_gradients
        run.fabric.clip_gradients = named("part: clipping", clip)
        run.optimizer.step = named("part: optimizer", run.optimizer.step)
        run.ema.update = named("part: averaged weights", run.ema.update)
        for _ in range(args.warmup):
            step()
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
        with watch(activities=activities) as recorded:
            for _ in range(args.steps):
                with record_function("step"):
                    step()
                    synchronise(args.device)
        events = {event.key: event for event in recorded.key_averages()}
        whole = events["step"].cpu_time_total

        def milliseconds(event: Any) -> float:
            return (event.device_time_total if on_gpu else event.cpu_time_total) / 1e3 / args.steps

        print(
            f"\n{architecture} {OURS[architecture]}: {whole / 1e3 / args.steps:.0f} ms per step\n"
        )
        print("| part | ms | share |\n|---|---|---|")
        parts = [key for key in events if key.startswith("part: ")]
        for key in sorted(parts, key=lambda key: -milliseconds(events[key])):
            spent = milliseconds(events[key])
            print(f"| {key[6:]} | {spent:.1f} | {spent * 1e3 * args.steps / whole:.1%} |")
        print("\n| operation | calls per step | ms |\n|---|---|---|")
        operations = [e for e in recorded.key_averages() if e.key.startswith("aten::")]
        for event in sorted(operations, key=lambda e: -e.self_cpu_time_total)[:8]:
            spent = event.self_cpu_time_total / 1e3 / args.steps
            print(f"| {event.key[6:]} | {event.count / args.steps:.0f} | {spent:.1f} |")


def waiting(args: argparse.Namespace) -> None:
    """Trains for three epochs and prints the share of each spent waiting for images."""
    import crispmask
    from crispmask.cli import main as command

    with tempfile.TemporaryDirectory() as folder:
        words = ["--images", str(args.images), "--imgsz", str(args.imgsz)]
        command(["sample", "--out", f"{folder}/data", *words])
        for architecture, model in OURS.items():
            run = Path(folder) / architecture
            crispmask.train(
                data=args.data or f"{folder}/data/data.yaml",
                architecture=architecture,
                model=model,
                weights="none",
                imgsz=args.imgsz,
                batch=args.batch,
                workers=args.workers,
                device=args.device,
                epochs=3,
                val_interval=3,
                close_mosaic=0,
                work_dir=str(run),
                quiet=True,
            )
            with (run / "results.csv").open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    spent, waited = float(row["seconds/train"]), float(row["seconds/data"])
                    print(
                        f"| {architecture} {model} | {row['epoch']} | {spent:.1f} | {waited:.2f} "
                        f"| {waited / spent:.1%} |"
                    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--instances", type=int, default=10, help="per image")
    parser.add_argument("--warmup", type=int, default=2, help="steps before those timed")
    parser.add_argument("--steps", type=int, default=6, help="timed in each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="32", choices=("32", "bf16"))
    parser.add_argument("--yolo-python", help="Python of an environment with Ultralytics")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--waiting", action="store_true")
    parser.add_argument("--data", help="of --waiting; the sample set if left out")
    parser.add_argument("--images", type=int, default=96, help="of the sample set")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args)
    elif args.profile:
        profile(args)
    elif args.waiting:
        waiting(args)
    else:
        compare(args)


if __name__ == "__main__":
    main()
