from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from crispmask.cli.sources import Video, find_sources, is_video
from crispmask.errors import SourceError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("b.JPG", "a.png", "clip.mp4", "notes.md", "deep/c.webp"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def names(source: Path | str) -> list[str]:
    return [path.name for path in find_sources(str(source))]


def test_a_folder_gives_its_own_images_and_videos(photos: Path) -> None:
    assert names(photos) == ["a.png", "b.JPG", "clip.mp4"]


def test_one_file(photos: Path) -> None:
    assert find_sources(str(photos / "a.png")) == [photos / "a.png"]


def test_globs(photos: Path) -> None:
    assert names(photos / "*.png") == ["a.png"]
    assert names(photos / "**") == ["a.png", "b.JPG", "clip.mp4", "c.webp"]


def test_a_name_with_brackets_is_a_file_first(tmp_path: Path) -> None:
    path = tmp_path / "a[1].png"
    path.write_bytes(b"")
    assert find_sources(str(path)) == [path]


def test_a_list(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos / "deep")
    listing = photos / "list.txt"
    lines = ["b.JPG", "", "# left out", "./a.png", "c.webp", str(photos / "clip.mp4"), "gone.jpg"]
    listing.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    expected = [photos / "b.JPG", photos / "a.png", Path("c.webp"), photos / "clip.mp4"]
    assert find_sources(str(listing)) == [*expected, Path("gone.jpg")]


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


def test_videos(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 32))
    for red in (0, 200):
        writer.write(np.full((32, 64, 3), (0, 0, red), dtype=np.uint8))
    writer.release()
    assert is_video(path)
    video = Video(path)
    frames = list(video)
    assert video.fps == 10
    assert [frame.shape for frame in frames] == [(32, 64, 3)] * 2
    assert abs(int(frames[1][0, 0, 0]) - 200) < 10  # red comes first
    assert frames[1][0, 0, 2] < 10


def test_a_damaged_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(SourceError, match=r"a\.mp4: no video that OpenCV can read"):
        Video(path)
