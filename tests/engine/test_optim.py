from __future__ import annotations

import pytest
import torch
from torch.optim import SGD, AdamW
from toy_network import ToyNetwork

from crispmask.engine.optim import build_optimizer, parameter_groups, set_lr
from crispmask.models.build import ModelSpec, build_network


def test_norms_and_biases_are_not_decayed() -> None:
    network = ToyNetwork()
    decayed, rest = parameter_groups(network, 0.05)
    assert decayed["weight_decay"] == 0.05
    assert {id(p) for p in decayed["params"]} == {id(network.stem.weight), id(network.head.weight)}
    assert rest["weight_decay"] == 0
    assert {id(p) for p in rest["params"]} == {
        id(network.norm.weight),
        id(network.norm.bias),
        id(network.head.bias),
    }


def test_frozen_parameters_are_left_out() -> None:
    network = ToyNetwork()
    network.stem.requires_grad_(False)
    assert len(parameter_groups(network, 0.05)[0]["params"]) == 1


@pytest.mark.parametrize(("architecture", "model"), [("solov2", "nano"), ("rtmdet-ins", "tiny")])
def test_every_norm_and_bias_of_the_models(architecture: str, model: str) -> None:
    network = build_network(ModelSpec(architecture, model, 2))
    decayed, rest = parameter_groups(network, 0.05)
    kept = {id(p) for p in rest["params"]}
    for module in network.modules():
        own = dict(module.named_parameters(recurse=False))
        is_norm = "Norm" in type(module).__name__
        for name, parameter in own.items():
            assert (id(parameter) in kept) == (is_norm or name == "bias"), (module, name)
    assert len(decayed["params"]) + len(rest["params"]) == len(list(network.parameters()))


def test_sgd_and_adamw() -> None:
    sgd = build_optimizer(ToyNetwork(), "sgd", 0.1, 0.0005, 0.937)
    assert isinstance(sgd, SGD)
    assert [group["momentum"] for group in sgd.param_groups] == [0.937, 0.937]
    assert isinstance(build_optimizer(ToyNetwork(), "adamw", 0.1, 0.05, 0.937), AdamW)


def test_set_lr_reaches_all_groups() -> None:
    optimizer = SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}], lr=1.0)
    set_lr(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_fused_steps_are_the_same_steps(name: str) -> None:
    networks = [ToyNetwork(), ToyNetwork()]
    networks[1].load_state_dict(networks[0].state_dict())
    for network, fused in zip(networks, (False, True), strict=True):
        optimizer = build_optimizer(network, name, 0.01, 0.05, 0.9, fused=fused)
        generator = torch.Generator().manual_seed(0)
        for _ in range(5):
            for p in network.parameters():
                p.grad = torch.randn(p.shape, generator=generator)
            optimizer.step()
    for a, b in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_biases_can_have_groups_of_their_own() -> None:
    network = ToyNetwork()
    decayed, norms, biases = parameter_groups(network, 0.05, own_biases=True)
    assert {id(p) for p in decayed["params"]} == {id(network.stem.weight), id(network.head.weight)}
    assert [id(p) for p in norms["params"]] == [id(network.norm.weight)]
    assert {id(p) for p in biases["params"]} == {id(network.norm.bias), id(network.head.bias)}
    assert norms["weight_decay"] == biases["weight_decay"] == 0

    optimizer = build_optimizer(network, "sgd", 0.1, 0.05, 0.9, nesterov=True, own_biases=True)
    set_lr(optimizer, 0.01, bias_lr=0.5, momentum=0.8)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.01, 0.5]
    assert [group["momentum"] for group in optimizer.param_groups] == [0.8] * 3
    assert all(group["nesterov"] for group in optimizer.param_groups)


def test_adamw_has_no_momentum_to_change() -> None:
    optimizer = build_optimizer(ToyNetwork(), "adamw", 0.1, 0.05, 0.9)
    set_lr(optimizer, 0.01, momentum=0.8)
    assert all("momentum" not in group for group in optimizer.param_groups)
    assert all(group["betas"] == (0.9, 0.999) for group in optimizer.param_groups)
