from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toy_network import ToyNetwork, make_batch, make_batches

from crispmask.config import TrainConfig
from crispmask.engine import probe
from crispmask.engine import slices as slices_module
from crispmask.engine.device import make_fabric
from crispmask.engine.probe import INSTANCES, LARGEST, _noise, largest_batch, with_probed_batch
from crispmask.engine.ranks import Ranks
from crispmask.engine.resolve import Settings, resolve
from crispmask.engine.run import Run, restore_run, start_run, training_state
from crispmask.engine.slices import cut, is_out_of_memory, memory_in_words
from crispmask.engine.train_epoch import train_epoch, train_step
from crispmask.engine.workdir import WorkDir
from crispmask.errors import ConfigError
from crispmask.models.build import ModelSpec, build_network
from crispmask.types import Batch, Targets


def _settings(**changes: Any) -> Settings:
    config = TrainConfig(
        device="cpu",
        lr=0.002,
        epochs=20,
        warmup_epochs=0,
        weights="none",
        optimizer="sgd",
        **changes,
    )
    return resolve(config, WorkDir(Path("x")), Path("data.yaml"), 2, 8)


def _run(network: Any, **changes: Any) -> Run:
    settings = _settings(**changes)
    run = start_run(network, settings, make_fabric(settings.ranks, settings.precision), 4)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.Dropout)):
            module.eval()
    return run


def _real_run(architecture: str, **changes: Any) -> Run:
    torch.manual_seed(0)
    spec = ModelSpec(architecture, "tiny", 2, 64)
    return _run(build_network(spec), architecture=architecture, imgsz=64, **changes)


