"""Memory does not grow with positives times pixels."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from memory import count_positives, run_case, scene

from crispmask.data.collate import collate
from crispmask.engine.evaluate import to_coco
from crispmask.models import centres, detections, losses
from crispmask.models.build import ModelSpec, build_network
from crispmask.models.detections import Detections
from crispmask.models.solov2 import decode as solov2_decode

CASES = [("solov2", "nano", 128), ("rtmdet-ins", "tiny", 256)]
"""Architecture, model, size of the images: enough cells or priors for 300 positives."""

GROWTH_MIB = 8
"""Most by which 300 instances take more than 30, when chunks are 2 MiB in float32."""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As small as the images are beside those the chunks are made for."""
    for module in (losses, centres, detections, solov2_decode):
        monkeypatch.setattr(module, "CHUNK_PIXELS", 1 << 19)
    monkeypatch.setattr(detections, "CACHE_PIXELS", 1 << 19)


def most_allocated(step: Callable[[], object]) -> float:
    """The most that tensors on the CPU took beyond those that were there before, MiB."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as prof:
        step()
    events = [e for e in prof.profiler.kineto_results.events() if e.name() == "[memory]"]
    changes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    return np.cumsum(changes).max() / 2**20


@pytest.mark.parametrize(("architecture", "model", "size"), CASES)
def test_a_step_with_300_instances(architecture: str, model: str, size: int) -> None:
    torch.manual_seed(0)
    network = build_network(ModelSpec(architecture, model, 3, size, mask_stride=1)).train()
    most = {}
    for num in (30, 300):
        batch = collate([scene(num, size)], 1, network.pad_value, [(size, size)])
        outputs = network(batch.images)
        positives = count_positives(network, outputs, batch.targets)

        def step(outputs=outputs, batch=batch) -> None:
            terms = network.loss(outputs, batch.targets)
            torch.stack(list(terms.values())).sum().backward()

        most[num] = most_allocated(step)
    in_one_piece = positives * size**2 * 4 / 2**20  # each intermediate of their masks
    assert in_one_piece > 5 * GROWTH_MIB
    assert most[300] - most[30] < GROWTH_MIB, most


@pytest.mark.parametrize(("architecture", "model", "size"), CASES)
def test_detecting_300_instances(architecture: str, model: str, size: int) -> None:
    """By a network that has learnt nothing: every candidate is kept."""
    torch.manual_seed(0)
    network = build_network(ModelSpec(architecture, model, 3, size)).eval()
    everything = replace(network.presets["val"], conf=0.0, candidate_conf=0.0, nms_iou=1.0)
    images = torch.from_numpy(scene(0, size).image).permute(2, 0, 1)[None]
    most = {}
    with torch.inference_mode():
        outputs = network(images)
        for num in (30, 300):
            decode = replace(everything, max_det=num)

            def step(decode=decode, num=num) -> None:
                assert len(network.detect(outputs, decode)[0]) == num

            most[num] = most_allocated(step)
    assert most[300] - most[30] < GROWTH_MIB, most


def test_300_instances_as_rle() -> None:
    """Of an image of 2048 x 2048 pixels: 1.2 GiB as bool."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    centre = torch.rand(2, 300, 1, 1, generator=torch.Generator().manual_seed(0)) * 64
    soft = 6 - ((x - centre[0]) ** 2 + (y - centre[1]) ** 2).sqrt()  # discs
    found = Detections(
        torch.linspace(1, 0, 300), torch.zeros(300, dtype=torch.int64), None, soft, 0.0, 4
    )
    tracemalloc.start()
    rows = to_coco(found, 1, (256, 256), (2048, 2048))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == 300
    assert most < 64 << 20


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="reads Linux's /proc")
def test_the_process_does_not_keep_what_chunks_have_freed() -> None:
    """What tensors take is one thing, what the allocator gives back to the system another."""
    row = run_case("train", "rtmdet-ins", 300, 1, imgsz=256)
    assert row["positives"] >= 300  # an intermediate of their masks is 83 MiB, a chunk 32
    assert row["added"] < 250
