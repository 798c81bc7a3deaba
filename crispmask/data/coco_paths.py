"""Where the images of a COCO file are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from crispmask.data.places import find_images
from crispmask.errors import DatasetError


def find_images_of(
    file: Path, names: Sequence[str], folders: Sequence[Path], split: str, fix: str
) -> list[str]:
    """The image files: where their names say, in a folder called as the split, or below.

    Args:
        file: the COCO file.
        names: of its images, as written there.
        folders: that names may start from, the most likely one first.
        split: what the images are for: train, val or test.
        fix: what names their folder and may be wrong, for messages.

    Raises:
        DatasetError: some are missing, or may be one of several.
    """
    inside = ["", "images"]
    for name in dict.fromkeys((file.stem.removeprefix("instances_"), split)):
        inside += [name, os.path.join("images", name)]
    places = [os.path.join(folder, name) for folder in folders for name in inside]
    below: dict[str, list[str]] | None = None
    found, missing = [], []
    for name in names:
        tried = (os.path.normpath(os.path.join(place, name)) for place in places)
        direct = next((path for path in tried if os.path.isfile(path)), None)
        if direct is not None:
            found.append(direct)
            continue
        if below is None:
            below = _images_below(folders)
        others = below.get(os.path.basename(name), [])
        if len(others) > 1:
            raise DatasetError(
                f"{file}: {name} may be {others[0]} or {others[1]}; {fix} to the folder of the "
                "right one"
            )
        found += others
        missing += [] if others else [name]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        where = " or ".join(str(folder) for folder in folders)
        raise DatasetError(
            f"{file}: {len(missing)} images are not in {where}: {', '.join(missing[:3])}{more}; "
            f"{fix} or add them"
        )
    return found


def _images_below(folders: Sequence[Path]) -> dict[str, list[str]]:
    """All images below the folders by name; one that is in several of these only once."""
    paths = {
        os.path.normpath(path): None for folder in folders for path in sorted(find_images(folder))
    }
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault(os.path.basename(path), []).append(path)
    return found