def _batch(counts: tuple[int, ...] = (3, 0, 1, 5)) -> Batch:
    """64 px images with that many boxes."""
    generator = torch.Generator().manual_seed(sum(counts))
    num = sum(counts)
    corners = torch.randint(0, 40, (num, 2), generator=generator)
    sides = torch.randint(8, 24, (num, 2), generator=generator)
    masks = torch.zeros(num, 16, 16, dtype=torch.bool)
    for mask, (x, y), (w, h) in zip(masks, corners.tolist(), sides.tolist(), strict=True):
        mask[y // 4 : (y + h) // 4, x // 4 : (x + w) // 4] = True
    targets = Targets(
        labels=torch.randint(0, 2, (num,), generator=generator),
        boxes=torch.cat([corners, corners + sides], dim=1).float(),
        masks=masks,
        counts=counts,
        valid_sizes=((64, 64),) * len(counts),
        mask_stride=4,
    )
    images = torch.randint(0, 255, (len(counts), 3, 64, 64), generator=generator)
    sizes = ((64, 64),) * len(counts)
    return Batch(images.byte(), targets, tuple(range(len(counts))), sizes)


def _forget(run: Run, most: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lets memory run out in the backward pass of more than `most` images; returns all sizes."""
    loss, sizes = run.network.loss, []

    class Full(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def limited(outputs: Any, targets: Targets) -> dict[str, torch.Tensor]:
        sizes.append(len(targets.counts))
        losses = loss(outputs, targets)
        if len(targets.counts) > most and torch.is_grad_enabled():
            losses["mask"] = Full.apply(losses["mask"])
        return losses

    monkeypatch.setattr(run.network, "loss", limited)
    return sizes


def test_slices_of_a_batch() -> None:
    batch = _batch()
    for num, sizes in ((1, [4]), (2, [2, 2]), (3, [1, 1, 2]), (9, [1, 1, 1, 1])):
        slices = cut(batch, num)
        assert [len(piece.images) for piece in slices] == sizes
        assert torch.equal(torch.cat([piece.images for piece in slices]), batch.images)
        assert sum((piece.indices for piece in slices), ()) == batch.indices
        found = [image for piece in slices for image in piece.targets.per_image()]
        for mine, expected in zip(found, batch.targets.per_image(), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(mine, expected, strict=True))


@pytest.mark.parametrize("architecture", ["solov2", "rtmdet-ins"])
def test_slices_have_the_losses_and_gradients_of_the_batch(
    architecture: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, sliced = _real_run(architecture), _real_run(architecture)
    sizes = _forget(sliced, 1, monkeypatch)
    for counts in ((3, 0, 1, 5), (0, 0, 0, 2), (0, 0)):
        batch = _batch(counts)
        logs = [train_step(run, batch) for run in (whole, sliced)]
        assert logs[1].losses == pytest.approx(logs[0].losses, rel=1e-4)
        assert logs[1].grad_norm == pytest.approx(logs[0].grad_norm, rel=1e-4)
        assert logs[1].num_images == len(counts)
    start = list(_real_run(architecture).network.parameters())
    for (name, a), b, before in zip(
        whole.network.named_parameters(), sliced.network.parameters(), start, strict=True
    ):  # the order of additions, and so the rounding of what nearly cancels, differs
        assert (b - a).norm() <= 0.05 * (a - before).norm() + 1e-7, name
    changes, errors = (
        torch.cat([(a - b).flatten() for a, b in zip(run.network.parameters(), base, strict=True)])
        for run, base in ((whole, start), (sliced, whole.network.parameters()))
    )
    assert errors.norm() <= 0.01 * changes.norm()
    # Whole, in two slices: counted, the first one fails; in four: counted, computed; and so on.
    assert sizes[:12] == [4, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1]
    assert set(sizes[12:]) == {1}
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith(
        "epoch 1: out of memory with 4 images at once; from here on a batch of 4 is computed in 2"
    )
    assert sliced.slices == 4


def test_gathered_batches_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    for most in (2, 1):
        torch.manual_seed(0)
        run = _run(ToyNetwork())
        run.full_gather = 3
        if most == 1:
            loss, calls = run.network.loss, []

            def full_at_the_second(
                outputs: Any, targets: Any, loss: Any = loss, calls: list[int] = calls
            ) -> Any:
                calls.append(len(targets.counts))
                if len(calls) == 2:
                    raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] can't allocate memory")
                return loss(outputs, targets)

            monkeypatch.setattr(run.network, "loss", full_at_the_second)
        for k, batch in enumerate(make_batches(3)):
            train_step(run, batch, is_last=k == 2)
        runs.append(run)
    whole, sliced = runs
    assert (sliced.slices, sliced.gathered, sliced.step) == (2, 0, 3)
    assert calls == [2, 2] + 3 * [1, 1, 1, 1]  # the first batch once more, then the others
    # The toy divides by what it sees, not by the counts of a batch: its losses are sums of two.
    assert all(p.grad is not None for p in sliced.network.parameters())
    assert whole.ema.updates == sliced.ema.updates == 1


def test_the_running_statistics_move_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(ToyNetwork())
    run.slices = 2
    run.network.norm.train()
    seen = []
    run.network.norm.register_forward_pre_hook(lambda _, x: seen.append(x[0].mean((0, 2, 3))))
    train_step(run, make_batch(0))
    assert len(seen) == 4  # counted and computed
    expected = torch.zeros(8)
    for mean in seen[2:]:
        expected = 0.9 * expected + 0.1 * mean
    torch.testing.assert_close(run.network.norm.running_mean, expected)
    assert run.network.norm.momentum == 0.1


@pytest.mark.parametrize("architecture", ["solov2", "rtmdet-ins"])
def test_a_share_that_is_smaller_passes_as_many_slices(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, sliced = _real_run(architecture), _real_run(architecture, slices=3)
    monkeypatch.setattr(slices_module, "max_over_ranks", lambda value, device: 3)
    passes = _forget(sliced, 99, monkeypatch)
    batch = _batch((3, 1))
    logs = [train_step(run, batch) for run in (whole, sliced)]
    assert passes == [1, 1, 1] * 2  # of two images: counted and computed
    assert logs[1].losses == pytest.approx(logs[0].losses, rel=1e-4)
    assert logs[1].grad_norm == pytest.approx(logs[0].grad_norm, rel=1e-4)


def test_what_does_not_fit_in_any_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(ToyNetwork())
    _forget(run, 0, monkeypatch)
    with pytest.raises(ConfigError, match=r"^epoch 1: out of memory with 1 images at once; lower"):
        train_epoch(run, make_batches(2), lambda step, batch: None)


def test_other_errors_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(ToyNetwork())

    def fail(outputs: Any, targets: Any) -> Any:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(run.network, "loss", fail)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        train_step(run, make_batch(0))
    assert run.slices == 1


def test_slices_are_kept_in_a_checkpoint() -> None:
    run = _run(ToyNetwork())
    run.slices = 4
    checkpoint = {"training": training_state(run, []), "state_dict": run.ema.network.state_dict()}
    assert checkpoint["training"]["slices"] == 4
    from crispmask.engine.rng import get_rng_state

    checkpoint["training"]["rng"] = [get_rng_state()]
    other = _run(ToyNetwork(), slices=2)
    assert other.slices == 2
    restore_run(other, checkpoint, Path("last.pt"))
    assert other.slices == 4


def test_words_of_full_memory() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("x"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"))
    assert not is_out_of_memory(ValueError("out of memory"))
    with (
        pytest.raises(ConfigError, match=r"CUDA out of memory\.; lower --batch"),
        memory_in_words(),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.parametrize("holds", [0, 1, 2, 3, 7, 8, 100, LARGEST, 10_000])
@pytest.mark.parametrize("limited_by", ["limit", "error"])
def test_the_largest_batch(holds: int, limited_by: str) -> None:
    tried = []

    def peak(batch: int) -> int | None:
        tried.append(batch)
        if limited_by == "error" and batch > holds:
            return None
        return 500 + 10 * batch

    limit = 500 + 10 * holds if limited_by == "limit" else 10**9
    found, needed = largest_batch(peak, limit)
    assert found == min(holds, LARGEST)
    assert needed == (500 + 10 * found if found else 0)
    assert len(tried) == len(set(tried)) < 20


def test_a_probe_without_a_gpu_takes_the_table() -> None:
    settings = _settings(batch="probe")
    assert settings.batch == 8
    config, line = with_probed_batch(settings.config, settings, 2)
    assert config.batch == 8
    assert "tries out GPUs only, this run is on cpu; takes the 8 of the model table" in line
    assert _settings(batch=-1).batch == 8


def test_the_memory_of_a_probe_is_not_that_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(batch="probe")
    settings = replace(settings, ranks=Ranks("cuda", (1,)))
    peaks = {1: 0}

    def needs(settings: Settings, num_classes: int, batch: int) -> int:
        peaks[1] = batch << 30
        return peaks[1]

    monkeypatch.setattr(probe, "_peak_bytes", needs)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda gpu: (10 << 30, 16 << 30))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda gpu: peaks.update({gpu: 0}))
    config, _ = with_probed_batch(settings.config, settings, 2)
    assert config.batch == 8
    assert peaks == {1: 0}


@pytest.mark.parametrize("architecture", ["solov2", "rtmdet-ins"])
def test_the_noise_of_a_probe_trains(architecture: str) -> None:
    run = _real_run(architecture)
    settings = _settings(architecture=architecture, imgsz=64)
    log = train_step(run, _noise(2, settings, 2))
    assert log.is_finite
    assert log.num_instances == 2 * INSTANCES
    assert replace(settings, batch=4).batch == 4
