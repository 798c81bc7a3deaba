"""Downloads from a server on this machine that is slow, breaks off, lies or is not there."""

from __future__ import annotations

import hashlib
import http.server
import multiprocessing
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crispmask.errors import WeightsError
from crispmask.models import download
from crispmask.models.catalogue import Source
from crispmask.models.download import Store, fetch

DATA = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(DATA).hexdigest()

Behaviour = Callable[["Handler", int], None]
"""Answers a request that asks for the bytes from a position on."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        self.server.requests.append((self.path, self.headers.get("Range")))
        self.server.behaviours[self.path](self, int(asked[1]) if asked else 0)

    def send(self, data: bytes, start: int = 0, total: int | None = None) -> None:
        total = len(data) if total is None else total
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Length", str(total - start))
        self.end_headers()
        self.wfile.write(data[start:])

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []
        self.behaviours: dict[str, Behaviour] = {}

    def source(self, path: str, behaviour: Behaviour, sha256: str = SHA256) -> Source:
        self.behaviours[path] = behaviour
        return Source(f"http://127.0.0.1:{self.server_port}{path}", sha256)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache", offline=False, timeout=0.5)


def good(handler: Handler, start: int) -> None:
    handler.send(DATA, start)


def missing(handler: Handler, start: int) -> None:
    handler.send_error(404)


def lying(handler: Handler, start: int) -> None:
    handler.send(DATA[::-1], start)


def breaking(position: int) -> Behaviour:
    """The first answer ends at a position, the later ones are complete."""
    answers: list[int] = []

    def answer(handler: Handler, start: int) -> None:
        answers.append(start)
        if len(answers) == 1:
            handler.send(DATA[:position], 0, len(DATA))
            handler.close_connection = True
        else:
            handler.send(DATA, start)

    return answer


def silent(handler: Handler, start: int) -> None:
    """Says how much there is, sends a little, and then nothing."""
    handler.send(b"", start, len(DATA))
    if start == 0:
        handler.wfile.write(DATA[:100])
    time.sleep(3)


def files(store: Store) -> set[str]:
    return {p.name for p in store.folder.iterdir() if p.suffix != ".lock"}


def test_a_download_is_verified_and_used_again_offline(server: Server, store: Store) -> None:
    told: list[tuple[str, int, int | None]] = []
    watched = Store(store.folder, on_progress=lambda *news: told.append(news))
    source = server.source("/a.pth", good)
    path = fetch([source], watched, "weights")
    assert path == store.folder / "a.pth"
    assert path.read_bytes() == DATA
    assert told[-1] == ("a.pth", len(DATA), len(DATA))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert files(store) == {"a.pth"}
    offline = Store(store.folder, offline=True)
    assert fetch([source], offline, "weights") == path
    assert len(server.requests) == 1


def test_the_first_digits_of_a_hash_do(server: Server, store: Store) -> None:
    assert fetch([server.source("/a.pth", good, SHA256[:8])], store, "weights").is_file()
    with pytest.raises(WeightsError, match="SHA-256"):
        fetch([server.source("/b.pth", lying, SHA256[:8])], store, "weights")


def test_a_broken_connection_goes_on_where_it_broke(server: Server, store: Store) -> None:
    path = fetch([server.source("/a.pth", breaking(300_000))], store, "weights")
    assert path.read_bytes() == DATA
    assert server.requests == [("/a.pth", None), ("/a.pth", "bytes=300000-")]


def test_a_server_that_cannot_continue_starts_again(server: Server, store: Store) -> None:
    first = breaking(300_000)
    source = server.source("/a.pth", lambda handler, start: first(handler, 0))
    assert fetch([source], store, "weights").read_bytes() == DATA
    assert len(server.requests) == 2


def test_an_interrupted_download_goes_on_the_next_time(server: Server, store: Store) -> None:
    store.folder.mkdir()
    part = store.folder / f"a.pth.{SHA256[:8]}.part"
    part.write_bytes(DATA[:1000])
    assert fetch([server.source("/a.pth", good)], store, "weights").read_bytes() == DATA
    assert server.requests == [("/a.pth", "bytes=1000-")]
    assert files(store) == {"a.pth"}


def test_another_mirror_continues_what_the_first_one_began(server: Server, store: Store) -> None:
    def breaks_twice(handler: Handler, start: int) -> None:
        if start:
            handler.send_error(503)
        else:
            breaking(5000)(handler, start)

    sources = [server.source("/one/a.pth", breaks_twice), server.source("/two/a.pth", good)]
    assert fetch(sources, store, "weights").read_bytes() == DATA
    assert server.requests[-1] == ("/two/a.pth", "bytes=5000-")


@pytest.mark.parametrize("left", [DATA[::-1][:1000], DATA + b"more", DATA])
def test_what_lay_there_is_not_trusted(left: bytes, server: Server, store: Store) -> None:
    def strict(handler: Handler, start: int) -> None:
        if start >= len(DATA):
            handler.send_error(416)
        else:
            handler.send(DATA, start)

    store.folder.mkdir()
    (store.folder / f"a.pth.{SHA256[:8]}.part").write_bytes(left)
    assert fetch([server.source("/a.pth", strict)], store, "weights").read_bytes() == DATA
    assert (len(server.requests) == 0) == (left == DATA)  # complete: only to be checked
    assert files(store) == {"a.pth"}


def test_a_wrong_file_is_deleted_and_the_next_mirror_asked(server: Server, store: Store) -> None:
    sources = [server.source("/bad/a.pth", lying), server.source("/good/a.pth", good)]
    assert fetch(sources, store, "weights").read_bytes() == DATA
    with pytest.raises(WeightsError, match=r"/bad/b.pth: deleted, its SHA-256 is") as error:
        fetch([server.source("/bad/b.pth", lying)], store, "weights")
    assert SHA256[:16] in str(error.value)
    assert files(store) == {"a.pth"}


def test_a_missing_file_is_looked_for_at_the_mirror(server: Server, store: Store) -> None:
    other = b"another form of the same weights"
    digest = hashlib.sha256(other).hexdigest()
    sources = [
        server.source("/a.pth", missing),
        server.source("/other.pt", lambda handler, start: handler.send(other, start), digest),
    ]
    path = fetch(sources, store, "weights")
    assert (path.name, path.read_bytes()) == ("other.pt", other)
    assert fetch(sources, Store(store.folder, offline=True), "weights") == path


def test_a_silent_server_is_given_up(server: Server, store: Store) -> None:
    sources = [server.source("/slow/a.pth", silent), server.source("/a.pth", good)]
    start = time.monotonic()
    assert fetch(sources, store, "weights").read_bytes() == DATA
    assert time.monotonic() - start < 2.9
    with pytest.raises(WeightsError, match=r"silent for 0\.5 s"):
        fetch([server.source("/slow/b.pth", silent)], store, "weights")


def test_a_slow_server_is_waited_for(server: Server, store: Store) -> None:
    def slow(handler: Handler, start: int) -> None:
        handler.send(b"", 0, len(DATA))
        for i in range(0, len(DATA), 200_000):
            handler.wfile.write(DATA[i : i + 200_000])
            time.sleep(0.1)

    assert fetch([server.source("/a.pth", slow)], store, "weights").read_bytes() == DATA


def test_a_trickle_counts_as_silence(server: Server, store: Store, monkeypatch) -> None:
    def trickle(handler: Handler, start: int) -> None:
        handler.send(b"", start, len(DATA))
        for i in range(start, start + 100):
            handler.wfile.write(DATA[i : i + 1])
            time.sleep(0.02)

    monkeypatch.setattr(download, "PATIENCE", 2)
    hasty = Store(store.folder, offline=False, timeout=0.05)
    with pytest.raises(WeightsError, match="silent"):
        fetch([server.source("/a.pth", trickle)], hasty, "weights")


def test_nothing_reachable_is_one_line_with_a_remedy(store: Store) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    sources = [Source(f"{url}/one/a.pth", SHA256), Source("http://no.invalid/a.pth", SHA256)]
    with pytest.raises(WeightsError) as error:
        fetch(sources, store, "COCO weights of a model")
    message = str(error.value)
    for word in ("COCO weights of a model", "/one/a.pth: Connection refused", "no.invalid"):
        assert word in message
    assert f"copy a.pth from a machine that has it into {store.folder}" in message
    assert "\n" not in message


def test_offline_asks_nobody(server: Server, store: Store) -> None:
    source = server.source("/a.pth", good)
    offline = Store(store.folder, offline=True)
    with pytest.raises(WeightsError, match=r"a\.pth is not in"):
        fetch([source], offline, "weights")
    store.folder.mkdir()
    (store.folder / "a.pth").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="damaged"):
        fetch([source], offline, "weights")
    assert server.requests == []
    assert fetch([source], store, "weights").read_bytes() == DATA


def test_file_urls(tmp_path: Path, store: Store) -> None:
    (tmp_path / "a.pth").write_bytes(DATA)
    source = Source((tmp_path / "a.pth").as_uri(), SHA256)
    assert fetch([source], store, "weights").read_bytes() == DATA
    with pytest.raises(WeightsError, match="No such file"):
        fetch([Source((tmp_path / "b.pth").as_uri(), SHA256)], store, "weights")


def test_the_environment_names_other_places(monkeypatch, tmp_path: Path) -> None:
    official = Source("https://download.openmmlab.com/mmdetection/a/b.pth", SHA256)
    hub = Source("https://huggingface.co/x/y.pt", SHA256)
    monkeypatch.delenv("CRISPMASK_MIRROR", raising=False)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert official.redirected() == official
    monkeypatch.setenv("CRISPMASK_MIRROR", "http://mirror/zoo/")
    monkeypatch.setenv("HF_ENDPOINT", "http://hub")
    assert official.redirected().url == "http://mirror/zoo/mmdetection/a/b.pth"
    assert hub.redirected().url == "http://hub/x/y.pt"
    monkeypatch.setenv("CRISPMASK_CACHE", str(tmp_path))
    monkeypatch.setenv("CRISPMASK_OFFLINE", "1")
    assert (Store().folder, Store().offline) == (tmp_path, True)


def _fetch_in_process(source: Source, folder: Path) -> None:
    assert fetch([source], Store(folder, offline=False), "weights").read_bytes() == DATA


def test_processes_do_not_disturb_each_other(server: Server, tmp_path: Path) -> None:
    def slow(handler: Handler, start: int) -> None:
        handler.send(DATA[:1000], 0, len(DATA))
        time.sleep(0.5)
        handler.wfile.write(DATA[1000:])

    source = server.source("/a.pth", slow)
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_fetch_in_process, args=(source, tmp_path)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (tmp_path / "a.pth").read_bytes() == DATA
    assert len(server.requests) == 1  # the others waited for the first
