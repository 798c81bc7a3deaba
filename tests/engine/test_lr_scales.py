"""Learning rates of the parts of the backbone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim import SGD, AdamW
from toy_network import ToyNetwork, make_batch

from crispmask.engine.optim import build_optimizer, lr_scales, parameter_groups, set_lr
from crispmask.engine.schedule import Schedule
from crispmask.models.build import ModelSpec, build_network
from crispmask.models.interface import Network


def make(architecture: str = "solov2", backbone: str | None = None) -> Network[Any]:
    return build_network(ModelSpec(architecture, "nano", 2, imgsz=64, backbone=backbone))


def rates(network: Network[Any], groups: list[dict[str, Any]]) -> dict[str, float]:
    """The factor of each parameter by name, each in exactly one group."""
    names = {id(p): name for name, p in network.named_parameters()}
    found = [(names[id(p)], group["lr_scale"]) for group in groups for p in group["params"]]
    assert len(found) == len(dict(found)) == len(names)
    return dict(found)


@pytest.mark.parametrize("architecture", ["solov2", "rtmdet-ins"])
def test_every_stage_learns_slower_than_the_next(architecture: str) -> None:
    network = make(architecture, "test_resnet")
    found = rates(network, parameter_groups(network, 0.05, backbone_lr=0.5, layer_decay=0.8))
    expected = {1: 0.5 * 0.8**4, 2: 0.5 * 0.8**3, 3: 0.5 * 0.8**2, 4: 0.5 * 0.8}
    seen = set()
    for name, scale in found.items():
        if name.startswith("backbone."):
            stage = network.backbone.parameter_stages()[name.removeprefix("backbone.body.")]
            assert scale == pytest.approx(expected[stage]), name
            seen.add(stage)
        else:
            assert scale == 1, name
    assert seen == {1, 2, 3, 4}


def test_one_factor_for_the_whole_backbone() -> None:
    network = make()
    for name, scale in rates(network, parameter_groups(network, 0.05, backbone_lr=0.1)).items():
        assert scale == (0.1 if name.startswith("backbone.") else 1), name


def test_decay_does_not_depend_on_the_rate() -> None:
    network = make()
    for group in parameter_groups(network, 0.05, layer_decay=0.5):
        assert all((p.ndim >= 2) == (group["weight_decay"] == 0.05) for p in group["params"])


def test_tables_of_positions_are_not_decayed() -> None:
    with torch.device("meta"):
        network = make(backbone="swin_tiny_patch4_window7_224")
    decayed, _ = parameter_groups(network, 0.05)
    mine = {id(p) for p in decayed["params"]}
    tables = [p for n, p in network.named_parameters() if "relative_position_bias_table" in n]
    assert len(tables) == 12  # one per block
    assert not mine & {id(p) for p in tables}


def test_frozen_stages_are_in_no_group() -> None:
    network = make()
    network.backbone.fix(2, norm_eval=False)
    groups = parameter_groups(network, 0.05, layer_decay=0.5)
    assert all(p.requires_grad for group in groups for p in group["params"])
    assert {group["lr_scale"] for group in groups} == {1.0, 0.5, 0.25}


def test_the_schedule_sets_each_share() -> None:
    network = make()
    optimizer = build_optimizer(network, "adamw", 0.004, 0.05, 0.9, layer_decay=0.5)
    schedule = Schedule(0.004, total_steps=10, warmup_steps=2, warmup_start=0.02, final=0.017)
    for step in (0, 1, 2, 9):
        set_lr(optimizer, schedule(step))
        found = sorted({group["lr"] for group in optimizer.param_groups}, reverse=True)
        assert found == [schedule(step) * 0.5**k for k in range(5)]


def test_shares_come_back_with_the_state() -> None:
    network = make()
    first = build_optimizer(network, "sgd", 0.1, 0.05, 0.9, backbone_lr=0.1)
    second = build_optimizer(network, "sgd", 0.1, 0.05, 0.9, backbone_lr=0.1)
    second.load_state_dict(first.state_dict())
    set_lr(second, 1.0)
    assert {group["lr"] for group in second.param_groups} == {1.0, 0.1}


def test_states_from_before_there_were_shares() -> None:
    network = make()
    optimizer = build_optimizer(network, "sgd", 0.1, 0.05, 0.9)
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        del group["lr_scale"]
    optimizer.load_state_dict(state)
    set_lr(optimizer, 0.25)
    assert {group["lr"] for group in optimizer.param_groups} == {0.25}


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_default_trains_as_two_plain_groups(name: str) -> None:
    """Bit by bit: the factors are not there unless asked for."""

    def train(ours: bool) -> tuple[list[float], dict[str, torch.Tensor]]:
        torch.manual_seed(0)
        network = ToyNetwork()
        decayed = [p for p in network.parameters() if p.ndim >= 2]
        rest = [p for p in network.parameters() if p.ndim < 2]
        plain: list[dict[str, Any]] = [
            {"params": decayed, "weight_decay": 0.05},
            {"params": rest, "weight_decay": 0.0},
        ]
        if ours:
            optimizer = build_optimizer(network, name, 0.05, 0.05, 0.9)  # type: ignore[arg-type]  # a loop
        else:
            optimizer = SGD(plain, lr=0.05, momentum=0.9) if name == "sgd" else AdamW(plain, 0.05)
        losses = []
        for step, lr in enumerate((0.001, 0.03, 0.05, 0.01)):
            if ours:
                set_lr(optimizer, lr)
            else:
                for group in optimizer.param_groups:
                    group["lr"] = lr
            batch = make_batch(step)
            loss = sum(network.loss(network(batch.images), batch.targets).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses, network.state_dict()

    (ours, state), (theirs, expected) = train(ours=True), train(ours=False)
    assert ours == theirs
    assert all(state[key].equal(value) for key, value in expected.items())


def test_no_factors_no_look_at_the_backbone() -> None:
    assert lr_scales(ToyNetwork(), 1.0, 1.0) == {}
