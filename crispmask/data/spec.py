"""data.yaml: which images a dataset has and what its classes are called."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from crispmask.data.paths import NO_IMAGES, ImagePaths, sorted_paths
from crispmask.data.places import (
    IMAGE_SUFFIXES,
    absolute,
    as_path,
    candidates,
    find_images,
    suffix_text,
)
from crispmask.errors import DatasetError


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
    train: ImagePaths
    val: ImagePaths
    test: ImagePaths = NO_IMAGES


SpecProblemKind = Literal["key", "path", "names", "nc", "split", "list"]
"""What is wrong: a key that is there twice, `path`, `names`, `nc`, the place of a split, or a line
in a .txt list of images."""


@dataclass(frozen=True, slots=True)
class SpecProblem:
    """Why a dataset is not as its data.yaml says.

    Attributes:
        kind: what is wrong.
        file: the data.yaml, or a list of images.
        line: of the file, from 1; 0 if it is the file as a whole.
        message: the same in words, and what to do.
    """

    kind: SpecProblemKind
    file: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.message}"


def read_spec(data: str | Path) -> DatasetSpec:
    """Reads a data.yaml and finds the images it names; `download` is never run.

    Args:
        data: path of the file, or of the folder that holds data.yaml.

    Raises:
        DatasetError: names file, line and fix.
    """
    return _Yaml(_yaml_file(data)).spec()


def inspect_spec(data: str | Path) -> tuple[DatasetSpec, list[SpecProblem]]:
    """What can be read of a dataset in spite of its problems, and all of these.

    A split that cannot be found has no images. Without usable `names` and `nc` there are no
    class names; where the two disagree there is a name for each class of the longer.

    Raises:
        DatasetError: the file is missing or no YAML.
    """
    problems: list[SpecProblem] = []
    spec = _Yaml(_yaml_file(data), problems).spec()
    return spec, list(dict.fromkeys(problems))


def _yaml_file(data: str | Path) -> Path:
    path = Path(data).expanduser()
    return path / "data.yaml" if path.is_dir() else path


class _Yaml:
    """A data.yaml with the lines of its keys, for messages.

    Args:
        file: its path.
        problems: takes what is wrong with it; without it the first problem is raised.
    """

    def __init__(self, file: Path, problems: list[SpecProblem] | None = None) -> None:
        self.file = file
        self.problems = problems
        self.lines: dict[str, int] = {}
        self.values = self._parse()

    def spec(self) -> DatasetSpec:
        roots = self._roots()
        names = self._names()
        for split, others in (("train", ()), ("val", ("validation", "valid"))):
            if not any(key in self.values for key in (split, *others)):
                self._report("split", f"no '{split}'; add a line such as {split}: images/{split}")
        val = next((key for key in ("val", "validation", "valid") if key in self.values), "val")
        has_test = "test" in self.values and self._test_exists(roots)
        return DatasetSpec(
            file=self.file,
            root=next((root for root in roots if root.is_dir()), roots[0]),
            names=names,
            train=self._images("train", roots),
            val=self._images(val, roots),
            test=self._images("test", roots) if has_test else NO_IMAGES,
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
                first = self.lines[key.value]
                self.lines[key.value] = line
                self._report(
                    "key",
                    f"'{key.value}' is there twice, first in line {first}; remove one",
                    key.value,
                )
            self.lines[key.value] = line
        return values

    def _report(
        self,
        kind: SpecProblemKind,
        message: str,
        key: str = "",
        place: tuple[Path, int] | None = None,
    ) -> None:
        """Raises a problem, or collects it: the caller then goes on with what there is.

        Args:
            kind: of the problem.
            message: what is wrong and what to do.
            key: the key of data.yaml whose line it is.
            place: file and line, if not in data.yaml.
        """
        file, line = place or (self.file, self.lines.get(key, 0))
        problem = SpecProblem(kind, file, line, message)
        if self.problems is None:
            raise DatasetError(str(problem))
        self.problems.append(problem)

    def _roots(self) -> list[Path]:
        """Folders that relative paths may start from, the most likely one first."""
        folder = absolute(self.file.parent)
        value = self.values.get("path")
        if _is_none(value):
            return [folder]
        if not isinstance(value, str):
            self._report("path", "path is not a text; write one folder", "path")
            return [folder]
        given = as_path(value)
        # A set: both are the same when we are in the folder of the file.
        roots = list(dict.fromkeys(absolute(base / given) for base in (folder, Path.cwd())))
        found = [root for root in roots if root.is_dir()]
        if not found:
            tried = " or ".join(map(str, roots))
            self._report(
                "path",
                f"no folder {tried}; correct path, or remove it to start at this file",
                "path",
            )
        return found or [folder]

    def _names(self) -> tuple[str, ...]:
        """Class names from `names`, from `nc`, or from both if they agree."""
        count = self._count() if not _is_none(self.values.get("nc")) else None
        numbered = tuple(f"class_{label}" for label in range(count or 0))
        if _is_none(self.values.get("names")):
            if count is None:
                self._report("names", "no 'names'; add the class names, e.g. names: [cat, dog]")
            return numbered
        value = self.values["names"]
        if isinstance(value, dict):
            value = self._names_by_label(value)
            if value is None:
                return numbered
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self._report("names", "names is no list; write e.g. names: [cat, dog]", "names")
            return numbered
        names = tuple(name.strip() for name in value)
        if not names:
            self._report("names", "names is empty; write the class names", "names")
        for label, name in enumerate(names):
            if not name:
                self._report("names", f"the name of class {label} is empty; write one", "names")
            elif name in names[:label]:
                self._report(
                    "names",
                    f"classes {names.index(name)} and {label} are both called {name!r}; rename one",
                    "names",
                )
        if count is not None and count != len(names):
            self._report(
                "nc", f"nc is {count} but there are {len(names)} names; correct or remove nc", "nc"
            )
        return names + numbered[len(names) :]

    def _names_by_label(self, value: dict[str, Any]) -> list[Any] | None:
        """The names in the order of their labels; None if that has gaps."""
        try:
            by_label = {int(label): name for label, name in value.items()}
        except ValueError:
            by_label = {}
        if len(by_label) != len(value) or sorted(by_label) != list(range(len(value))):
            self._report(
                "names",
                f"the keys of names are {', '.join(map(str, value))}; number the classes "
                "0, 1, 2 ... without a gap",
                "names",
            )
            return None
        return [by_label[label] for label in range(len(by_label))]

    def _count(self) -> int | None:
        """The number of classes by `nc`; None if it says none."""
        try:
            count = int(self.values["nc"])
        except (TypeError, ValueError):
            count = 0
        if count < 1:
            self._report("nc", "nc is not a number from 1 up; write the number of classes", "nc")
            return None
        return count

    def _entries(self, key: str) -> list[str]:
        value = self.values[key]
        entries = value if isinstance(value, list) else [value]
        if not entries or not all(isinstance(e, str) and not _is_none(e) for e in entries):
            self._report("split", f"{key} is no path; write e.g. {key}: images/{key}", key)
            return []
        return entries

    def _images(self, key: str, roots: list[Path]) -> ImagePaths:
        """The images of a split; a split of several folders has each image once."""
        found: set[str] = set()
        for entry in self._entries(key) if key in self.values else ():
            place = next((p for p in candidates(entry, roots) if p.exists()), None)
            if place is None:
                tried = " or ".join(map(str, candidates(entry, roots)))
                hint = ", or fetch the dataset" if "download" in self.values else ""
                self._report("split", f"no folder {tried}; correct {key} or path{hint}", key)
                continue
            if place.is_dir():
                images = set(find_images(place))
            elif place.suffix.lower() == ".txt":
                images = set(self._read_list(place, roots))
            else:
                reason = f"{place} is neither a folder nor a .txt list of images"
                if place.suffix.lower() == ".json":
                    reason = f"{place} is no list of images; crispmask convert --from-coco reads it"
                self._report("split", reason, key)
                continue
            if not images:
                self._report(
                    "split",
                    f"no images in {place}; put some there ({suffix_text()}) or correct {key}",
                    key,
                )
            found |= images
        return sorted_paths(found)

    def _read_list(self, file: Path, roots: Iterable[Path]) -> Iterator[str]:
        """The images a .txt list names, one per line; blank lines and those with # are left out."""
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = f"cannot be read as text ({error}); save it again"
            self._report("list", reason, place=(file, 0))
            return
        for number, line in enumerate(lines, start=1):
            text = line.strip().replace("\\", "/")
            if not text or text.startswith("#"):
                continue
            # `./` is relative to the list by convention; for others we look around.
            places = [file.parent] if text.startswith("./") else [file.parent, *roots, Path()]
            path = os.path.expanduser(text)  # as text: a list may name very many
            tried = [os.path.abspath(os.path.join(place, path)) for place in places]
            if path.startswith("data/"):  # CVAT's exports name a folder that is not there
                tried += [os.path.abspath(os.path.join(place, path[5:])) for place in places]
            found = next((candidate for candidate in tried if os.path.isfile(candidate)), None)
            if found is None:
                reason = f"no image {tried[0]}; correct the path or remove the line"
            elif os.path.splitext(found)[1].lower() not in IMAGE_SUFFIXES:
                reason = f"{os.path.basename(found)} is no image; use one of {suffix_text()}"
            else:
                yield found
                continue
            self._report("list", reason, place=(file, number))

    def _test_exists(self, roots: list[Path]) -> bool:
        """Whether there is anything to test on: exports name a folder that was never made."""
        if _is_none(self.values["test"]):
            return False
        return all(
            any(p.exists() for p in candidates(entry, roots)) for entry in self._entries("test")
        )


def _is_none(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip() in ("", "~", "null", "None"))
