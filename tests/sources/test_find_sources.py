from __future__ import annotations

import io
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from crispmask.errors import SourceError
from crispmask.sources import Picture, Source, Video, find_sources
from crispmask.sources.find import find_all


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("b.JPG", "a.png", "clip.mp4", "notes.md", "deep/c.webp"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def names(source: Path | str) -> list[str]:
    return [found.path.name for found in find_sources(str(source))]


def paths(sources: list[Source]) -> list[Path]:
    return [Path(source.name) for source in sources]


def test_a_folder_gives_its_own_images_and_videos(photos: Path) -> None:
    assert names(photos) == ["a.png", "b.JPG", "clip.mp4"]


def test_one_file(photos: Path) -> None:
    assert find_sources(photos / "a.png") == [Picture(str(photos / "a.png"), photos / "a.png")]
    clip = str(photos / "clip.mp4")
    assert find_sources(clip) == [Video(clip, clip)]


def test_globs(photos: Path) -> None:
    assert names(photos / "*.png") == ["a.png"]
    assert names(photos / "**") == ["a.png", "b.JPG", "clip.mp4", "c.webp"]


def test_a_name_with_brackets_is_a_file_first(tmp_path: Path) -> None:
    path = tmp_path / "a[1].png"
    path.write_bytes(b"")
    assert paths(find_sources(str(path))) == [path]


def test_a_list(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos / "deep")
    listing = photos / "list.txt"
    lines = ["b.JPG", "", "# left out", "./a.png", "c.webp", str(photos / "clip.mp4"), "gone.jpg"]
    lines.append("http://127.0.0.1:9/e.jpg")
    listing.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    expected = [photos / "b.JPG", photos / "a.png", Path("c.webp"), photos / "clip.mp4"]
    found = find_sources(str(listing))
    assert paths(found[:-1]) == [*expected, Path("gone.jpg")]
    assert found[-1] == Picture("http://127.0.0.1:9/e.jpg", "http://127.0.0.1:9/e.jpg")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gone", "no such file or folder"),
        ("deep/*.png", "no images or videos there"),
        ("notes.md", "not an image, video, folder or .txt list"),
        ("empty", "no images or videos there"),
        ("empty.txt", "no images or videos there"),
    ],
)
def test_nothing_to_predict_on(photos: Path, source: str, message: str) -> None:
    (photos / "empty").mkdir()
    (photos / "empty.txt").write_text("\n")
    with pytest.raises(SourceError) as error:
        find_sources(str(photos / source))
    assert str(error.value) == f"{photos / source}: {message}"


def test_streams_and_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_sources("0") == [Video("camera_0", 0, live=True)]
    url = "rtsp://127.0.0.1:9/live"
    assert find_sources(url) == [Video(url, url, live=True)]
    monkeypatch.chdir(tmp_path)
    Path("0").mkdir()  # a folder of that name comes first
    Path("0/a.png").write_bytes(b"")
    assert names("0") == ["a.png"]


def test_a_camera_that_is_not_there() -> None:
    with pytest.raises(SourceError, match="camera_99: no camera of this number"):
        Video("camera_99", 99, live=True).open()


class FakeStdin:
    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def test_standard_input(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, png = cv2.imencode(".png", np.full((4, 6, 3), (10, 20, 30), dtype=np.uint8))
    monkeypatch.setattr(sys, "stdin", FakeStdin(png.tobytes()))
    (found,) = find_sources("-")
    assert isinstance(found, Picture)
    assert found.read()[0, 0].tolist() == [30, 20, 10]
    text = f"{photos / 'a.png'}\n\n{photos / 'clip.mp4'}\n"
    monkeypatch.setattr(sys, "stdin", FakeStdin(text.encode()))
    assert paths(find_sources("-")) == [photos / "a.png", photos / "clip.mp4"]
    monkeypatch.setattr(sys, "stdin", FakeStdin(b""))
    with pytest.raises(SourceError, match="standard input: no images"):
        find_sources("-")


def test_arrays_and_several_sources(photos: Path) -> None:
    image = np.zeros((4, 6, 3), dtype=np.uint8)
    found = list(find_all([image, photos / "a.png", str(photos)]))
    assert found[0].name == "array 1"
    assert isinstance(found[0], Picture)
    assert found[0].read() is image
    assert [source.path.name for source in found[1:]] == ["a.png", "a.png", "b.JPG", "clip.mp4"]
    with pytest.raises(SourceError, match="uint8 RGB array"):
        Picture("array", image[:, :, 0]).read()


def test_videos(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 32))
    for red in (0, 200):
        writer.write(np.full((32, 64, 3), (0, 0, red), dtype=np.uint8))
    writer.release()
    (source,) = find_sources(path)
    assert isinstance(source, Video)
    with source.open() as video:
        frames = list(video)
        assert (video.fps, video.total) == (10, 2)
    assert [frame.shape for frame in frames] == [(32, 64, 3)] * 2
    assert abs(int(frames[1][0, 0, 0]) - 200) < 10  # red comes first
    assert frames[1][0, 0, 2] < 10


def test_a_damaged_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(SourceError, match=r"a\.mp4: no video that OpenCV can read"):
        Video(str(path), str(path)).open()


def test_a_list_that_is_no_utf8(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.jpg\n", encoding="utf-16")
    with pytest.raises(SourceError, match="save it again as UTF-8") as error:
        find_sources(tmp_path / "list.txt")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(0, 10, 3), (10, 0, 3), (10, 10, 4), (10, 10)])
def test_arrays_that_are_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(SourceError, match="an image is a uint8 RGB array"):
        Picture("array", np.zeros(shape, dtype=np.uint8)).read()
