from __future__ import annotations

import cv2
import numpy as np
import pytest

from crispmask.draw import class_colour, draw_instances, tile_images
from crispmask.draw.outline import outline_coverage
from crispmask.draw.palette import text_colour
from crispmask.draw.tags import place_tag
from crispmask.draw.text import render_tag, shorten, text_width
from crispmask.types import Instances


def grey(height: int = 120, width: int = 160) -> np.ndarray:
    return np.full((height, width, 3), 128, dtype=np.uint8)


def ring_mask(height: int = 120, width: int = 160) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    mask[20:100, 30:130] = True
    mask[45:75, 60:100] = False
    return mask


def test_colours_of_the_palette_are_distinct() -> None:
    colours = np.array([class_colour(label) for label in range(20)], dtype=np.float32)
    lab = cv2.cvtColor(colours[None] / 255, cv2.COLOR_RGB2LAB)[0]
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    assert distances[~np.eye(20, dtype=bool)].min() > 18
    assert distances[:8, :8][~np.eye(8, dtype=bool)].min() > 35


def test_every_class_has_its_own_stable_colour() -> None:
    colours = [class_colour(label) for label in range(200)]
    assert len(set(colours)) == 200
    assert colours == [class_colour(label) for label in range(200)]
    assert all(0 <= value <= 255 for colour in colours for value in colour)


def test_text_is_readable_on_every_colour() -> None:
    def luminance(colour: tuple[int, int, int]) -> float:
        linear = (np.array(colour) / 255) ** 2.2
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for label in range(100):
        colour = class_colour(label)
        low, high = sorted((luminance(colour), luminance(text_colour(colour))))
        assert (high + 0.05) / (low + 0.05) > 2.8


def test_no_instances_change_nothing() -> None:
    image = grey()
    result = draw_instances(image, np.zeros((0, 120, 160), dtype=bool), np.zeros(0, dtype=np.int64))
    np.testing.assert_array_equal(result, image)
    assert result is not image


def test_mask_is_coloured_and_its_hole_is_not() -> None:
    image = grey()
    result = draw_instances(image, ring_mask()[None], np.array([1]))
    np.testing.assert_array_equal(image, grey())
    np.testing.assert_array_equal(result[60, 80], image[60, 80])  # inside the hole
    np.testing.assert_array_equal(result[110, 150], image[110, 150])  # outside
    filled = result[85, 80].astype(int) - image[85, 80]
    wanted = np.array(class_colour(1)) - 128
    np.testing.assert_allclose(filled / wanted, 0.42, atol=0.02)


def test_outline_follows_the_mask_and_its_hole() -> None:
    mask = ring_mask()
    coverage = outline_coverage(mask, 1)
    for row, column in ((20, 80), (60, 30), (99, 80), (44, 80), (60, 59)):
        assert coverage[row, column] > 200
    assert not coverage[60, 80]
    assert not outline_coverage(np.zeros((5, 5), dtype=bool), 2).any()


def test_small_instances_are_drawn_over_large_ones() -> None:
    masks = np.zeros((2, 120, 160), dtype=bool)
    masks[0, 40:60, 40:60] = True
    masks[1] = True
    first = draw_instances(grey(), masks, np.array([0, 1]))
    second = draw_instances(grey(), masks[::-1], np.array([1, 0]))
    np.testing.assert_array_equal(first[50, 50], second[50, 50])


def test_empty_mask_leaves_no_trace() -> None:
    result = draw_instances(grey(), np.zeros((1, 120, 160), dtype=bool), np.array([0]), ("a",))
    np.testing.assert_array_equal(result, grey())


@pytest.mark.parametrize("size", [(1, 1), (8, 300), (300, 8), (20, 20), (700, 500)])
def test_images_of_any_size(size: tuple[int, int]) -> None:
    masks = np.ones((3, *size), dtype=bool)
    boxes = np.array([[0, 0, size[1], size[0]]] * 3, dtype=np.float32)
    names = ("a class name much longer than any image could ever show " * 3,)
    scores = np.array([0.9, 0.5, 0.1], dtype=np.float32)
    result = draw_instances(grey(*size), masks, np.array([0, 1, 77]), names, scores, boxes)
    assert result.shape == (*size, 3)
    assert result.dtype == np.uint8


def test_instances_plot() -> None:
    found = Instances(
        scores=np.array([0.5], dtype=np.float32),
        labels=np.array([0]),
        boxes=np.array([[30, 20, 130, 100]], dtype=np.float32),
        masks=ring_mask()[None],
        names=("Größe",),
    )
    assert found.plot(grey()).shape == (120, 160, 3)
    np.testing.assert_array_equal(found[[]].plot(grey()), grey())


def test_tags_stay_inside_and_apart() -> None:
    rng = np.random.default_rng(0)
    size, tag = (200, 300), (20, 80)
    taken: list[tuple[int, int, int, int]] = []
    for _ in range(30):
        x, y = int(rng.integers(-20, 300)), int(rng.integers(-20, 200))
        place = place_tag((x, y, x + 40, y + 40), tag, size, taken)
        assert 0 <= place[0] < place[2] <= size[1]
        assert 0 <= place[1] < place[3] <= size[0]
        taken.append(place)
    again = place_tag((100, 100, 150, 150), tag, size, [])
    beside = place_tag((100, 100, 150, 150), tag, size, [again])
    assert again == (100, 80, 180, 100)
    assert beside == (100, 100, 180, 120)


def test_texts_are_shortened_to_fit() -> None:
    assert shorten("cat", 1000, 16) == "cat"
    shorter = shorten("a very long class name", 80, 16)
    assert shorter.endswith("…")
    assert text_width(shorter, 16) <= 80
    assert shorten("cat", 1, 16) == ""


def test_tag_holds_its_text() -> None:
    tag, alpha = render_tag("gypsum Ä 0.93", (20, 90, 160), 20)
    assert tag.shape[:2] == alpha.shape[:2]
    assert tag.shape[1] > text_width("gypsum Ä 0.93", 20)
    assert (tag.max(axis=2) > 230).any()  # white letters
    border = np.concatenate([tag[0], tag[-1], tag[:, 0], tag[:, -1]])
    np.testing.assert_array_equal(border, np.broadcast_to((20, 90, 160), border.shape))


def test_tile_images() -> None:
    images = [np.full((10, 20, 3), value, dtype=np.uint8) for value in (10, 20, 30)]
    sheet = tile_images(images, columns=2, pad=2, background=(255, 0, 0))
    assert sheet.shape == (2 * 12 + 2, 2 * 22 + 2, 3)
    assert (sheet[2:12, 24:44] == 20).all()
    np.testing.assert_array_equal(sheet[20, 40], (255, 0, 0))


def test_tile_images_shrinks_and_centres() -> None:
    wide = np.zeros((10, 400, 3), dtype=np.uint8)
    sheet = tile_images([wide], columns=4, pad=0, cell=(50, 100))
    assert sheet.shape == (50, 100, 3)
    dark = np.flatnonzero((sheet == 0).all(axis=(1, 2)))
    np.testing.assert_array_equal(dark, [24, 25])


def test_tile_of_nothing() -> None:
    assert (tile_images([], columns=3) == 255).all()
