"""Images that are there twice: the same file, or nearly the same picture."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from crispmask.doctor.kinds import Problem
from crispmask.doctor.picture import THUMB, file_digest
from crispmask.doctor.scan import Record
from crispmask.doctor.similar import find_similar

SPLITS = ("train", "val", "test")
"""Of two splits with the same image, the problem is told of the later one."""

_RATIO = 0.05
"""Relative difference of width / height up to which two sizes can be of one picture."""


def with_digests(records: Sequence[Record]) -> list[Record]:
    """The records, with hashes where files that were not read have the same number of bytes."""
    by_length = defaultdict(list)
    for i, record in enumerate(records):
        if not record.digest and all(record.size):
            by_length[os.stat(record.image).st_size].append(i)
    result = list(records)
    for alike in by_length.values():
        for i in alike if len(alike) > 1 else ():
            result[i] = replace(result[i], digest=file_digest(result[i].image))
    return result


def find_copies(records: Sequence[Record]) -> Iterator[Problem]:
    """Files with the same content.

    Each is reported once per split it shares with an earlier one, and if it is not the first
    of its own split.
    """
    groups = defaultdict(list)
    for record in records:
        if record.digest:
            groups[record.digest].append(record)
    for group in groups.values():
        first: dict[str, Record] = {}
        for record in sorted(group, key=lambda r: SPLITS.index(r.split)):
            for split, other in first.items():
                if split != record.split:
                    yield _copy("leak", record, other)
            if record.split in first:
                yield _copy("image-duplicate", record, first[record.split])
            else:
                first[record.split] = record


def _copy(code: str, record: Record, other: Record) -> Problem:
    if record.image == other.image:
        message = f"is in {other.split} and in {record.split}"
    else:
        message = f"the same file as {_name(record, other)}"
        if record.label_digest != other.label_digest:
            message += ", with other labels"
    return Problem(
        code, record.image, 0, message, record.split, record.image, other.image, weight=1.0
    )


def find_near_copies(records: Sequence[Record]) -> Iterator[Problem]:
    """Pictures that differ in size, compression, brightness or direction only.

    Each is reported once per earlier split, and once if an earlier picture of its own split is
    like it, always with the one most alike.
    """
    distinct = {record.digest: record for record in reversed(records) if record.thumb}
    chosen = [record for record in records if record.thumb and distinct[record.digest] is record]
    if len(chosen) < 2:
        return
    thumbs = np.stack([np.frombuffer(r.thumb, np.uint8).reshape(THUMB) for r in chosen])
    pairs = find_similar(thumbs)
    best: dict[tuple[int, str], tuple[float, int, bool]] = {}
    for a, b, correlation, mirrored in zip(
        pairs.first.tolist(),
        pairs.second.tolist(),
        pairs.correlation.tolist(),
        pairs.mirrored.tolist(),
        strict=True,
    ):
        if not _same_ratio(chosen[a], chosen[b]):
            continue
        if SPLITS.index(chosen[a].split) > SPLITS.index(chosen[b].split):
            a, b = b, a
        key = (b, chosen[a].split)
        if key not in best or correlation > best[key][0]:
            best[key] = (correlation, a, mirrored)
    for (b, split), (correlation, a, mirrored) in sorted(best.items()):
        record, other = chosen[b], chosen[a]
        code = "image-similar" if split == record.split else "leak-similar"
        mirror = "mirrored, " if mirrored else ""
        message = f"{mirror}like {_name(record, other)}, correlation {correlation:.3f}"
        yield Problem(
            code,
            record.image,
            0,
            message,
            record.split,
            record.image,
            other.image,
            weight=correlation,
        )


def _same_ratio(a: Record, b: Record) -> bool:
    ratios = [math.log(r.size[1] / r.size[0]) for r in (a, b)]
    return abs(ratios[0] - ratios[1]) <= _RATIO


def _name(record: Record, other: Record) -> str:
    """The other image, with its split if that is another one."""
    return (
        other.image.name if record.split == other.split else f"{other.image.name} in {other.split}"
    )
