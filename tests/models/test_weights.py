"""Starting weights: what is loaded, and that nothing is ever left random in silence."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from crispmask.errors import ConfigError, WeightsError
from crispmask.models.build import ModelSpec, build_network
from crispmask.models.checkpoint import read_checkpoint
from crispmask.models.files import read_file, write_file
from crispmask.models.weights import apply_weights
from crispmask.predict import build

SPEC = ModelSpec("solov2", "nano", 3)

RTMDET = {"model": "tiny", "num_classes": 3}


def make(num_classes: int = 3, model: str = "nano"):
    return build_network(ModelSpec("solov2", model, num_classes))


def save(path: Path, source, num_classes: int = 3, model: str = "nano", **changes) -> Path:
    spec = ModelSpec("solov2", model, num_classes)
    content = {
        "architecture": "solov2",
        "model": model,
        "num_classes": num_classes,
        "class_names": [f"name {i}" for i in range(num_classes)],
        "imgsz": 320,
        "network": spec.to_dict(),
        "state_dict": source.state_dict(),
        **changes,
    }
    write_file(path, content)
    return path


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_a_checkpoint_fills_everything(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, network = make(), make()
    apply_weights(network, str(save(tmp_path / name, source)), SPEC)
    for key, value in network.state_dict().items():
        assert value.equal(source.state_dict()[key]), key


def test_a_path_may_be_written_as_a_url(tmp_path: Path) -> None:
    network = make()
    path = save(tmp_path / "a b.pt", network)
    assert "a b.pt" in apply_weights(network, path.as_uri(), SPEC).line


def test_other_classes_keep_random_predictions_and_say_so(tmp_path: Path) -> None:
    source, network = make(num_classes=5), make(num_classes=3)
    before = network.grid_branches.class_logits.weight.clone()
    line = apply_weights(network, str(save(tmp_path / "a.pt", source, 5)), SPEC).line
    assert "2 tensors of the class predictions start at random" in line
    assert "5 classes instead of 3" in line
    assert network.neck.laterals[0].weight.equal(source.neck.laterals[0].weight)
    assert network.grid_branches.class_logits.weight.equal(before)


def test_files_that_cannot_be_used_name_themselves_and_the_reason(tmp_path: Path) -> None:
    network = make()
    state = network.state_dict()
    (tmp_path / "broken.pt").write_bytes(b"not a checkpoint")
    (tmp_path / "broken.safetensors").write_bytes(b"not a checkpoint")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"epoch": 1}, tmp_path / "empty.pt")
    save(tmp_path / "larger.pt", network, model="small")
    save(tmp_path / "other.pt", network, network={"architecture": "rtmdet-ins", **RTMDET})
    save(tmp_path / "newer.pt", network, network={"depth": 3, **RTMDET})
    save(tmp_path / "version.pt", network, version=99)
    torch.save({"format": "crispmask", "state_dict": {}}, tmp_path / "part.pt")
    kernel = "grid_branches.kernels.bias"
    without = {key: value for key, value in state.items() if key != kernel}
    save(tmp_path / "missing.pt", network, state_dict=without)
    save(tmp_path / "shape.pt", network, state_dict={**state, kernel: torch.ones(5)})
    save(tmp_path / "unknown.pt", network, state_dict={**state, "extra.bias": torch.ones(5)})
    save(tmp_path / "nan.pt", network, state_dict={**state, kernel: torch.tensor([1, torch.nan])})
    save(tmp_path / "nan.safetensors", network, state_dict={kernel: torch.tensor([-torch.inf])})
    save(tmp_path / "large.pt", network, state_dict={kernel: torch.tensor(1e300).double()})
    save(tmp_path / "text.pt", network, state_dict={kernel: "1.0"})
    for name, words in {
        "nowhere.pt": ["no such file"],
        "broken.pt": ["not a readable checkpoint"],
        "broken.safetensors": ["not a readable checkpoint"],
        "list.pt": ["not a checkpoint"],
        "empty.pt": ["without state_dict"],
        "larger.pt": ["weights of solov2 small, not nano; give --model small"],
        "other.pt": ["--architecture rtmdet-ins"],
        "newer.pt": ["unknown", "depth"],
        "version.pt": ["newer crispmask"],
        "part.pt": ["it lacks architecture"],
        "missing.pt": [kernel, "is missing", "(64,) expected"],
        "shape.pt": [kernel, "shape (5,), (64,) expected"],
        "unknown.pt": ["extra.bias", "unknown"],
        "nan.pt": [kernel, "has 1 of 2 values that are NaN or infinite"],
        "nan.safetensors": [kernel, "has 1 of 1 values that are NaN or infinite"],
        "large.pt": [kernel, "infinite"],
        "text.pt": [kernel, "is no tensor but str"],
    }.items():
        with pytest.raises(WeightsError) as error:
            apply_weights(network, str(tmp_path / name), SPEC)
        for word in (name, *words):
            assert word in str(error.value)
        assert "\n" not in str(error.value)


class Payload:
    def __reduce__(self):
        return (Path("executed.txt").touch, ())


def test_nothing_in_a_file_is_executed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": torch.ones(2)}, "meta": Payload()}, tmp_path / "evil.pt")
    assert read_file(tmp_path / "evil.pt")["state_dict"]["a"].tolist() == [1, 1]
    assert not (tmp_path / "executed.txt").exists()


def test_build_warns_of_layers_that_stay_random(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(save(tmp_path / "a.pt", make()))
    assert build("solov2", "nano", 3, path).names == ("name 0", "name 1", "name 2")
    build("solov2", "nano", 2)
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    build("solov2", "nano", 2, path)
    (warning,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert "start at random" in warning.getMessage()


def test_names_have_to_be_as_many_as_classes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="3 names of 2 classes"):
        build("solov2", "nano", 2, names=("a", "b", "c"))
    with pytest.raises(WeightsError, match="2 class names of 3 classes"):
        read_checkpoint(save(tmp_path / "a.pt", make(), class_names=["a", "b"]))
