"""Which parameters belong to which stage, and that frozen ones stay as they are."""

from __future__ import annotations

import copy

import pytest
import torch
from test_networks import make_targets

from crispmask.engine.ema import Ema
from crispmask.engine.optim import build_optimizer
from crispmask.errors import ConfigError
from crispmask.models.backbone import Backbone
from crispmask.models.build import ModelSpec, build_network
from crispmask.models.timm_features import parameter_stages

# The first modules of each stage and those before, as the papers and timm's code have them.
BY_NAME = {
    "resnet18": ["conv1 bn1 layer1", "layer2", "layer3", "layer4"],
    "resnet50d": ["conv1 bn1 layer1", "layer2", "layer3", "layer4"],
    "cspnext_tiny": [
        "model.stem model.stages.0",
        "model.stages.1",
        "model.stages.2",
        "model.stages.3",
    ],
    "convnext_tiny": ["stem_0 stem_1 stages_0", "stages_1", "stages_2", "stages_3"],
    "efficientnet_b0": [
        "conv_stem bn1 blocks.0 blocks.1",
        "blocks.2",
        "blocks.3 blocks.4",
        "blocks.5 blocks.6",
    ],
    "mobilenetv4_conv_small": [
        "conv_stem bn1 blocks.0",
        "blocks.1",
        "blocks.2",
        "blocks.3 blocks.4",
    ],
    "regnety_004": ["stem s1", "s2", "s3", "s4"],
    "hgnetv2_b0": ["stem stages_0", "stages_1", "stages_2", "stages_3"],
    "swin_tiny_patch4_window7_224": ["patch_embed layers_0", "layers_1", "layers_2", "layers_3"],
    # Names tell nothing here: strides 1, 2, 4 before stage 2.
    "dla34": ["base_layer level0 level1 level2", "level3", "level4", "level5"],
}


@pytest.mark.parametrize("name", BY_NAME)
def test_stages_of_known_families(name: str) -> None:
    stages = parameter_stages(name)
    expected = {module: k for k, row in enumerate(BY_NAME[name], 1) for module in row.split()}
    for parameter, stage in stages.items():
        owners = [m for m in expected if f"{parameter}.".startswith(f"{m}.")]
        assert [expected[m] for m in owners] == [stage], parameter
    assert set(stages.values()) == {1, 2, 3, 4}


@pytest.mark.parametrize("name", ["test_byobnet", "test_nfnet", "test_convnext"])
def test_a_stage_is_the_first_map_with_a_gradient(name: str) -> None:
    """The same by differentiating real maps, one after the other."""
    torch.manual_seed(0)
    backbone = Backbone(name, (4, 8, 16, 32)).eval()
    parameters = dict(backbone.body.named_parameters())
    maps = backbone(torch.rand(1, 3, 64, 64) * 255)
    expected: dict[str, int] = {}
    for stage, found in enumerate(maps, 1):
        grads = torch.autograd.grad(
            found.square().sum(), list(parameters.values()), allow_unused=True, retain_graph=True
        )
        for parameter, grad in zip(parameters, grads, strict=True):
            if grad is not None:
                expected.setdefault(parameter, stage)
    assert dict(backbone.parameter_stages()) == expected


def test_all_stages_are_known_where_only_three_maps_are_used() -> None:
    backbone = Backbone("test_resnet", (8, 16, 32))
    names = {name for name, _ in backbone.body.named_parameters()}
    assert names <= set(backbone.parameter_stages())
    assert {backbone.parameter_stages()[name] for name in names} == {1, 2, 3, 4}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    ("architecture", "model", "backbone"),
    [
        ("solov2", "nano", "resnet18"),
        ("rtmdet-ins", "tiny", "cspnext_tiny"),
        ("solov2", "nano", "test_efficientnet"),
        ("rtmdet-ins", "tiny", "test_convnext"),
    ],
)
def test_frozen_stages_do_not_move(architecture, model, backbone, optimizer) -> None:
    """No gradient, no decay, no change of statistics, none in the average; the rest moves."""
    torch.manual_seed(0)
    network = build_network(ModelSpec(architecture, model, 3, imgsz=64, backbone=backbone))
    network.backbone.fix(2, norm_eval=False)
    network.train()
    before = copy.deepcopy(network.state_dict())
    ema = Ema(network, decay=0.5, tau=1.0)
    steps = build_optimizer(network, optimizer, 0.01, weight_decay=0.5, momentum=0.9)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    for _ in range(2):
        losses = network.loss(network(images), make_targets((2, 1), size=64))
        steps.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        steps.step()
        ema.update(network)

    parameters = dict(network.named_parameters())
    frozen = {
        f"backbone.body.{name}"
        for name, stage in network.backbone.parameter_stages().items()
        if stage <= 2
    } & set(parameters)
    assert frozen
    for name, parameter in parameters.items():
        assert (parameter.grad is None) == (name in frozen), name
    norms = {name.rsplit(".", 1)[0] for name in frozen}
    moved = set()
    for state in (network.state_dict(), ema.network.state_dict()):
        for name, value in state.items():
            if name in frozen or name.rsplit(".", 1)[0] in norms:
                assert value.equal(before[name]), name
            elif name in parameters and parameters[name].grad.abs().max() > 1e-4:
                assert not value.equal(before[name]), name
                moved.add(name)
    assert any(name.startswith("backbone.") for name in moved)
    assert any(name.startswith("neck.") for name in moved)


def test_frozen_stages_draw_no_random_numbers() -> None:
    """Dropout and stochastic depth would blur what frozen layers see."""
    torch.manual_seed(0)
    backbone = Backbone("test_convnext", (4, 8, 16, 32))
    for module in list(backbone.body.modules()):
        if hasattr(module, "drop_path"):
            module.drop_path = torch.nn.Dropout(0.5)
    backbone.fix(2, norm_eval=False)
    backbone.train()
    images = torch.rand(1, 3, 64, 64) * 255
    (a1, a2, a3, _), (b1, b2, b3, _) = backbone(images), backbone(images)
    assert a1.equal(b1)
    assert a2.equal(b2)
    assert not a3.equal(b3)
    backbone.eval()
    c1, c2, *_ = backbone(images)
    assert a1.equal(c1)
    assert a2.equal(c2)


def test_all_stages_can_be_frozen() -> None:
    backbone = Backbone("test_efficientnet", (8, 16, 32))
    backbone.fix(4, norm_eval=False)
    backbone.train()
    assert not any(p.requires_grad for p in backbone.parameters())
    assert not any(m.training for m in backbone.body.modules() if list(m.parameters()))
    assert not backbone(torch.zeros(1, 3, 64, 64))[0].requires_grad


def test_statistics_are_kept_without_freezing() -> None:
    backbone = Backbone("test_efficientnet", (8, 16, 32))
    backbone.fix(0, norm_eval=True)
    backbone.train()
    before = copy.deepcopy(dict(backbone.named_buffers()))
    backbone(torch.rand(2, 3, 64, 64) * 255)[-1].sum().backward()
    assert all(p.grad is not None for p in backbone.parameters())
    for name, value in backbone.named_buffers():
        assert value.equal(before[name]), name


def test_a_stage_without_its_map_cannot_be_frozen() -> None:
    backbone = Backbone("visformer_tiny", (8, 16, 32))
    with pytest.raises(ConfigError, match=r"^--freeze 1: visformer_tiny has no map of stride 4"):
        backbone.fix(1, norm_eval=False)
