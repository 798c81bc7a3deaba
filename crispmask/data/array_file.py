"""Several arrays in one file that is mapped into memory: processes share it, none reads it all.

A file is MAGIC, length and checksum of the header (uint32 each), the header as JSON, and the
arrays, each at a multiple of 64 bytes. The header has the key, the size of the file, type, shape
and place of every array, and a checksum of each block of the arrays.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crispmask.atomic import replacing

MAGIC = b"crispmask arrays 1\n"

_PREFIX = struct.Struct(f"<{len(MAGIC)}sII")
_ALIGN = 64
_BLOCK = 1 << 24
"""Bytes under one checksum; blocks are checked on several cores."""


class DamagedFileError(Exception):
    """A file that is not what was written, or was written for something else."""


def write_arrays(path: Path, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays; whoever reads meanwhile sees the old file or the new one.

    Args:
        path: in a folder that exists.
        key: what they were made from; asked for again by who reads.
        arrays: by name.

    Raises:
        OutputError: the folder is full or cannot be written.
    """
    table: dict[str, dict[str, Any]] = {}
    blocks = {name: np.ascontiguousarray(array).reshape(-1) for name, array in arrays.items()}
    end = 0
    for name, block in blocks.items():
        start = _aligned(end)
        end = start + block.nbytes
        table[name] = {
            "dtype": block.dtype.str,
            "shape": arrays[name].shape,
            "start": start,
            "checksums": _checksums(block),
        }
    header = json.dumps({"key": key, "bytes": end, "arrays": table}).encode()
    body = _aligned(_PREFIX.size + len(header))
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(_PREFIX.pack(MAGIC, len(header), zlib.crc32(header)))
        file.write(header)
        for name, block in blocks.items():
            file.write(bytes(body + table[name]["start"] - file.tell()))
            file.write(block.view(np.uint8).data)


def map_arrays(path: Path, key: str, check: bool = True) -> dict[str, NDArray[Any]]:
    """The arrays of a file, read-only, in memory that all processes share.

    Args:
        path: of the file.
        key: it must have been written with.
        check: whether to compare all of it with its checksums.

    Raises:
        DamagedFileError: cut off, changed, or written with another key or by another version.
        OSError: no such file, or it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < _PREFIX.size:
            raise DamagedFileError("cut off")
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    magic, length, checksum = _PREFIX.unpack(content[: _PREFIX.size])
    text = content[_PREFIX.size : _PREFIX.size + length]
    if magic != MAGIC or zlib.crc32(text) != checksum:
        raise DamagedFileError("no file of this version")
    header = json.loads(text)
    if header["key"] != key:
        raise DamagedFileError("made from something else")
    start = _aligned(_PREFIX.size + length)
    if size != start + header["bytes"]:
        raise DamagedFileError("cut off")
    body = np.frombuffer(content, dtype=np.uint8)[start:]
    arrays = {}
    for name, entry in header["arrays"].items():
        dtype = np.dtype(entry["dtype"])
        end = entry["start"] + dtype.itemsize * math.prod(entry["shape"])
        block = body[entry["start"] : end]
        if check and _checksums(block) != entry["checksums"]:
            raise DamagedFileError("its content has changed")
        arrays[name] = block.view(dtype).reshape(entry["shape"])
    return arrays


def _aligned(position: int) -> int:
    return -(-position // _ALIGN) * _ALIGN


def _checksums(array: NDArray[Any]) -> list[int]:
    """Of the blocks of a one-dimensional array, on several cores if there are many."""
    content = array.view(np.uint8).data
    blocks = [content[i : i + _BLOCK] for i in range(0, len(content), _BLOCK)]
    if len(blocks) < 2:
        return list(map(zlib.crc32, blocks))
    with ThreadPoolExecutor() as pool:
        return list(pool.map(zlib.crc32, blocks))
