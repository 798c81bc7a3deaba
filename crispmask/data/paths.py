"""Many image paths at little cost, and where the labels of an image are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import overload


class ImagePaths(Sequence[Path]):
    """Paths of images, kept as text: a `Path` takes ten times as long to make and to compare.

    Equal to any sequence of the same paths.

    Args:
        texts: paths as text.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts = tuple(texts)

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, i: int) -> Path: ...

    @overload
    def __getitem__(self, i: slice) -> ImagePaths: ...

    def __getitem__(self, i: int | slice) -> Path | ImagePaths:
        return ImagePaths(self.texts[i]) if isinstance(i, slice) else Path(self.texts[i])

    def take(self, positions: Sequence[int]) -> ImagePaths:
        """The images at these positions, in this order."""
        return ImagePaths(self.texts[i] for i in positions)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sequence) and not isinstance(other, str):
            return self.texts == texts_of(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.texts)

    def __repr__(self) -> str:
        return f"ImagePaths({self.texts!r})"


NO_IMAGES = ImagePaths()


def texts_of(paths: Iterable[Path | str]) -> tuple[str, ...]:
    """Paths as text."""
    if isinstance(paths, ImagePaths):
        return paths.texts
    return tuple(os.fspath(path) for path in paths)


def sorted_paths(texts: Iterable[str]) -> ImagePaths:
    """Paths in the order in which `Path` sorts them: by folder, then by name."""
    return ImagePaths(sorted(texts, key=lambda text: text.replace(os.sep, "\0")))


def common_folder(folders: Iterable[Path]) -> Path | None:
    """The deepest folder that holds all of these; None if there is none: two drives of Windows."""
    try:
        return Path(os.path.commonpath(list(folders)))
    except ValueError:
        return None


def path_from(path: str | Path, folder: str | Path) -> str:
    """The way from a folder to a path; the path itself where it is on another drive of Windows."""
    try:
        return os.path.relpath(path, folder)
    except ValueError:
        return str(path)


def label_path(image: Path) -> Path:
    """The label file of an image: the last folder `images` becomes `labels`, the suffix .txt.

    Without such a folder it lies beside the image.
    """
    return Path(label_text(str(image)))


def label_text(image: str) -> str:
    """The same for paths as text."""
    folder, name = os.path.split(image)
    dot = name.rfind(".")
    stem = name[:dot] if 0 < dot < len(name) - 1 else name
    return os.path.join(_label_folder(folder), f"{stem}.txt")


@lru_cache(maxsize=256)
def _label_folder(folder: str) -> str:
    parts = list(Path(folder).parts)
    for i in reversed(range(len(parts))):
        if parts[i] == "images":
            parts[i] = "labels"
            break
    return str(Path(*parts)) if parts else ""
