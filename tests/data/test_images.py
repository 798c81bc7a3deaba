from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from crispmask.data.images import image_size, read_image
from crispmask.errors import DatasetError

H, W = 40, 60


def picture(seed: int = 0) -> NDArray[np.uint8]:
    """Smooth colours, so that lossy formats come close; no symmetry."""
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 255, (3, 4, 3), dtype=np.uint8), (W, H))


def save(image: Image.Image, path: Path, orientation: int | None = None, **options: object) -> Path:
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
        options["exif"] = exif
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("a.png", 0),
        ("a.bmp", 0),
        ("a.tif", 0),
        ("a.TIFF", 0),
        ("a.jpg", 12),
        ("a.JPEG", 12),
        ("a.mpo", 12),
        ("a.webp", 12),
        ("a.avif", 12),
        ("a.jp2", 12),
    ],
)
def test_formats(tmp_path: Path, name: str, tolerance: int) -> None:
    path = save(Image.fromarray(picture()), tmp_path / name)
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.shape == (H, W, 3)
    assert image_size(path) == (H, W)
    assert np.abs(image.astype(int) - picture()).mean() <= tolerance


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("orientation", [*range(1, 9), 99])
def test_turned_images_are_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = save(Image.fromarray(picture()), tmp_path / f"a{suffix}", orientation)
    with Image.open(path) as file:
        upright = np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
    image = read_image(path)
    assert image.shape == upright.shape
    assert image_size(path) == image.shape[:2]
    assert np.abs(image.astype(int) - upright).max() <= 3
    if orientation < 9:
        assert (image.shape[:2] == (W, H)) == (orientation >= 5)


def test_damaged_exif_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(picture()).save(path, exif=b"Exif\x00\x00nonsense")
    assert read_image(path).shape == (H, W, 3)
    assert image_size(path) == (H, W)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA"])
def test_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(picture()).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(np.tile(np.uint8([0, 255]), (H, W // 2))))
    path = save(image, tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(path), np.asarray(image.convert("RGB")))


def test_cmyk(tmp_path: Path) -> None:
    path = save(Image.new("CMYK", (W, H), (0, 200, 200, 20)), tmp_path / "a.jpg")
    red, green, blue = read_image(path).mean(axis=(0, 1))
    assert red > 200
    assert green < 80
    assert blue < 80


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_scaled(tmp_path: Path, suffix: str, channels: int) -> None:
    values = np.array([[0, 256, 32896, 65535]], dtype=np.uint16).repeat(4, axis=0)
    ok, data = cv2.imencode(suffix, np.dstack([values] * channels))
    assert ok
    path = tmp_path / f"a{suffix}"
    data.tofile(path)
    assert image_size(path) == (4, 4)
    assert read_image(path)[0].tolist() == [[v] * 3 for v in (0, 1, 128, 255)]


def test_16_bits_where_opencv_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.array([[0, 256, 32896, 65535]], dtype=np.uint16)
    path = save(Image.fromarray(values), tmp_path / "a.png")
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    assert read_image(path)[0].tolist() == [[v] * 3 for v in (0, 1, 128, 255)]


def test_float_pixels_are_refused(tmp_path: Path) -> None:
    path = save(Image.fromarray(np.ones((4, 4), dtype=np.float32)), tmp_path / "a.tif")
    with pytest.raises(DatasetError, match=r"a\.tif: .*32 bits per pixel"):
        read_image(path)


def test_names_in_any_script(tmp_path: Path) -> None:
    path = save(Image.fromarray(picture()), tmp_path / "Größe 图像 #1.png")
    np.testing.assert_array_equal(read_image(path), picture())
    np.testing.assert_array_equal(read_image(str(path)), picture())


def encoded(suffix: str) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (H, W, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, Image.registered_extensions()[suffix])
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".jp2", ".tif", ".avif"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9])
def test_cut_files_are_errors(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"cut{suffix}"
    data = encoded(suffix)
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(DatasetError) as caught:
        read_image(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: cannot be read as an image (")
    assert "\n" not in message
    if suffix in (".jpg", ".png"):
        with pytest.raises(DatasetError, match="cannot be read as an image"):
            image_size(path)


def test_bytes_after_the_end_are_ignored(tmp_path: Path) -> None:
    for suffix in (".jpg", ".png"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(encoded(suffix) + b"appended by a camera")
        assert read_image(path).shape == (H, W, 3)
        assert image_size(path) == (H, W)


def test_not_images(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_text("<html>not found</html>")
    for read in (read_image, image_size):
        with pytest.raises(DatasetError, match=r"a\.jpg: .*unknown format or damaged"):
            read(path)
        with pytest.raises(DatasetError, match=r"gone\.jpg: no such image"):
            read(tmp_path / "gone.jpg")
        with pytest.raises(DatasetError, match="cannot be read"):
            read(tmp_path)
    heic = tmp_path / "a.HEIC"
    heic.write_bytes(b"\x00\x00\x00\x18ftypheic")
    as_a_phone_sends_it = tmp_path / "b.jpg"
    as_a_phone_sends_it.write_bytes(heic.read_bytes())
    for found in (heic, as_a_phone_sends_it):
        for read in (read_image, image_size):
            with pytest.raises(DatasetError, match="cannot read HEIF; install pillow-heif or"):
                read(found)


def test_image_too_large_for_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(Image.fromarray(picture()), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    np.testing.assert_array_equal(read_image(path), picture())
    assert image_size(path) == (H, W)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("at_least", "factor"), [((20, 30), 2), ((21, 31), 1), ((4, 7), 4), ((10, 15), 4)]
)
def test_a_decoder_may_reduce_large_images(
    tmp_path: Path, orientation: int, at_least: tuple[int, int], factor: int
) -> None:
    path = save(Image.fromarray(picture()), tmp_path / "a.jpg", orientation, quality=95)
    whole = read_image(path)
    if orientation == 6:
        at_least = at_least[::-1]
    reduced = read_image(path, at_least)
    height, width = whole.shape[:2]
    assert reduced.shape == (-(-height // factor), -(-width // factor), 3)
    expected = cv2.resize(whole, reduced.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(reduced.astype(int) - expected).max() < 12


def test_other_formats_are_not_reduced(tmp_path: Path) -> None:
    path = save(Image.fromarray(picture()), tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(path, (2, 3)), read_image(path))
