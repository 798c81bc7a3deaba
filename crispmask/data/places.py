"""Where the images of a dataset are: paths as written in a data.yaml, folders of images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    {
        *(".avif", ".bmp", ".dng", ".heic", ".heif", ".jp2", ".jpeg", ".jpg", ".mpo", ".png"),
        *(".tif", ".tiff", ".webp"),
    }
)
"""Files with these suffixes, in either case, are images."""


def as_path(text: str) -> Path:
    """A path as written in a data.yaml, perhaps on Windows."""
    # Path.expanduser would raise for a name that no user has.
    return Path(os.path.expanduser(text.strip().replace("\\", "/")))


def absolute(path: Path) -> Path:
    """The path without `..`; links stay, because labels are looked for beside the link."""
    return Path(os.path.abspath(path))


def candidates(entry: str, roots: list[Path]) -> list[Path]:
    """Where an entry may be: in each root, also without a leading `../` (Roboflow's exports)."""
    path = as_path(entry)
    paths = [absolute(root / path) for root in roots]
    if path.parts[:1] == ("..",):
        paths += [absolute(root / Path(*path.parts[1:])) for root in roots]
    return list(dict.fromkeys(paths))


def find_images(folder: Path) -> Iterator[str]:
    """Paths of all images below a folder, hidden ones left out; links to folders are followed."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.join(place, name) for name in files if _is_image(name))


def _is_image(name: str) -> bool:
    # macOS leaves `._photo.jpg` beside photo.jpg on foreign disks.
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def suffix_text() -> str:
    """The suffixes of images, for messages."""
    return " ".join(sorted(IMAGE_SUFFIXES))
