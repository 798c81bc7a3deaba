"""Finds pictures that are nearly the same among very many, without comparing each with each.

A picture is known by its difference hash: is each cell of a grid of 9 x 8 brighter than its left
neighbour? Equal pictures of other size, compression, brightness or contrast differ in a few of
these 64 bits. What has a similar hash is compared by its 32 x 36 grey values.

The hash is the "dHash" of N. Krawetz, "Kind of Like That", 2013; the search is multi-index
hashing, arXiv:1307.2982.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from crispmask.doctor.picture import THUMB

MAX_BITS = 6
"""Bits that may differ."""

MIN_CORRELATION = 0.95
"""Of the grey values of both pictures, from which on they are the same."""

_NO_CONTRAST = 2.0
"""Grey levels; a picture with a smaller deviation is one plain area and is like no other."""

_AT_ONCE = 1 << 20

_MOST_PARTNERS = 24
"""Hashes that each is compared with per pair of bytes."""

_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pictures that are alike.

    Attributes:
        first: (M,) int64 positions.
        second: (M,) int64 positions, each above its partner in `first`.
        correlation: (M,) float32.
        mirrored: (M,) bool, whether one of the two is mirrored left to right.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    correlation: NDArray[np.float32]
    mirrored: NDArray[np.bool_]


def find_similar(thumbs: NDArray[np.uint8]) -> Pairs:
    """All pairs of pictures that are alike, mirrored ones too.

    Among very many that are all alike, such as the frames of a camera that stands still, not
    all pairs are found, but a partner for each.

    Args:
        thumbs: (I, 32, 36) grey, no two of the same file: their number decides on the time.
    """
    deviation = thumbs.std(axis=(1, 2), dtype=np.float32)
    chosen = np.flatnonzero(deviation >= _NO_CONTRAST)
    normal = thumbs[chosen].astype(np.float32)
    normal -= normal.mean(axis=(1, 2), keepdims=True)
    normal /= deviation[chosen, None, None]
    hashes, mirrored = difference_hashes(thumbs[chosen])
    count = len(chosen)
    first, second = candidate_pairs(hashes)
    # The mirrored ones are a second set of pictures that the first one is looked up in.
    flip_first, flip_second = candidate_pairs(np.concatenate([hashes, mirrored]))
    keep = (flip_first < count) & (flip_second >= count)
    flip_first, flip_second = flip_first[keep], flip_second[keep] - count
    keep = flip_first < flip_second
    flip_first, flip_second = flip_first[keep], flip_second[keep]
    correlation = np.concatenate(
        [
            _correlations(normal, first, second, flip=False),
            _correlations(normal, flip_first, flip_second, flip=True),
        ]
    )
    flipped = np.repeat([False, True], [len(first), len(flip_first)])
    first, second = np.concatenate([first, flip_first]), np.concatenate([second, flip_second])
    # By pair, the better way first: a symmetric picture is found both ways.
    order = np.lexsort((-correlation, second, first))
    order = order[correlation[order] >= MIN_CORRELATION]
    pair = first[order] * count + second[order]
    order = order[np.concatenate([[True], pair[1:] != pair[:-1]])[: len(order)]]
    return Pairs(chosen[first[order]], chosen[second[order]], correlation[order], flipped[order])


def difference_hashes(
    thumbs: NDArray[np.uint8],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The hash of each picture and that of its mirror image, (I, 8) bytes each.

    Args:
        thumbs: (I, 32, 36) grey.
    """
    height, width = THUMB
    cells = thumbs.reshape(-1, 8, height // 8, 9, width // 9).mean(axis=(2, 4), dtype=np.float32)
    bits = cells[:, :, 1:] > cells[:, :, :-1]
    mirrored = cells[:, :, :-1] > cells[:, :, 1:]
    return tuple(  # type: ignore[return-value]  # of two
        np.packbits(b.reshape(len(thumbs), 64), axis=1) for b in (bits, mirrored[:, :, ::-1])
    )


def candidate_pairs(hashes: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions i < j of all hashes that differ in at most `MAX_BITS` bits.

    Six bits can change six of eight bytes: two bytes are equal. For each two bytes the hashes
    that agree in them are compared.

    Args:
        hashes: (I, 8).
    """
    count = len(hashes)
    by_value = np.lexsort(hashes.T[::-1])  # like beside like, for the limit of partners
    found = [np.zeros(0, dtype=np.int64)]
    for a, b in combinations(range(8), 2):
        key = hashes[:, a].astype(np.uint16) << 8 | hashes[:, b]
        order = by_value[np.argsort(key[by_value], kind="stable")]
        ends = np.searchsorted(key[order], key[order], side="right")
        spans = np.minimum(ends - np.arange(count) - 1, _MOST_PARTNERS)
        for begin, end in _blocks(np.cumsum(spans) // _AT_ONCE):
            some = spans[begin:end]
            i = np.repeat(np.arange(begin, end), some)
            j = i + 1 + np.arange(len(i)) - np.repeat(np.cumsum(some) - some, some)
            i, j = order[i], order[j]
            near = _BITS[hashes[i] ^ hashes[j]].sum(axis=1) <= MAX_BITS
            i, j = i[near], j[near]
            found.append(np.minimum(i, j) * count + np.maximum(i, j))
    pairs = np.unique(np.concatenate(found))
    return pairs // max(count, 1), pairs % max(count, 1)


def _blocks(block: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Begin and end of the runs of equal values."""
    if not len(block):
        return []
    cuts = np.flatnonzero(np.diff(block)) + 1
    edges = [0, *cuts.tolist(), len(block)]
    return list(pairwise(edges))


def _correlations(
    normal: NDArray[np.float32], first: NDArray[np.int64], second: NDArray[np.int64], flip: bool
) -> NDArray[np.float32]:
    """Mean product of the normalised pictures of each pair."""
    result = np.zeros(len(first), dtype=np.float32)
    for begin in range(0, len(first), 4096):
        a, b = normal[first[begin : begin + 4096]], normal[second[begin : begin + 4096]]
        result[begin : begin + 4096] = (a * (b[:, :, ::-1] if flip else b)).mean(axis=(1, 2))
    return result
