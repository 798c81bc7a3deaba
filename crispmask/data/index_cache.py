"""The index of a split, kept in the cache folder until one of its files changes."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crispmask.cache import (
    VARIABLE,
    default_folder,
    digest_of,
    file_state,
    mark_used,
    newest_first,
    remove_old,
)
from crispmask.data.array_file import DamagedFileError, map_arrays, write_arrays
from crispmask.data.index import ARRAYS, DatasetIndex, map_index
from crispmask.data.paths import label_text
from crispmask.errors import OutputError
from crispmask.version import __version__

_SUFFIX = ".index"
_KEPT = 4
"""Indexes of one folder: a few, because several lists may choose from the same images."""

_TICK = 2 * 10**9
"""Nanoseconds: the coarsest clock of a file system. A file written just now may be written
again without a change of its time."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Files:
    """The images of a split and their label files, as they are now.

    Attributes:
        images: paths.
        num_classes: labels must be below.
        states: (I, 4) int64: size and time of each image, and of its label file; -1 if there
            is no such file.
        source: the COCO files and class names that the labels come from; empty if they come
            from label files.
    """

    images: tuple[str, ...]
    num_classes: int
    states: NDArray[np.int64]
    source: str = ""

    @property
    def folder_key(self) -> str:
        """The same for all splits of the same folders that are read in the same way."""
        folders = {os.path.dirname(path) for path in self.images}
        places = sorted(map(os.path.abspath, folders))
        return digest_of(_code(), self.num_classes, self.source, *places)[:12]

    @property
    def key(self) -> str:
        """Changes with every file, their order, the number of classes and how they are read."""
        return digest_of(self.folder_key, "\0".join(self.images), self.states.tobytes())

    @property
    def path(self) -> Path:
        """The file of their index."""
        return _folder() / f"{self.folder_key}-{self.key}{_SUFFIX}"

    @property
    def settled(self) -> bool:
        """Whether none was written just now."""
        return not (abs(self.states[:, 1::2] - time.time_ns()) < _TICK).any()


def _folder() -> Path:
    return default_folder() / "index"


def look_at(
    images: Sequence[str],
    num_classes: int,
    coco: Sequence[FileState] | None = None,
    source: str = "",
) -> Files:
    """Size and time of each image and of the file with its labels.

    Args:
        images: paths.
        num_classes: labels must be below.
        coco: the COCO file of each image; None if they have label files.
        source: as of `Files`.
    """
    states = np.full((len(images), 4), -1, dtype=np.int64)
    for i, path in enumerate(images):
        states[i, :2] = file_state(path)
        states[i, 2:] = (
            file_state(label_text(path)) if coco is None else (coco[i].size, coco[i].time)
        )
    return Files(tuple(images), num_classes, states, source)


@dataclass(frozen=True, slots=True)
class FileState:
    """A file that is kept in another form, as it is now.

    Attributes:
        path: of it, as text.
        size: bytes; -1 if there is no such file.
        time: of its last change, nanoseconds.
    """

    path: str
    size: int
    time: int

    @property
    def key(self) -> str:
        """Changes with the file and how it is read."""
        return digest_of(_code(), self.path, self.size, self.time)

    @property
    def settled(self) -> bool:
        """Whether it was not written just now."""
        return abs(self.time - time.time_ns()) >= _TICK

    def place(self, kind: str) -> Path:
        """Where its other form is kept."""
        return _folder() / f"{self._prefix(kind)}-{self.key}{_SUFFIX}"

    def remove_old(self, kind: str) -> None:
        """Removes the forms of earlier states."""
        remove_old(_folder(), self._prefix(kind), _SUFFIX, _KEPT)

    def _prefix(self, kind: str) -> str:
        return f"{kind}{digest_of(self.path)[:12]}"


def state_of(path: Path) -> FileState:
    """The state of a file now."""
    return FileState(str(path), *file_state(str(path)))


def find_index(files: Files) -> DatasetIndex | None:
    """The index made from these files before, mapped into memory; None if there is none."""
    path = files.path
    try:
        index = map_index(path, files.key, check=True)
    except FileNotFoundError:
        return None
    except (OSError, DamagedFileError) as error:
        _logger.warning("%s: not used (%s); the labels are read again", path, error)
        return None
    mark_used(path)
    return index


def keep_index(index: DatasetIndex, files: Files) -> DatasetIndex:
    """Writes an index for the next time and returns it mapped; itself if that cannot be."""
    if not files.settled:
        return index
    path = files.path
    arrays = {name: getattr(index, name) for name in ARRAYS}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(path, files.key, {**arrays, "states": files.states})
        remove_old(_folder(), files.folder_key, _SUFFIX, _KEPT)
        return map_index(path, files.key)
    except (OSError, OutputError, DamagedFileError) as error:
        _logger.warning(
            "%s: the index cannot be kept (%s); the next run reads the labels again, unless %s "
            "names a folder with room",
            path.parent,
            error,
            VARIABLE,
        )
        return index


def find_unchanged(files: Files) -> tuple[DatasetIndex, NDArray[np.int64]] | None:
    """An earlier index of the same folder, and what of it still holds.

    Returns:
        The index and (I,) the position in it of each image, -1 where the image, its label file
        or both are new or have changed; None if there is no such index.
    """
    path = next(iter(newest_first(_folder(), files.folder_key, _SUFFIX)), None)
    if path is None:
        return None
    try:
        key = path.stem.removeprefix(f"{files.folder_key}-")
        states = map_arrays(path, key)["states"]
        index = map_index(path, key)
    except (OSError, DamagedFileError):
        return None
    before = {image: i for i, image in enumerate(index.paths())}
    found = np.array([before.get(image, -1) for image in files.images], dtype=np.int64)
    known = np.flatnonzero(found >= 0)
    changed = (states[found[known]] != files.states[known]).any(axis=1)
    found[known[changed]] = -1
    return index, found


@cache
def _code() -> str:
    """Of how files are read: an index made by other code is not used."""
    data = Path(__file__).parent
    folders = (data, data.parent / "geometry")
    sources = [source for folder in folders for source in sorted(folder.glob("*.py"))]
    return digest_of(__version__, *(source.read_bytes() for source in sources))
