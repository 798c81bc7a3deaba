"""Label files that belong to no image, or to two."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from crispmask.data.paths import label_path
from crispmask.data.places import IMAGE_SUFFIXES
from crispmask.doctor.kinds import Problem

_NO_LABELS = frozenset({"classes", "labels", "notes", "obj", "readme", "train", "val", "test"})
"""Names of text files that tools put beside label files."""


def find_shared(images: Mapping[str, Sequence[Path]]) -> Iterator[Problem]:
    """Images of one split that have the same label file.

    Args:
        images: by split.
    """
    for split, paths in images.items():
        owners: dict[Path, Path] = {}
        for path in paths:
            file = label_path(path)
            first = owners.setdefault(file, path)
            if first != path:
                message = f"belongs to {first.name} and to {path.name}"
                yield Problem("label-shared", file, 0, message, split, path, first)


def find_orphans(images: Iterable[Path]) -> Iterator[Problem]:
    """Label files without an image, in all folders where labels are looked for.

    A file counts if its first row begins with a number, or if it is empty. It is no orphan
    while its image exists and is only not listed in any split.

    Args:
        images: of all splits.
    """
    expected = set()
    image_folders: dict[Path, set[Path]] = defaultdict(set)
    for path in images:
        file = label_path(path)
        expected.add(file)
        image_folders[file.parent].add(path.parent)
    seen: set[Path] = set()
    for top in sorted(image_folders):
        for folder in _folders(top, seen):
            sources = image_folders.get(folder) or _image_folder_of(folder, top, image_folders)
            stems = {stem for source in sources for stem in _image_stems(source)}
            for file in sorted(_text_files(folder)):
                if file not in expected and file.stem not in stems and _holds_labels(file):
                    near = next((s for s in stems if s.lower() == file.stem.lower()), None)
                    hint = f"; {near} differs in case" if near else ""
                    yield Problem("label-orphan", file, 0, f"no image {file.stem}.*{hint}")


def _folders(top: Path, seen: set[Path]) -> Iterator[Path]:
    """The folder and all below, except those seen before."""
    for place, folders, _ in os.walk(top):
        folder = Path(place)
        if folder in seen:
            folders.clear()
            continue
        seen.add(folder)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield folder


def _image_folder_of(folder: Path, top: Path, image_folders: Mapping[Path, set[Path]]) -> set[Path]:
    """Where the images of a label folder would be that no split needs."""
    return {source / folder.relative_to(top) for source in image_folders[top]}


def _image_stems(folder: Path) -> set[str]:
    try:
        return {p.stem for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES}
    except OSError:  # not there
        return set()


def _text_files(folder: Path) -> list[Path]:
    try:
        return [
            path
            for path in folder.iterdir()
            if path.suffix == ".txt"
            and not path.name.startswith(".")
            and path.stem.lower() not in _NO_LABELS
        ]
    except OSError:  # not there or not readable; what is in it is reported as missing
        return []


def _holds_labels(file: Path) -> bool:
    """Whether a text file is empty or begins with the number of a class."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as lines:
            words = next((line.split() for line in lines if line.strip()), None)
    except OSError:
        return False
    return words is None or (len(words) > 4 and words[0].replace(".", "", 1).isdigit())
