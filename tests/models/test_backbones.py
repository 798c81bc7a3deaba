"""Any backbone of timm under both architectures: what fits, what is refused, what is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from test_networks import make_targets

import crispmask
from crispmask.errors import ConfigError, WeightsError
from crispmask.models.backbone import Backbone, make_backbone
from crispmask.models.build import ModelSpec, build_network
from crispmask.models.download import Store
from crispmask.models.imagenet import load_imagenet
from crispmask.models.layers import IMAGENET_MEAN, IMAGENET_STD
from crispmask.models.timm_features import check_usable, full_name, normalisation

ARCHITECTURES = [("solov2", "nano"), ("rtmdet-ins", "tiny")]

# timm's own miniatures of its families; the one of MambaOut returns (B, h, w, C).
MINIATURES = ["test_resnet", "test_convnext", "test_efficientnet", "test_byobnet", "test_mambaout"]

FAMILIES = [
    "convnext_tiny",
    "convnextv2_atto",
    "densenet121",
    "dla34",
    "edgenext_small",
    "efficientnet_b0",
    "fastvit_t8",
    "hgnetv2_b0",
    "mobilenetv3_large_100",
    "mobilenetv4_conv_small",
    "regnety_004",
    "resnet50d",
    "rexnet_100",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "tf_efficientnetv2_s",
    "vgg16",
]


def check_network(architecture: str, model: str, backbone: str) -> None:
    """Forward, loss, backward and decode on two small images."""
    torch.manual_seed(0)
    network = build_network(ModelSpec(architecture, model, 3, imgsz=96, backbone=backbone))
    network.train()
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    losses = network.loss(network(images), make_targets((3, 1)))
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    network.eval()
    with torch.no_grad():
        outputs = network(images[:, :, :64])
    stride = 4 if architecture == "solov2" else 8
    assert outputs.mask_features.shape[-2:] == (64 // stride, 96 // stride)
    for found in network.decode(outputs, network.presets["val"]):
        assert found.masks.shape == (len(found), 64, 96)


@pytest.mark.parametrize("backbone", MINIATURES)
@pytest.mark.parametrize(("architecture", "model"), ARCHITECTURES)
def test_miniatures_train_and_decode(architecture: str, model: str, backbone: str) -> None:
    check_network(architecture, model, backbone)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", FAMILIES)
@pytest.mark.parametrize(("architecture", "model"), ARCHITECTURES)
def test_families_train_and_decode(architecture: str, model: str, backbone: str) -> None:
    check_network(architecture, model, backbone)


@pytest.mark.parametrize(("architecture", "model"), ARCHITECTURES)
def test_a_checkpoint_brings_its_backbone(architecture: str, model: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    built = crispmask.build(architecture, model, 2, imgsz=96, backbone="test_convnext")
    assert built.spec.backbone == "test_convnext.r160_in1k"
    built.save(tmp_path / "best.pt")
    loaded = crispmask.load(tmp_path / "best.pt")
    assert loaded.spec == built.spec
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        ours, theirs = built.network(images), loaded.network(images)
    for a, b in zip(ours.class_logits, theirs.class_logits, strict=True):
        assert a.equal(b)
    assert loaded.network.backbone.mean == (127.5, 127.5, 127.5)


def test_weights_of_another_backbone_name_it(tmp_path: Path) -> None:
    crispmask.build("rtmdet-ins", "tiny", 2, backbone="test_convnext").save(tmp_path / "a.pt")
    message = r"a\.pt: .*; the file has another backbone: give --backbone test_convnext.r160_in1k$"
    with pytest.raises(WeightsError, match=message):
        crispmask.build("rtmdet-ins", "tiny", 2, weights=str(tmp_path / "a.pt"))
    again = crispmask.build(
        "rtmdet-ins", "tiny", 2, weights=str(tmp_path / "a.pt"), backbone="test_convnext"
    )
    assert again.network.backbone.name == "test_convnext.r160_in1k"


def test_checkpoints_without_a_backbone_take_that_of_the_model() -> None:
    spec = ModelSpec.from_dict({"architecture": "solov2", "model": "nano", "num_classes": 2})
    assert build_network(spec).backbone.name == "resnet18"


def test_the_backbone_of_the_model_by_name_is_the_same_network() -> None:
    for backbone in (None, "cspnext_tiny"):
        spec = ModelSpec("rtmdet-ins", "tiny", 2, backbone=backbone)
        assert build_network(spec).backbone.name == "cspnext_tiny"


def test_each_backbone_has_its_own_normalisation() -> None:
    backbone = make_backbone("test_convnext", (8, 16, 32), "rtmdet-ins")
    pixels = torch.tensor([0.0, 127.5, 255.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(backbone.normalise(pixels).flatten(), torch.tensor([-1.0, 0, 1]))
    network = build_network(ModelSpec("solov2", "nano", 2, backbone="test_convnext"))
    assert network.pad_value == (127.5, 127.5, 127.5)  # zero once normalised
    network = build_network(ModelSpec("rtmdet-ins", "tiny", 2, backbone="test_convnext"))
    assert network.pad_value == (114.0, 114.0, 114.0)


@pytest.mark.parametrize(("architecture", "model"), ARCHITECTURES)
def test_the_sizes_of_the_table_keep_their_constants(architecture: str, model: str) -> None:
    backbone = build_network(ModelSpec(architecture, model, 2)).backbone
    assert backbone.normalise.mean.flatten().equal(torch.tensor([123.675, 116.28, 103.53]))
    assert backbone.normalise.std.flatten().equal(torch.tensor([58.395, 57.12, 57.375]))
    # What timm says of the same model agrees.
    for found, ours in zip(
        normalisation(backbone.name), (IMAGENET_MEAN, IMAGENET_STD), strict=True
    ):
        assert torch.tensor(found).equal(torch.tensor(ours))


def test_maps_of_a_transformer_have_channels_first() -> None:
    backbone = Backbone("test_mambaout", (8, 16, 32)).eval()
    images = torch.zeros(2, 3, 64, 96)
    maps = backbone(images)
    raw = backbone.body(backbone.normalise(images))
    for x, last, channels, stride in zip(maps, raw, backbone.channels, (8, 16, 32), strict=True):
        assert x.shape == (2, channels, 64 // stride, 96 // stride)
        assert x[0, :, 1, 2].equal(last[0, 1, 2])


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("convnet_tiny", "timm .* has no such model; did you mean convnext_tiny?"),
        ("timm/resnet18", "no such model; did you mean resnet18?"),
        ("resnet18.imagenet", "no weights 'imagenet' of resnet18, but .*a1_in1k"),
        ("vit_tiny_patch16_224", "no map of stride 4, 8, 32, and solov2 needs 4, 8, 16, 32"),
        ("maxvit_tiny_tf_224", r"cannot take an image of 64 x 96 \(it is made for 224 x 224\)"),
        ("inception_v3", r"cannot take an image of 64 x 96 \(Calculated padded input size"),
        ("mobilevitv2_050", "its map of stride 32 is 2 x 4 for an image of 64 x 96, not 2 x 3"),
    ],
)
def test_what_does_not_fit_says_why(backbone: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        build_network(ModelSpec("solov2", "nano", 2, backbone=backbone))
    assert str(error.value).startswith(f"--backbone {backbone}")
    assert "\n" not in str(error.value)


def test_rtmdet_ins_needs_no_map_of_stride_4() -> None:
    message = "no map of stride 8, 32, and rtmdet-ins needs 8, 16, 32; it has 16"
    with pytest.raises(ConfigError, match=message):
        build_network(ModelSpec("rtmdet-ins", "tiny", 2, backbone="vit_tiny_patch16_224"))


def test_models_without_feature_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    def create(name: str, **_: object) -> None:
        raise RuntimeError("features_only not implemented for this model.\nMore text.")

    monkeypatch.setattr(timm, "create_model", create)
    message = r"^--backbone test_nfnet: .* \(features_only not implemented for this model\)$"
    with pytest.raises(ConfigError, match=message):
        check_usable("test_nfnet", (8, 16, 32), "rtmdet-ins")


def test_names_in_full() -> None:
    assert full_name("test_convnext") == "test_convnext.r160_in1k"
    assert full_name("resnet18.tv_in1k") == "resnet18.tv_in1k"


@pytest.mark.parametrize(
    "backbone",
    ["test_convnext", pytest.param("swin_tiny_patch4_window7_224", marks=pytest.mark.slow)],
)
def test_imagenet_weights_of_any_backbone(backbone: str, tmp_path: Path) -> None:
    """Weights of the model as it was published fill the extractor made for any size."""
    network = build_network(ModelSpec("rtmdet-ins", "tiny", 2, backbone=backbone))
    name = network.backbone.name
    torch.manual_seed(1)
    published = timm.create_model(name).state_dict()
    hub_name = timm.get_pretrained_cfg(name).hf_hub_id.rpartition("/")[2]
    save_file(published, tmp_path / f"{hub_name}.safetensors")
    assert name in load_imagenet(network, Store(tmp_path, offline=True))
    known = {value.numpy().tobytes() for value in published.values()}
    for key, value in network.backbone.body.state_dict().items():  # under names of its own
        assert value.numpy().tobytes() in known, key


def test_models_nobody_trained_have_no_imagenet_weights(tmp_path: Path) -> None:
    network = build_network(ModelSpec("rtmdet-ins", "tiny", 2, backbone="convnext_atto_rms"))
    with pytest.raises(WeightsError, match="--weights none"):
        load_imagenet(network, Store(tmp_path, offline=False))


@pytest.mark.slow
def test_parameters_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "backbones.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.endswith(" M |")]
    assert len(rows) == 10
    for name, *counts in rows:
        for (architecture, model), count in zip(ARCHITECTURES, counts, strict=True):
            with torch.device("meta"):
                network = build_network(ModelSpec(architecture, model, 80, backbone=name))
            parameters = sum(p.numel() for p in network.parameters())
            assert f"{parameters / 1e6:.1f} M" == count, (name, architecture)
