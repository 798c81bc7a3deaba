from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from crispmask.errors import CrispmaskError
from crispmask.sources import Picture, Video, fetch, find_sources

PIXELS = np.full((4, 6, 3), (10, 20, 30), dtype=np.uint8)


class Handler(BaseHTTPRequestHandler):
    """A server with good and bad answers."""

    def do_GET(self) -> None:
        png = cv2.imencode(".png", PIXELS)[1].tobytes()
        match self.path.split("?")[0]:
            case "/a.png" | "/picture":
                self.answer(png, "image/png")
            case "/moved.png":
                self.send_response(302)
                self.send_header("Location", "/a.png")
                self.end_headers()
            case "/page.png":
                self.answer(b"<html>", "text/html")
            case "/long.png":
                self.answer(png, "image/png", length=fetch.LARGEST + 1)
            case "/endless.png":
                self.answer(png * 40, "image/png", length=None)
            case "/cut.png":
                self.answer(png, "image/png", length=len(png) + 9)
            case "/silent.png":
                time.sleep(1)
            case "/camera":
                self.answer(b"--frame", "multipart/x-mixed-replace")
            case _:
                self.send_error(404, "Not Found")

    def answer(self, content: bytes, kind: str, length: int | None = -1) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(len(content) if length < 0 else length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/a.png", "/a.png?size=3", "/picture", "/moved.png"])
def test_images(server: str, path: str) -> None:
    (found,) = find_sources(server + path)
    assert isinstance(found, Picture)
    np.testing.assert_array_equal(found.read(), PIXELS[:, :, ::-1])
    assert found.path.name == path.split("?")[0][1:]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/gone.png", "the server says 404 Not Found"),
        ("/page.png", "cannot be read as an image"),
        ("/long.png", "larger than 200 MiB"),
        ("/endless.png", "larger than 0 MiB"),
        ("/cut.png", "broken off after"),
        ("/silent.png", "the server is silent for 0.2 s"),
    ],
)
def test_bad_answers(server: str, path: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT", 0.2)
    if path == "/endless.png":
        monkeypatch.setattr(fetch, "LARGEST", 2000)
    (found,) = find_sources(server + path)
    assert isinstance(found, Picture)
    with pytest.raises(CrispmaskError) as error:
        found.read()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_no_server() -> None:
    with pytest.raises(CrispmaskError, match=r"^http://127\.0\.0\.1:9/a: Connection refused$"):
        find_sources("http://127.0.0.1:9/a")


def test_what_is_no_image_is_a_stream(server: str) -> None:
    url = f"{server}/camera"
    assert find_sources(url) == [Video(url, url, live=True)]
    with pytest.raises(CrispmaskError, match="the server says 404"):
        find_sources(f"{server}/gone")
