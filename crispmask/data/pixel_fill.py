"""Decoding the images of a split once: into memory, or into a file of the cache folder."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import PIL
from numpy.typing import NDArray

from crispmask.atomic import replacing
from crispmask.cache import default_folder, digest_of, file_state, mark_used, remove_old
from crispmask.data import images
from crispmask.data.array_file import DamagedFileError
from crispmask.data.index import DatasetIndex
from crispmask.data.pixels import Layout, PixelCache, end_of_file, load_image, map_pixels
from crispmask.data.processes import usable_cpus
from crispmask.errors import DatasetError
from crispmask.geometry import letterbox

OnProgress = Callable[[int], None]
"""Called now and then with the images that are done."""

_SUFFIX = ".pixels"
_KEPT = 2
"""Files of the images of one folder at one size: of the splits that a list chooses."""


def cache_folder() -> Path:
    """Where the files lie: never in the folder of a dataset."""
    return default_folder() / "pixels"


def free_memory() -> int | None:
    """Bytes this process can still have without pushing others out; None if nobody tells."""
    try:
        status = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:  # not Linux
        pages = getattr(os, "sysconf_names", {})
        if "SC_PHYS_PAGES" not in pages:
            return None
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    free = 1024 * int(status.split("MemAvailable:")[1].split()[0])
    lent = _free_of_container()
    return free if lent is None else min(free, lent)


def _free_of_container() -> int | None:
    """Bytes that are left of what a container or job may use; files it has read do not count."""
    for folder, limit, used, files in (
        ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        (
            "/sys/fs/cgroup/memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ):
        try:
            most = int(Path(folder, limit).read_text(encoding="ascii"))
            now = int(Path(folder, used).read_text(encoding="ascii"))
            rows = Path(folder, "memory.stat").read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):  # no such group, or "max"
            continue
        reclaimable = {row.split()[0]: int(row.split()[1]) for row in rows}.get(files, 0)
        return max(0, most - now + reclaimable)
    return None


def free_disk(folder: Path) -> int:
    """Free bytes on the disk of a folder that may not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def decode_to_memory(
    index: DatasetIndex, imgsz: int, quick: bool, layout: Layout, on_progress: OnProgress
) -> PixelCache:
    """The images in memory without a file on a disk, where the system has that.

    Args:
        index: the split.
        imgsz: longest side.
        quick: as of `load_image`.
        layout: of the images at that size.
        on_progress: told how it goes.

    Raises:
        OSError: there is not enough memory.
    """
    key = _contents_key(index, imgsz, quick)
    if hasattr(os, "memfd_create"):
        holder: Any = os.fdopen(os.memfd_create("crispmask"), "w+b")
        # The name under which other processes of the same user can open it.
        path = Path(f"/proc/{os.getpid()}/fd/{holder.fileno()}")
        _decode(holder, index, imgsz, quick, layout, key, on_progress)
        return map_pixels(path, key, layout, holder)
    folder = tempfile.mkdtemp(prefix="crispmask-")
    path = Path(folder, f"images{_SUFFIX}")
    holder = _Temporary(folder)
    with path.open("w+b") as file:
        _decode(file, index, imgsz, quick, layout, key, on_progress)
    return map_pixels(path, key, layout, holder)


class _Temporary:
    """A folder that is removed with this object, or at the end of the process."""

    def __init__(self, folder: str) -> None:
        self._finalizer = weakref.finalize(self, _remove_own, folder, os.getpid())


def _remove_own(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # not a fork of it
        shutil.rmtree(folder, ignore_errors=True)


def find_on_disk(index: DatasetIndex, imgsz: int, quick: bool, layout: Layout) -> PixelCache | None:
    """The images decoded before, if none of their files has changed since; arguments as below."""
    key = _contents_key(index, imgsz, quick)
    path = _path(index, imgsz, quick, key)
    try:
        found = map_pixels(path, key, layout)
    except (OSError, DamagedFileError):
        return None
    mark_used(path)
    return found


def decode_to_disk(
    index: DatasetIndex, imgsz: int, quick: bool, layout: Layout, on_progress: OnProgress
) -> PixelCache:
    """The images in a file of the cache folder, for this run and later ones.

    Args:
        index: the split.
        imgsz: longest side.
        quick: as of `load_image`.
        layout: of the images at that size.
        on_progress: told how it goes.

    Raises:
        OutputError: the disk is full, or the folder cannot be written to.
    """
    key = _contents_key(index, imgsz, quick)
    path = _path(index, imgsz, quick, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    # What the same folder left before it changed: such files are large.
    remove_old(path.parent, path.name.split("-")[0], _SUFFIX, _KEPT - 1)
    with replacing(path) as partial, partial.open("w+b") as file:
        _decode(file, index, imgsz, quick, layout, key, on_progress)
    return map_pixels(path, key, layout)


def _decode(
    file: IO[bytes],
    index: DatasetIndex,
    imgsz: int,
    quick: bool,
    layout: Layout,
    key: str,
    on_progress: OnProgress,
) -> None:
    """Fills a file on all cores; decoders let other threads run."""
    present = np.zeros(len(index), dtype=bool)
    lock = threading.Lock()
    # All of it first: where the room is missing, this fails and not the last image.
    _reserve(file, layout.num_bytes + len(index) + len(key))

    def decode(i: int) -> None:
        try:
            image = load_image(index, i, imgsz, quick)
        except DatasetError:  # said when it is met in training
            return
        with lock:
            file.seek(int(layout.offsets[i]))
            file.write(np.ascontiguousarray(image).data)
        present[i] = True

    with ThreadPoolExecutor(usable_cpus()) as pool:
        for done, _ in enumerate(pool.map(decode, range(len(index))), 1):
            on_progress(done)
    file.seek(layout.num_bytes)
    file.write(end_of_file(present, key))
    file.flush()


def _reserve(file: IO[bytes], size: int) -> None:
    if hasattr(os, "posix_fallocate") and size:
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


def _path(index: DatasetIndex, imgsz: int, quick: bool, key: str) -> Path:
    folders = sorted({os.path.abspath(os.path.dirname(path)) for path in index.paths()})
    place = digest_of(str((imgsz, quick)), *folders)[:12]
    return cache_folder() / f"{place}-{key}{_SUFFIX}"


def _contents_key(index: DatasetIndex, imgsz: int, quick: bool) -> str:
    """Changes with every image, their order, the size, and the code that decodes."""
    paths = index.paths()
    states = np.array([file_state(path) for path in paths], dtype=np.int64)
    sizes: NDArray[np.int64] = np.ascontiguousarray(index.sizes)
    return digest_of(
        _code(), str((imgsz, quick)), "\0".join(paths), states.tobytes(), sizes.tobytes()
    )


@cache
def _code() -> str:
    """Of how images are decoded: pixels made by other code are not used."""
    files = (images.__file__, letterbox.__file__)
    sources = (Path(file).read_bytes() for file in files)
    return digest_of(cv2.__version__, PIL.__version__, *sources)
