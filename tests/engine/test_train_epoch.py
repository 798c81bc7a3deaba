from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_network import ToyNetwork, make_batch, make_batches

from crispmask.config import TrainConfig
from crispmask.engine.device import make_fabric
from crispmask.engine.resolve import resolve
from crispmask.engine.run import Run, start_run
from crispmask.engine.train_epoch import StepLog, train_epoch, train_step
from crispmask.engine.workdir import WorkDir


def _run(**changes: Any) -> Run:
    torch.manual_seed(0)
    config = TrainConfig(device="cpu", lr=0.05, epochs=20, warmup_epochs=0, **changes)
    settings = resolve(config, WorkDir(Path("x")), Path("data.yaml"), 1, 8)
    return start_run(ToyNetwork(), settings, make_fabric(settings.ranks, settings.precision), 4)


def test_a_step_equals_the_same_written_out() -> None:
    run = _run(clip_norm=0.01)
    network = ToyNetwork()
    network.load_state_dict(run.network.state_dict())
    network.drop.p = run.network.drop.p = 0
    batch = make_batch(0)
    log = train_step(run, batch)

    losses = network.loss(network(batch.images), batch.targets)
    sum(losses.values()).backward()
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in network.parameters()))
    assert log.grad_norm == pytest.approx(norm, rel=1e-4)  # before clipping
    assert norm > 0.01
    assert log.losses["total"] == pytest.approx(sum(v.item() for v in losses.values()), rel=1e-5)
    assert log.lr == 0.05
    for name, p in network.named_parameters():
        decay = 0.0005 if p.ndim > 1 else 0.0
        expected = p - 0.05 * (p.grad * 0.01 / norm + decay * p)
        torch.testing.assert_close(
            dict(run.network.named_parameters())[name], expected, rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("architecture", ["solov2", "rtmdet-ins"])
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_learns(architecture: str, precision: str) -> None:
    run = _run(architecture=architecture, precision=precision)
    totals = []
    for _ in range(12):
        epoch = train_epoch(run, make_batches(4), on_step=lambda step, batch: None)
        totals.append(epoch.losses["total"])
    assert totals[-1] < 0.6 * totals[0]
    assert (run.epoch, run.step, run.ema.updates) == (12, 48, 48)


def test_an_epoch_is_the_mean_of_its_steps() -> None:
    steps: list[StepLog] = []
    epoch = train_epoch(_run(), make_batches(3), lambda step, _: steps.append(step))
    assert epoch.losses["mask"] == pytest.approx(sum(s.losses["mask"] for s in steps) / 3)
    assert epoch.losses["total"] == pytest.approx(epoch.losses["class"] + epoch.losses["mask"])
    assert epoch.grad_norm == pytest.approx(sum(s.grad_norm for s in steps) / 3)
    assert epoch.num_images == 6
    assert epoch.lr == steps[-1].lr


def test_gathered_batches_change_the_weights_by_their_mean_gradient() -> None:
    run = _run(nominal_batch=6)  # of three batches of two
    run.full_gather = 3  # the table's batch is larger
    network = ToyNetwork()
    network.load_state_dict(run.network.state_dict())
    network.drop.p = run.network.drop.p = 0
    batches = list(make_batches(5))
    logs: list[StepLog] = []
    train_epoch(run, batches, lambda step, _: logs.append(step))
    assert [log.grad_norm is None for log in logs] == [True, True, False, True, False]
    assert (run.ema.updates, run.step) == (2, 5)

    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.937)
    for gathered, log in ((batches[:3], logs[2]), (batches[3:], logs[4])):  # the last are fewer
        optimizer.param_groups[0]["lr"] = log.lr
        optimizer.zero_grad()
        for batch in gathered:
            sum(network.loss(network(batch.images), batch.targets).values()).backward()
        for p in network.parameters():
            p.grad /= len(gathered)
            if p.ndim > 1:
                p.grad += 0.0005 * p.detach()
        optimizer.step()
    for name, p in network.named_parameters():
        torch.testing.assert_close(
            dict(run.network.named_parameters())[name], p, rtol=1e-4, atol=1e-6
        )


