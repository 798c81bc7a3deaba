"""Which image and which class a row of another program's results file means."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from crispmask.errors import DatasetError

log = logging.getLogger(__name__)

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ImageIds:
    """From what rows say to image ids of the ground truth.

    Attributes:
        ids: our id by what a row says, -1 for a name that several images share.
        by_name: whether rows name files.
        rule: how images are named, for messages.
    """

    ids: Mapping[str | int, int]
    by_name: bool
    rule: str

    def said(self, row: Row) -> str:
        """What a row says, for messages."""
        if self.by_name and "file_name" in row:
            return f"file_name {row['file_name']!r}"
        return f"image_id {row['image_id']!r}"

    def of(self, row: Row) -> int | None:
        """Our id of the image of a row, None if there is no such image.

        Raises:
            ValueError: several images have that name.
        """
        said = row.get("file_name", row["image_id"]) if self.by_name else row["image_id"]
        if not self.by_name:
            return self.ids.get(said) if isinstance(said, (int, str)) else None
        found = None
        for name in _spellings(str(said)):
            found = self.ids.get(name)
            if found is not None:
                break
        if found == -1:
            raise ValueError(f"several images of the split are {self.said(row)}; name the folder")
        return found


@dataclass(frozen=True, slots=True)
class CategoryIds:
    """From the category ids of a file to those of the ground truth.

    Attributes:
        ids: our id by theirs.
        rule: how classes are numbered, for messages.
    """

    ids: Mapping[int, int]
    rule: str

    def of(self, row: Row) -> int | None:
        """Our category id of a row, None if there is no such class."""
        said = row["category_id"]
        return self.ids.get(said) if isinstance(said, int) and not isinstance(said, bool) else None


def _spellings(name: str) -> list[str]:
    """How a file can be named, the most exact one first."""
    path = PurePosixPath(name.replace("\\", "/"))
    whole = path.as_posix()
    return [whole, whole.removesuffix(path.suffix), path.name, path.stem, _plain(path.stem)]


def _plain(stem: str) -> str:
    """A number without its zeros: programs write the image id of 000042.jpg as 42."""
    return str(int(stem)) if stem.isdecimal() else stem


def _by_name(ground_truth: Mapping[str, Any]) -> dict[str | int, int]:
    """Our ids by all spellings of file names; -1 where a short one is shared."""
    ids: dict[str | int, int] = {}
    for image in ground_truth["images"]:
        for name in dict.fromkeys(_spellings(image["file_name"])):
            ids[name] = -1 if name in ids else int(image["id"])
    for image in ground_truth["images"]:  # a whole name is never shared
        ids[PurePosixPath(image["file_name"]).as_posix()] = int(image["id"])
    return ids


def find_images(
    path: Path,
    rows: Sequence[Row],
    ground_truth: Mapping[str, Any],
    ids_of: Path | None,
    wanted: Literal["auto", "ids", "names"],
) -> ImageIds:
    """How the rows of a file name images.

    Args:
        path: of the file, for messages.
        rows: with `image_id`, some with `file_name`.
        ground_truth: `images` with `id` and `file_name`.
        ids_of: a COCO annotation file with the image ids of the rows.
        wanted: what numbers are that can be both ids and names.

    Raises:
        DatasetError: a file `ids_of` that cannot be read, or whose names are those of several.
    """
    names = _by_name(ground_truth)
    own: dict[str | int, int] = {
        int(image["id"]): int(image["id"]) for image in ground_truth["images"]
    }
    if ids_of is not None:
        known = ImageIds(names, True, "")
        ids: dict[str | int, int] = {}
        for their_id, file_name in _table(ids_of, "images", "file_name").items():
            try:
                found = known.of({"image_id": their_id, "file_name": file_name})
            except ValueError as error:
                raise DatasetError(f"{ids_of}: {error}") from error
            if found is not None:
                ids[their_id] = found
        return ImageIds(ids, False, f"ids are those of {ids_of}")
    spoken = {row["image_id"] for row in rows if isinstance(row["image_id"], (int, str))}
    named = any("file_name" in row for row in rows) or any(isinstance(s, str) for s in spoken)
    by_name = ImageIds(names, True, "images are named by file name, with or without suffix")
    by_id = ImageIds(own, False, f"ids are 1 to {len(own)}, as `crispmask convert` counts them")
    if named or wanted == "names":
        return by_name
    if wanted == "ids":
        return by_id
    as_name = {said: names.get(_plain(str(said))) for said in spoken}
    fits_ids = all(said in own for said in spoken)
    fits_names = all(found is not None for found in as_name.values())
    if fits_ids and fits_names and any(as_name[said] != own[said] for said in spoken):
        log.warning(
            "%s: its image ids are taken for those of `crispmask convert`; if they are the numbers "
            "that files are named by, say --image-ids names",
            path,
        )
    return by_name if fits_names and not fits_ids else by_id


def find_categories(
    path: Path, rows: Sequence[Row], ground_truth: Mapping[str, Any], ids_of: Path | None
) -> CategoryIds:
    """How the rows of a file number classes.

    Args:
        path: of the file, for messages.
        rows: with `category_id`.
        ground_truth: `categories` with `id`, label + 1, and `name`.
        ids_of: a COCO annotation file with the categories of the rows.

    Raises:
        DatasetError: a class of the ground truth that `ids_of` does not have.
    """
    own = {category["name"]: int(category["id"]) for category in ground_truth["categories"]}
    if ids_of is not None:
        theirs = _table(ids_of, "categories", "name")
        if not set(theirs.values()) & set(own):
            raise DatasetError(
                f"{ids_of}: none of its categories is a class of the dataset: {', '.join(own)}"
            )
        ids = {their_id: own[name] for their_id, name in theirs.items() if name in own}
        return CategoryIds(ids, f"categories are those of {ids_of}, by name")
    first = 0 if any(row["category_id"] == 0 for row in rows) else 1
    ids = {our_id - 1 + first: our_id for our_id in own.values()}
    rule = f"classes are numbered from {first} to {len(own) - 1 + first}"
    return CategoryIds(ids, rule if first else f"{rule}, because a row has 0")


def _table(path: Path, rows: str, name: str) -> dict[int, str]:
    """Names by id from a COCO annotation file."""
    try:
        content = json.loads(path.read_bytes())
        return {row["id"]: str(row[name]) for row in content[rows]}
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path}: not a COCO annotation file, it needs {rows} with id and {name}"
        ) from error
