from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
from doctor_pictures import picture

from crispmask.doctor.picture import THUMB
from crispmask.doctor.similar import MAX_BITS, candidate_pairs, difference_hashes, find_similar


def thumb(image: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return cv2.resize(grey, THUMB[::-1], interpolation=cv2.INTER_AREA)


def bits(hashes: np.ndarray, i: int, j: int) -> int:
    return bin(int.from_bytes(hashes[i].tobytes()) ^ int.from_bytes(hashes[j].tobytes())).count("1")


def test_hash_says_where_it_gets_brighter() -> None:
    rising = np.tile(np.arange(36, dtype=np.uint8) * 7, (32, 1))
    hashes, mirrored = difference_hashes(np.stack([rising, rising[:, ::-1]]))
    assert hashes.tolist() == [[255] * 8, [0] * 8]
    assert mirrored.tolist() == [[0] * 8, [255] * 8]


def test_mirrored_hash_is_the_hash_of_the_mirror_image() -> None:
    thumbs = np.stack([thumb(picture(seed)) for seed in range(20)])
    hashes, mirrored = difference_hashes(thumbs)
    again, normal = difference_hashes(thumbs[:, :, ::-1])
    np.testing.assert_array_equal(mirrored, again)
    np.testing.assert_array_equal(normal, hashes)


def test_all_near_hashes_are_found() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 256, (60, 8), dtype=np.uint8)
    copies = np.unpackbits(hashes, axis=1)
    for row in copies:
        row[rng.choice(64, rng.integers(0, 10), replace=False)] ^= 1
    hashes = np.concatenate([hashes, np.packbits(copies, axis=1)])
    first, second = candidate_pairs(hashes)
    expected = [(i, j) for i, j in combinations(range(120), 2) if bits(hashes, i, j) <= MAX_BITS]
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == expected
    assert len(expected) > 30


def test_changed_copies_are_found_and_others_are_not() -> None:
    images = [picture(seed, 120, 160) for seed in range(30)]
    changed = [
        cv2.resize(images[0], (80, 60), interpolation=cv2.INTER_AREA),
        images[1][:, ::-1],
        cv2.convertScaleAbs(images[2], alpha=0.6, beta=30),
        cv2.imdecode(cv2.imencode(".jpg", images[3], [cv2.IMWRITE_JPEG_QUALITY, 20])[1], 1),
        images[4][2:-2, 2:-2],
    ]
    pairs = find_similar(np.stack([thumb(image) for image in [*images, *changed]]))
    assert pairs.first.tolist() == [0, 1, 2, 3, 4]
    assert pairs.second.tolist() == [30, 31, 32, 33, 34]
    assert pairs.mirrored.tolist() == [False, True, False, False, False]
    assert (pairs.correlation > 0.95).all()


def test_cropped_by_a_fifth_and_plain_are_not_alike() -> None:
    image = picture(0, 120, 160)
    plain = np.full((120, 160, 3), 90, np.uint8)
    thumbs = np.stack([thumb(i) for i in (image, image[24:, 32:], plain, plain + 1)])
    assert not len(find_similar(thumbs).first)


def test_symmetric_picture_is_not_called_mirrored() -> None:
    half = picture(0)[:, :48]
    image = np.concatenate([half, half[:, ::-1]], axis=1)
    pairs = find_similar(np.stack([thumb(image), thumb(image)]))
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([0], [1])
    assert pairs.mirrored.tolist() == [False]


def test_none_and_one() -> None:
    for count in (0, 1):
        thumbs = np.zeros((count, *THUMB), dtype=np.uint8)
        assert not len(find_similar(thumbs).first)


def test_each_of_many_alike_has_a_partner() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 4, (300, *THUMB))
    thumbs = np.clip(thumb(picture(0)) + noise, 0, 255).astype(np.uint8)
    pairs = find_similar(thumbs)
    assert set(pairs.first.tolist()) | set(pairs.second.tolist()) == set(range(300))