def test_gathering_grows_over_the_warmup() -> None:
    run = _run(nominal_batch=64, batch=8)
    assert run.batches_per_update() == run.full_gather == 8
    run.schedule = replace(run.schedule, warmup_steps=14)
    counts = []
    for run.step in range(16):
        counts.append(run.batches_per_update())
    assert (counts[0], counts[14], counts[15]) == (1, 8, 8)
    assert counts == sorted(counts)


def test_a_loss_that_is_not_finite_spoils_what_was_gathered(monkeypatch) -> None:
    run = _run()
    run.full_gather = 2
    before = {name: p.clone() for name, p in run.network.named_parameters()}
    loss, calls = run.network.loss, []

    def second_fails(outputs, targets):
        calls.append(0)
        return {
            k: v * (math.nan if len(calls) == 2 else 1) for k, v in loss(outputs, targets).items()
        }

    monkeypatch.setattr(run.network, "loss", second_fails)
    epoch = train_epoch(run, make_batches(2), on_step=lambda step, batch: None)
    assert (run.ema.updates, run.step) == (0, 2)
    assert math.isfinite(epoch.losses["total"])
    for name, p in run.network.named_parameters():
        assert torch.equal(p, before[name])


def test_clipping_can_be_off() -> None:
    assert math.isinf(_run(clip_norm=0).clip_norm)


def test_non_finite_gradients_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run()
    before = {name: p.clone() for name, p in run.network.named_parameters()}
    monkeypatch.setattr(
        run.network, "loss", lambda outputs, targets: {"class": outputs.sum() * math.nan}
    )
    train_epoch(run, make_batches(2), on_step=lambda step, batch: None)
    assert (run.ema.updates, run.step) == (0, 2)
    for name, p in run.network.named_parameters():
        assert torch.equal(p, before[name])


def test_a_batch_that_overflows_leaves_no_trace_in_statistics() -> None:
    run = _run()
    batches = list(make_batches(3))
    train_step(run, batches[0])
    hook = run.network.norm.register_forward_pre_hook(lambda _, x: (x[0] * math.inf,))
    assert not train_step(run, batches[1]).is_finite
    hook.remove()
    for network in (run.network, run.ema.network):
        assert all(buffer.isfinite().all() for buffer in network.buffers())
    assert train_step(run, batches[2]).is_finite
    assert all(value.isfinite().all() for value in run.ema.network.state_dict().values())


def test_images_without_instances_train() -> None:
    batch = make_batch(0)
    empty = replace(
        batch.targets,
        labels=batch.targets.labels[:0],
        boxes=batch.targets.boxes[:0],
        masks=batch.targets.masks[:0],
        counts=(0, 0),
    )
    log = train_step(_run(), replace(batch, targets=empty))
    assert log.is_finite
    assert log.num_instances == 0


def test_warmup_of_momentum_and_biases_written_out() -> None:
    """Three steps of SGD as its paper has them, Nesterov's in torch's form."""
    run = _run(
        nesterov=True, warmup_momentum=0.8, warmup_bias_lr=0.1, weight_decay=0.0, clip_norm=0.0
    )
    run.schedule = replace(run.schedule, warmup_steps=4, warmup_start=0.0)
    network = ToyNetwork()
    network.load_state_dict(run.network.state_dict())
    network.drop.p = run.network.drop.p = 0
    velocity: dict[str, torch.Tensor] = {}
    for step, batch in enumerate(make_batches(3)):
        network.zero_grad()
        sum(network.loss(network(batch.images), batch.targets).values()).backward()
        train_step(run, batch)
        done = step / 4
        momentum = 0.8 + (0.937 - 0.8) * done
        for name, p in network.named_parameters():
            lr = 0.1 + (0.05 - 0.1) * done if name.endswith("bias") else 0.05 * done
            old = velocity.get(name)
            velocity[name] = p.grad.clone() if old is None else momentum * old + p.grad
            p.data -= lr * (p.grad + momentum * velocity[name])
    assert [group["momentum"] for group in run.optimizer.param_groups] == [momentum] * 3
    for name, p in network.named_parameters():
        torch.testing.assert_close(
            dict(run.network.named_parameters())[name], p, rtol=1e-4, atol=1e-6
        )
