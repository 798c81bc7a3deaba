"""ImageNet weights: the whole backbone or an error, soon and with a remedy."""

from __future__ import annotations

import hashlib
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from crispmask.errors import WeightsError
from crispmask.models.build import ModelSpec, build_network
from crispmask.models.download import Store
from crispmask.models.imagenet import load_imagenet

NAMES = {
    "resnet18": ("solov2", "nano", "timm/resnet18.a1_in1k"),
    "cspnext_tiny": ("rtmdet-ins", "tiny", "munehiro-k/cspnext_tiny.rsb_a1_in1k"),
}


@pytest.fixture(autouse=True)
def empty_hub_cache(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def make(name: str):
    architecture, model, _ = NAMES[name]
    return build_network(ModelSpec(architecture, model, 3))


def write_weights(path: Path, name: str) -> torch.nn.Module:
    """A file as timm publishes it, with random numbers; returns the classifier."""
    torch.manual_seed(1)
    source = timm.create_model(name)
    for key, value in source.state_dict().items():
        if key.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 1.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(source.state_dict(), path)
    return source.eval()


def test_the_whole_backbone_is_filled_and_sees_rgb(name: str, tmp_path: Path) -> None:
    """Features equal those of timm's own model on RGB images, normalised as it says."""
    repository = NAMES[name][2]
    store = Store(tmp_path, offline=True)
    copy = tmp_path / f"{repository.split('/')[1]}.safetensors"
    source = write_weights(copy, name)
    network = make(name).eval()
    assert name in load_imagenet(network, store)

    config = timm.data.resolve_model_data_config(source)
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    images = torch.randint(0, 256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (last,) = network.backbone(images)[-1:]
        expected = source.forward_features((images / 255 - mean) / std)
        torch.testing.assert_close(last, expected, rtol=1e-3, atol=1e-4)
        first = first_conv(network.backbone)(network.backbone.normalise(images))
        conv = first_conv(source)
        torch.testing.assert_close(first, conv((images / 255 - mean) / std))
        assert not torch.allclose(first, conv((images.flip(1) / 255 - mean) / std))


def first_conv(model: torch.nn.Module) -> torch.nn.Module:
    return next(m for m in model.modules() if isinstance(m, torch.nn.Conv2d))


def test_no_network_is_told_soon_and_with_a_remedy(name: str, tmp_path: Path, monkeypatch) -> None:
    network = make(name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", url)
    for store, words in (
        (Store(tmp_path, offline=True), ["in no cache"]),
        (Store(tmp_path, offline=False), ["could not be downloaded", "Connection refused"]),
    ):
        start = time.monotonic()
        with pytest.raises(WeightsError) as error:
            load_imagenet(network, store)
        assert time.monotonic() - start < 5
        for word in (name, NAMES[name][2], "--weights none", str(tmp_path), *words):
            assert word in str(error.value)
        assert "\n" not in str(error.value)


def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", url)
        with pytest.raises(WeightsError, match="timed out"):
            load_imagenet(make("resnet18"), Store(tmp_path, offline=False, timeout=0.3))


def test_a_wrong_file_names_itself(tmp_path: Path) -> None:
    copy = tmp_path / "resnet18.a1_in1k.safetensors"
    write_weights(copy, "cspnext_tiny")
    with pytest.raises(WeightsError, match=r"resnet18\.a1_in1k\.safetensors: not the ImageNet"):
        load_imagenet(make("resnet18"), Store(tmp_path, offline=True))


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as a download of one file needs."""

    data = b""

    def do_HEAD(self) -> None:
        found = self.path.endswith("/model.safetensors")
        self.send_response(200 if found else 404)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{hashlib.sha256(self.data).hexdigest()}"')
        self.send_header("Content-Length", str(len(self.data)))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch) -> Iterator[torch.nn.Module]:
    source = write_weights(tmp_path / "source.safetensors", "resnet18")
    monkeypatch.setattr(Hub, "data", (tmp_path / "source.safetensors").read_bytes())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield source
    server.shutdown()
    server.server_close()


def test_weights_come_from_the_hub_once(hub: torch.nn.Module, tmp_path: Path) -> None:
    for store in (Store(tmp_path, offline=False), Store(tmp_path, offline=True)):
        network = make("resnet18")
        load_imagenet(network, store)
        for key, value in network.backbone.body.state_dict().items():
            assert value.equal(hub.state_dict()[key]), key
