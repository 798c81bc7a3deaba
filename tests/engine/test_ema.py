from __future__ import annotations

import math

import torch
from toy_network import ToyNetwork

from crispmask.engine.ema import Ema


def _disturb(network: ToyNetwork) -> None:
    with torch.no_grad():
        for value in network.state_dict().values():
            value.add_(torch.rand_like(value) if value.is_floating_point() else 3)


def test_equals_the_formula_written_out() -> None:
    torch.manual_seed(0)
    network = ToyNetwork()
    ema = Ema(network, decay=0.99, tau=5.0)
    expected = {key: value.clone().double() for key, value in network.state_dict().items()}
    for update in range(1, 6):
        _disturb(network)
        ema.update(network)
        d = 0.99 * (1 - math.exp(-update / 5.0))
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                expected[key] = d * expected[key] + (1 - d) * value.double()
            else:
                expected[key] = value.double()
    assert ema.updates == 5
    for key, value in ema.network.state_dict().items():
        torch.testing.assert_close(value.double(), expected[key], rtol=1e-6, atol=1e-6)


def test_decay_zero_is_a_copy() -> None:
    network = ToyNetwork()
    ema = Ema(network, decay=0.0, tau=2000.0)
    _disturb(network)
    ema.update(network)
    for key, value in network.state_dict().items():
        assert torch.equal(ema.network.state_dict()[key], value)


def test_is_apart_from_the_network() -> None:
    network = ToyNetwork()
    ema = Ema(network, decay=0.9, tau=1.0)
    before = ema.network.state_dict()["stem.weight"].clone()
    _disturb(network)
    assert torch.equal(ema.network.state_dict()["stem.weight"], before)
    assert not ema.network.training
    assert network.training
    assert not any(p.requires_grad for p in ema.network.parameters())
