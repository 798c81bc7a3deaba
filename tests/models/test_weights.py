"""Starting weights: what is loaded, and that nothing is ever left random in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from crispmask.errors import WeightsError
from crispmask.models.build import ModelSpec, build_network
from crispmask.models.weights import apply_weights, read_file

create_model = timm.create_model


def make(num_classes: int = 3, model: str = "nano"):
    return build_network(ModelSpec("solov2", model, num_classes))


def test_imagenet_fills_the_whole_backbone(monkeypatch) -> None:
    torch.manual_seed(1)
    source = create_model("resnet18", features_only=True, out_indices=(0, 1, 2, 3, 4))
    asked = []

    def create(name: str, pretrained: bool, features_only: bool):
        asked.append((name, pretrained))
        return source

    network = make()
    monkeypatch.setattr(timm, "create_model", create)
    assert "ImageNet" in apply_weights(network, "imagenet", "solov2")
    assert asked == [("resnet18", True)]
    for key, value in network.backbone.body.state_dict().items():
        assert value.equal(source.state_dict()[key]), key


def test_imagenet_without_a_network_is_an_error_with_a_remedy(monkeypatch) -> None:
    def create(*args, **kwargs):
        raise OSError("Name or service not known")

    network = make()
    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(WeightsError, match="--weights none") as error:
        apply_weights(network, "imagenet", "solov2")
    assert "\n" not in str(error.value)


def save(path: Path, network, **changes) -> Path:
    content = {
        "format": "crispmask",
        "architecture": "solov2",
        "state_dict": network.state_dict(),
        **changes,
    }
    torch.save(content, path)
    return path


def test_a_checkpoint_fills_everything(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, network = make(), make()
    apply_weights(network, str(save(tmp_path / "a.pt", source)), "solov2")
    for key, value in network.state_dict().items():
        assert value.equal(source.state_dict()[key]), key


def test_other_classes_keep_random_predictions_and_say_so(tmp_path: Path) -> None:
    source, network = make(num_classes=5), make(num_classes=3)
    line = apply_weights(network, str(save(tmp_path / "a.pt", source)), "solov2")
    assert "2 tensors of the class predictions start at random" in line
    assert network.neck.laterals[0].weight.equal(source.neck.laterals[0].weight)


def test_files_that_cannot_be_used_name_themselves_and_the_reason(tmp_path: Path) -> None:
    network = make()
    (tmp_path / "broken.pt").write_bytes(b"not a checkpoint")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"epoch": 1}, tmp_path / "empty.pt")
    save(tmp_path / "larger.pt", make(model="small"))
    save(tmp_path / "other.pt", network, architecture="rtmdet-ins")
    for name, word in {
        "missing.pt": "no such file",
        "broken.pt": "not a readable checkpoint",
        "list.pt": "not a checkpoint",
        "empty.pt": "without state_dict",
        "larger.pt": "another model size",
        "other.pt": "--architecture rtmdet-ins",
    }.items():
        with pytest.raises(WeightsError, match=word) as error:
            apply_weights(network, str(tmp_path / name), "solov2")
        assert name in str(error.value)
        assert "\n" not in str(error.value)


class Payload:
    def __reduce__(self):
        return (Path("executed.txt").touch, ())


def test_nothing_in_a_file_is_executed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "meta": Payload()}, tmp_path / "evil.pt")
    with pytest.raises(WeightsError, match="evil"):
        read_file(tmp_path / "evil.pt")
    assert not (tmp_path / "executed.txt").exists()
