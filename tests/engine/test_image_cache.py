from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from toy_dataset import write_toy_dataset

from crispmask.config import TrainConfig
from crispmask.data.index import DatasetIndex
from crispmask.data.pixels import PixelCache
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec
from crispmask.engine import image_cache
from crispmask.engine.image_cache import cache_images
from crispmask.errors import ConfigError


@pytest.fixture
def index(tmp_path: Path) -> DatasetIndex:
    return build_index(read_spec(write_toy_dataset(tmp_path / "data")).train, 1)


def cached(mode, index: DatasetIndex) -> tuple[PixelCache | None, str]:
    out = io.StringIO()
    found = cache_images(mode, "train", index, 64, True, Console(file=out, width=200))
    return found, out.getvalue()


def test_no_cache_says_nothing(index: DatasetIndex) -> None:
    assert cached("none", index) == (None, "")


@pytest.mark.parametrize(("mode", "place"), [("ram", "memory"), ("disk", "pixels")])
def test_the_estimate_is_printed_first(index: DatasetIndex, mode, place: str) -> None:
    pixels, text = cached(mode, index)
    assert isinstance(pixels, PixelCache)
    expected = 6 * 64 * 51 * 3  # 80 x 64 pixels, fitted into 64
    assert pixels.layout.num_bytes == expected
    assert text.startswith("cache     train: 6 images take 0 MiB of ")
    assert place in text
    assert "GiB are free" in text


def test_the_disk_is_used_again(index: DatasetIndex) -> None:
    first, _ = cached("disk", index)
    again, text = cached("disk", index)
    assert "decoded before" in text
    assert first is not None
    assert again is not None
    assert again.path == first.path
    assert str(first.path) in text


@pytest.mark.parametrize(("mode", "remedy"), [("ram", "--cache disk"), ("disk", "CRISPMASK_CACHE")])
def test_without_room_the_run_goes_on(
    index: DatasetIndex, mode, remedy: str, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(image_cache, "free_memory", lambda: 60_000)
    monkeypatch.setattr(image_cache, "free_disk", lambda folder: 60_000)
    pixels, _ = cached(mode, index)
    assert pixels is None
    (record,) = caplog.records
    assert remedy in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_disk_that_fills_up_does_not_end_the_run(
    index: DatasetIndex, monkeypatch, caplog
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("crispmask.data.pixel_fill._reserve", full)
    for mode in ("ram", "disk"):
        assert cached(mode, index)[0] is None
    assert all("No space left" in record.getMessage() for record in caplog.records)
    assert len(caplog.records) == 2


def test_multi_scale_needs_other_sizes() -> None:
    with pytest.raises(ConfigError, match="--cache ram keeps images of one size"):
        TrainConfig(cache="ram", multi_scale=0.5)
