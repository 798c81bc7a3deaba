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
from crispmask.models import losses
from crispmask.models.build import ModelSpec, build_network

SMALLEST = [("solov2", "nano"), ("rtmdet-ins", "tiny")]

SIZE = 256

CHUNK_PIXELS = 1 << 20
"""As in the losses, for smaller images: 16 masks of 256 x 256, 4 MiB each intermediate."""

GROWTH_MIB = 30
"""Most by which 300 instances take more than 30; every intermediate of their masks in one piece
is 130 MiB and more."""


def most_allocated(step: Callable[[], object]) -> float:
    """The most that tensors took beyond those that were there before, and arrays, MiB."""
    tracemalloc.start()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as prof:
        step()
    _, arrays = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    events = [e for e in prof.profiler.kineto_results.events() if e.name() == "[memory]"]
    changes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    return (np.cumsum(changes).max() + arrays) / 2**20


@pytest.mark.parametrize(("architecture", "model"), SMALLEST)
def test_a_step_with_300_instances(
    architecture: str, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "CHUNK_PIXELS", CHUNK_PIXELS)
    torch.manual_seed(0)
    network = build_network(ModelSpec(architecture, model, 3, SIZE, mask_stride=1)).train()
    most = {}
    for num in (30, 300):
        batch = collate([scene(num, SIZE)], 1, network.pad_value, [(SIZE, SIZE)])
        outputs = network(batch.images)
        assert num == 30 or count_positives(network, outputs, batch.targets) >= 500

        def step(outputs=outputs, batch=batch) -> None:
            terms = network.loss(outputs, batch.targets)
            torch.stack(list(terms.values())).sum().backward()

        most[num] = most_allocated(step)
    assert most[300] - most[30] < GROWTH_MIB, most


@pytest.mark.parametrize(("architecture", "model"), SMALLEST)
def test_300_instances_as_rle(architecture: str, model: str) -> None:
    """Found by a network that has learnt nothing, drawn at four times the size of the input."""
    torch.manual_seed(0)
    network = build_network(ModelSpec(architecture, model, 3, SIZE)).eval()
    everything = replace(network.presets["val"], conf=0.0, candidate_conf=0.0, nms_iou=1.0)
    images = torch.from_numpy(scene(0, SIZE).image).permute(2, 0, 1)[None]
    most = {}
    with torch.inference_mode():
        outputs = network(images)
        for num in (30, 300):
            decode = replace(everything, max_det=num)

            def step(decode=decode, num=num) -> None:
                (found,) = network.detect(outputs, decode)
                assert len(found) == num
                to_coco(found, 1, (SIZE, SIZE), (4 * SIZE, 4 * SIZE))

            most[num] = most_allocated(step)
    assert most[300] - most[30] < GROWTH_MIB, most


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="reads Linux's /proc")
def test_the_process_keeps_nothing_that_chunks_have_freed() -> None:
    """Which tensors allocate is one thing, what the allocator gives back another."""
    row = run_case("train", "rtmdet-ins", 300, 1, imgsz=320)
    assert row["positives"] >= 500
    assert row["added"] < 250
