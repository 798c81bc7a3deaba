"""data.yaml: which images a dataset has and what its classes are called."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from crispmask.errors import DatasetError

IMAGE_SUFFIXES = frozenset(
    {
        *(".avif", ".bmp", ".dng", ".heic", ".heif", ".jp2", ".jpeg", ".jpg", ".mpo", ".png"),
        *(".tif", ".tiff", ".webp"),
    }
)
"""Files with these suffixes, in either case, are images."""


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """What a data.yaml says.

    Attributes:
        file: the data.yaml.
        root: folder its relative paths start from.
        names: class names by label.
        train: image paths, absolute and sorted.
        val: the same for validation.
        test: the same for testing; empty if there is none.
    """

    file: Path
    root: Path
    names: tuple[str, ...]
    train: tuple[Path, ...]
    val: tuple[Path, ...]
    test: tuple[Path, ...] = ()


def read_spec(data: str | Path) -> DatasetSpec:
    """Reads a data.yaml and finds the images it names; `download` is never run.

    Args:
        data: path of the file, or of the folder that holds data.yaml.

    Raises:
        DatasetError: names file, line and fix.
    """
    path = Path(data).expanduser()
    return _Yaml(path / "data.yaml" if path.is_dir() else path).spec()


class _Yaml:
    """A data.yaml with the lines of its keys, for messages."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lines: dict[str, int] = {}
        self.values = self._parse()

    def spec(self) -> DatasetSpec:
        roots = self._roots()
        names = self._names()
        for split, others in (("train", ()), ("val", ("validation", "valid"))):
            if not any(key in self.values for key in (split, *others)):
                raise DatasetError(
                    f"{self.file}: no '{split}'; add a line such as {split}: images/{split}"
                )
        val = next(key for key in ("val", "validation", "valid") if key in self.values)
        has_test = "test" in self.values and self._test_exists(roots)
        return DatasetSpec(
            file=self.file,
            root=next((root for root in roots if root.is_dir()), roots[0]),
            names=names,
            train=self._images("train", roots),
            val=self._images(val, roots),
            test=self._images("test", roots) if has_test else (),
        )

    def _parse(self) -> dict[str, Any]:
        try:
            text = self.file.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise DatasetError(
                f"{self.file}: no such file; give the path of a data.yaml or of its folder"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(
                f"{self.file}: cannot be read as text ({error}); give the path of a data.yaml"
            ) from error
        # The base loader makes no object, and takes every value as the text that is written: a
        # class named `no` or `1e3` stays one.
        try:
            loader = yaml.BaseLoader(text)
            node = loader.get_single_node()
            keys = [key for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
            values = loader.construct_document(node) if keys else {}
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise DatasetError(
                f"{self.file}:{line}: not YAML, {error.problem}; check colons, indents and quotes"
            ) from error
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise DatasetError(f"{self.file}: not YAML, {reason}; save it as text") from error
        if not keys:
            raise DatasetError(f"{self.file}: no keys; it needs train, val and names")
        for key in keys:
            line = key.start_mark.line + 1
            if key.value in self.lines:
                raise DatasetError(
                    f"{self.file}:{line}: '{key.value}' is there twice, first in line "
                    f"{self.lines[key.value]}; remove one"
                )
            self.lines[key.value] = line
        return values

    def _error(self, key: str, message: str) -> DatasetError:
        return DatasetError(f"{self.file}:{self.lines[key]}: {message}")

    def _roots(self) -> list[Path]:
        """Folders that relative paths may start from, the most likely one first."""
        folder = Path(os.path.abspath(self.file.parent))
        value = self.values.get("path")
        if _is_none(value):
            return [folder]
        if not isinstance(value, str):
            raise self._error("path", "path is not a text; write one folder")
        given = _as_path(value)
        # A set: both are the same when we are in the folder of the file.
        roots = list(dict.fromkeys(_absolute(base / given) for base in (folder, Path.cwd())))
        found = [root for root in roots if root.is_dir()]
        if not found:
            tried = " or ".join(map(str, roots))
            raise self._error(
                "path", f"no folder {tried}; correct path, or remove it to start at this file"
            )
        return found

    def _names(self) -> tuple[str, ...]:
        """Class names from `names`, from `nc`, or from both if they agree."""
        count = self._count() if not _is_none(self.values.get("nc")) else None
        if _is_none(self.values.get("names")):
            if count is None:
                raise DatasetError(
                    f"{self.file}: no 'names'; add the class names, e.g. names: [cat, dog]"
                )
            return tuple(f"class_{label}" for label in range(count))
        value = self.values["names"]
        if isinstance(value, dict):
            value = self._names_by_label(value)
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise self._error("names", "names is no list; write e.g. names: [cat, dog]")
        names = tuple(name.strip() for name in value)
        if not names:
            raise self._error("names", "names is empty; write the class names")
        for label, name in enumerate(names):
            if not name:
                raise self._error("names", f"the name of class {label} is empty; write one")
            if name in names[:label]:
                raise self._error(
                    "names",
                    f"classes {names.index(name)} and {label} are both called {name!r}; rename one",
                )
        if count is not None and count != len(names):
            raise self._error(
                "nc", f"nc is {count} but there are {len(names)} names; correct or remove nc"
            )
        return names

    def _names_by_label(self, value: dict[str, Any]) -> list[Any]:
        try:
            by_label = {int(label): name for label, name in value.items()}
        except ValueError:
            by_label = {}
        if len(by_label) != len(value) or sorted(by_label) != list(range(len(value))):
            raise self._error(
                "names",
                f"the keys of names are {', '.join(map(str, value))}; number the classes "
                "0, 1, 2 ... without a gap",
            )
        return [by_label[label] for label in range(len(by_label))]

    def _count(self) -> int:
        try:
            count = int(self.values["nc"])
        except (TypeError, ValueError):
            count = 0
        if count < 1:
            raise self._error("nc", "nc is not a number from 1 up; write the number of classes")
        return count

    def _entries(self, key: str) -> list[str]:
        value = self.values[key]
        entries = value if isinstance(value, list) else [value]
        if not entries or not all(isinstance(e, str) and not _is_none(e) for e in entries):
            raise self._error(key, f"{key} is no path; write e.g. {key}: images/{key}")
        return entries

    def _images(self, key: str, roots: list[Path]) -> tuple[Path, ...]:
        """The images of a split; a split of several folders has each image once."""
        found: set[Path] = set()
        for entry in self._entries(key):
            place = next((p for p in _candidates(entry, roots) if p.exists()), None)
            if place is None:
                tried = " or ".join(map(str, _candidates(entry, roots)))
                hint = ", or fetch the dataset" if "download" in self.values else ""
                raise self._error(key, f"no folder {tried}; correct {key} or path{hint}")
            if place.is_dir():
                images = set(_find_images(place))
            elif place.suffix.lower() == ".txt":
                images = set(_read_list(place, roots))
            else:
                raise self._error(key, f"{place} is neither a folder nor a .txt list of images")
            if not images:
                raise self._error(
                    key, f"no images in {place}; put some there ({_suffix_text()}) or correct {key}"
                )
            found |= images
        return tuple(sorted(found))

    def _test_exists(self, roots: list[Path]) -> bool:
        """Whether there is anything to test on: exports name a folder that was never made."""
        if _is_none(self.values["test"]):
            return False
        return all(
            any(p.exists() for p in _candidates(entry, roots)) for entry in self._entries("test")
        )


def _is_none(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip() in ("", "~", "null", "None"))


def _as_path(text: str) -> Path:
    """A path as written in a data.yaml, perhaps on Windows."""
    return Path(text.strip().replace("\\", "/")).expanduser()


def _absolute(path: Path) -> Path:
    """The path without `..`; links stay, because labels are looked for beside the link."""
    return Path(os.path.abspath(path))


def _candidates(entry: str, roots: list[Path]) -> list[Path]:
    """Where an entry may be: in each root, also without a leading `../` (Roboflow's exports)."""
    path = _as_path(entry)
    paths = [_absolute(root / path) for root in roots]
    if path.parts[:1] == ("..",):
        paths += [_absolute(root / Path(*path.parts[1:])) for root in roots]
    return list(dict.fromkeys(paths))


def _find_images(folder: Path) -> Iterator[Path]:
    """All images below a folder, hidden ones left out; links to folders are followed."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in files if _is_image(name))


def _is_image(name: str) -> bool:
    # macOS leaves `._photo.jpg` beside photo.jpg on foreign disks.
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _read_list(file: Path, roots: Iterable[Path]) -> Iterator[Path]:
    """The images a .txt list names, one per line; blank lines and those with # are left out."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file}: cannot be read as text ({error}); save it again") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        path = _as_path(line)
        # `./` is relative to the list by convention; for others we look around.
        places = (file.parent,) if line.strip().startswith("./") else (file.parent, *roots, Path())
        tried = [_absolute(place / path) for place in places]
        found = next((candidate for candidate in tried if candidate.is_file()), None)
        if found is None:
            raise DatasetError(
                f"{file}:{number}: no image {tried[0]}; correct the path or remove the line"
            )
        if found.suffix.lower() not in IMAGE_SUFFIXES:
            raise DatasetError(
                f"{file}:{number}: {found.name} is no image; use one of {_suffix_text()}"
            )
        yield found


def _suffix_text() -> str:
    return " ".join(sorted(IMAGE_SUFFIXES))
