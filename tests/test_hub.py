"""Push and pull against a server that answers as the Hugging Face Hub does."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import crispmask
from crispmask.api import train_config
from crispmask.cli import main
from crispmask.cli.train import weight_words
from crispmask.errors import WeightsError
from crispmask.models.build import ModelSpec
from crispmask.models.download import Store
from crispmask.models.weights import apply_weights, model_of
from crispmask.push import metrics_beside
from crispmask.validate import trained_val_fraction

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Repositories in memory.

    Attributes:
        files: content by repository and path.
        unknown: requests it has no answer to.
        locked: whether it lets nobody write.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.unknown: list[str] = []
        self.locked = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.split("?")[0]
        if self.server.locked and path != "/api/repos/create":
            return self.tell(403, {"error": "Forbidden"})
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            self.server.files.setdefault(name, {})
            return self.tell(200, {"url": f"{self.server.url}/{name}"})
        if path == "/api/validate-yaml":
            return self.tell(200, {"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/models/(.+/.+)/preupload/main", path):
            modes = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self.tell(200, {"files": modes})
        if found := re.fullmatch(r"/api/models/(.+/.+)/commit/main", path):
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    content = base64.b64decode(entry["value"]["content"])
                    self.server.files[found[1]][entry["value"]["path"]] = content
            url = f"{self.server.url}/{found[1]}/commit/{COMMIT}"
            return self.tell(200, {"success": True, "commitOid": COMMIT, "commitUrl": url})
        self.server.unknown.append(f"POST {self.path}")
        return self.tell(404, {"error": "unknown"})

    def do_GET(self) -> None:
        self.serve(True)

    def do_HEAD(self) -> None:
        self.serve(False)

    def serve(self, with_body: bool) -> None:
        path = self.path.split("?")[0]
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/main)?", path):
            return self.tell(200, {"id": found[1], "sha": COMMIT, "siblings": []})
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if found is None:
            self.server.unknown.append(f"{self.command} {self.path}")
            return self.tell(404, {"error": "unknown"})
        repository = self.server.files.get(found[1])
        code = "RepoNotFound" if repository is None else "EntryNotFound"
        if repository is not None and found[2] not in ("main", COMMIT):
            code, repository = "RevisionNotFound", {}
        content = (repository or {}).get(found[3])
        if content is None:
            return self.tell(404, {"error": code}, {"X-Error-Code": code, "X-Repo-Commit": COMMIT})
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)
        return None

    def tell(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("CRISPMASK_OFFLINE", raising=False)
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A run folder with metrics; the smallest network there is."""
    torch.manual_seed(0)
    model = crispmask.build("rtmdet-ins", "tiny", num_classes=2, imgsz=96, names=("bolt", "Mutter"))
    path = tmp_path / "run/weights/best.pt"
    model.save(path)
    metrics = {"mask/mAP50-95": 0.4321, "box/mAP50": 0.5, "mask/mAP_small": -1.0, "per_class": {}}
    (tmp_path / "run/metrics.json").write_text(json.dumps(metrics))
    return path


def test_push_and_pull(hub: Hub, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["push", "--weights", str(checkpoint), "--to", "me/nuts", "--license", "apache-2.0"]
    assert main(words) == 0, capsys.readouterr().err
    assert 'crispmask.load("hf://me/nuts")' in capsys.readouterr().out
    assert hub.unknown == []
    files = hub.files["me/nuts"]
    assert set(files) == {"model.safetensors", "config.json", "README.md"}
    config = json.loads(files["config.json"])
    assert (config["architecture"], config["names"]) == ("rtmdet-ins", ["bolt", "Mutter"])
    card = files["README.md"].decode()
    assert card.startswith("---\nlicense: apache-2.0\nlibrary_name: crispmask\n")
    assert "| mask/mAP50-95 | 0.432 |" in card
    assert "mAP_small" not in card
    assert "Classes: bolt, Mutter" in card

    for address in ("hf://me/nuts", f"hf://me/nuts@{COMMIT}"):
        model = crispmask.load(address)
        assert model.names == ("bolt", "Mutter")
        assert model.imgsz == 96
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    (expected,) = crispmask.load(checkpoint).predict(image, conf=0.001)
    (found,) = model.predict(image, conf=0.001)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert len(found)


def test_what_is_not_there(hub: Hub, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.files["me/empty"] = {"README.md": b"nothing"}
    for address, message in (
        ("hf://me/gone", "no such repository"),
        ("hf://me/empty", "the repository has no model.safetensors"),
        ("hf://me/empty@v9", "the repository has no revision v9"),
        ("hf://gone", "is written user/name"),
    ):
        with pytest.raises(WeightsError) as error:
            crispmask.load(address)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    hub.locked = True
    assert main(["push", "--weights", str(checkpoint), "--to", "me/nuts"]) == 2
    assert "the Hub does not let you write there" in capsys.readouterr().err
    assert main(["push", "--weights", str(checkpoint), "--to", "nuts"]) == 2
    assert "is written user/name" in capsys.readouterr().err


def test_offline_asks_no_server(hub: Hub, checkpoint: Path) -> None:
    hub.files["me/nuts"] = {"model.safetensors": b""}
    store, address = Store(offline=True), "hf://me/nuts"
    network = crispmask.load(checkpoint).network
    spec = ModelSpec("rtmdet-ins", "tiny", 2)
    for ask in (
        lambda: crispmask.load(address, store=store),
        lambda: apply_weights(network, address, spec, store),
        lambda: model_of(address, {}, offline=True),
        lambda: train_config(weights=address, offline=True),
        lambda: trained_val_fraction(address, offline=True),
        lambda: weight_words(["--weights", address], offline=True),
    ):
        with pytest.raises(WeightsError, match="not in the cache"):
            ask()


def test_metrics_are_those_of_the_best_model(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOME", str(checkpoint.parents[2]))
    home = "~/run/weights/best.pt"
    for weights in (checkpoint, str(checkpoint), checkpoint.as_uri(), home, "hf://me/nuts"):
        found = metrics_beside(weights)
        assert (found.get("box/mAP50") == 0.5) == (weights != "hf://me/nuts")
    for name in ("last.pt", "epoch10.pt"):
        assert metrics_beside(checkpoint.with_name(name)) == {}
    assert caplog.records == []
    (checkpoint.parents[1] / "metrics.json").write_text('{"mask/')
    assert metrics_beside(checkpoint) == {}
    assert "metrics.json: damaged" in caplog.text
