"""The images of a split: folders, .txt lists, lists of these, or COCO files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crispmask.data.coco_images import join_tables
from crispmask.data.coco_paths import find_images_of
from crispmask.data.coco_table import CocoTable, read_coco_table
from crispmask.data.paths import NO_IMAGES, ImagePaths, sorted_paths
from crispmask.data.places import IMAGE_SUFFIXES, absolute, candidates, find_images, suffix_text
from crispmask.data.spec_problems import Reporter
from crispmask.data.spec_source import is_none
from crispmask.errors import DatasetError


@dataclass(frozen=True, slots=True)
class SplitReader:
    """Finds the images of the splits of one data.yaml.

    Attributes:
        values: of data.yaml.
        roots: folders that relative paths may start from, the most likely one first.
        reporter: takes what cannot be found.
        tables: COCO files by path, filled by `read_tables`.
    """

    values: dict[str, Any]
    roots: list[Path]
    reporter: Reporter
    tables: dict[Path, CocoTable]

    def read_tables(self, keys: Iterable[str]) -> list[CocoTable]:
        """Reads the COCO files of splits: their categories may be the class names."""
        for key in keys:
            for entry in self._entries(key, quiet=True):
                place = self._place(entry)
                if place is None or place.suffix.lower() != ".json" or place in self.tables:
                    continue
                try:
                    self.tables[place] = read_coco_table(place)
                except DatasetError as error:
                    self._unusable(place, str(error), key)
        return list(self.tables.values())

    def images(self, key: str, split: str, names: Sequence[str]) -> ImagePaths:
        """The images of a split; a split of several folders has each image once.

        Args:
            key: of data.yaml.
            split: train, val or test.
            names: class names by label.
        """
        found: set[str] = set()
        tables: list[CocoTable] = []
        for entry in self._entries(key):
            place = self._place(entry)
            if place is None:
                tried = " or ".join(map(str, candidates(entry, self.roots)))
                hint = ", or fetch the dataset" if "download" in self.values else ""
                self.reporter.report(
                    "split", f"no folder {tried}; correct {key} or path{hint}", key
                )
                continue
            if place.is_dir():
                images = set(find_images(place))
            elif place.suffix.lower() == ".txt":
                images = set(self._read_list(place))
            elif place in self.tables:
                tables.append(self.tables[place])
                continue
            else:
                if place.suffix.lower() != ".json":
                    reason = f"{place} is neither a folder, a .txt list of images nor a COCO file"
                    self.reporter.report("split", reason, key)
                continue  # what is wrong with a COCO file was told before
            if not images:
                self.reporter.report(
                    "split",
                    f"no images in {place}; put some there ({suffix_text()}) or correct {key}",
                    key,
                )
            found |= images
        if tables and found:
            self.reporter.report(
                "split", f"{key} has COCO files and images with label files; choose one kind", key
            )
        elif tables:
            return self._of_tables(tables, key, split, names)
        return sorted_paths(found)

    def _of_tables(
        self, tables: Sequence[CocoTable], key: str, split: str, names: Sequence[str]
    ) -> ImagePaths:
        paths = []
        for table in tables:
            folder = table.path.parent
            folders = [folder, folder.parent] if folder.name == "annotations" else [folder]
            folders = list(dict.fromkeys(map(absolute, (*folders, *self.roots))))
            try:
                paths.append(
                    find_images_of(table.path, table.index.paths(), folders, split, "correct path")
                )
            except DatasetError as error:
                self._unusable(table.path, str(error), key)
                return NO_IMAGES
            if not paths[-1]:
                self.reporter.report("split", f"no images in {table.path}; correct {key}", key)
        return join_tables(tables, paths, names)

    def _unusable(self, file: Path, message: str, key: str) -> None:
        """Reports a file, whose name and line the message begins with."""
        place, _, reason = message.removeprefix(str(file)).partition(": ")
        line = place.removeprefix(":")
        self.reporter.report("split", reason, key, (file, int(line) if line.isdigit() else 0))

    def _entries(self, key: str, quiet: bool = False) -> list[str]:
        if key not in self.values:
            return []
        value = self.values[key]
        entries = value if isinstance(value, list) else [value]
        if not entries or not all(isinstance(e, str) and not is_none(e) for e in entries):
            if not quiet:
                self.reporter.report(
                    "split", f"{key} is no path; write e.g. {key}: images/{key}", key
                )
            return []
        return entries

    def _place(self, entry: str) -> Path | None:
        return next((p for p in candidates(entry, self.roots) if p.exists()), None)

    def _read_list(self, file: Path) -> Iterator[str]:
        """The images a .txt list names, one per line; blank lines and those with # are left out."""
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = f"cannot be read as text ({error}); save it again"
            self.reporter.report("list", reason, place=(file, 0))
            return
        for number, line in enumerate(lines, start=1):
            text = line.strip().replace("\\", "/")
            if not text or text.startswith("#"):
                continue
            # `./` is relative to the list by convention; for others we look around.
            places = [file.parent] if text.startswith("./") else [file.parent, *self.roots, Path()]
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
            self.reporter.report("list", reason, place=(file, number))

    def exists(self, key: str) -> bool:
        """Whether a split names places that are there: exports name folders never made."""
        if is_none(self.values.get(key)):
            return False
        return all(self._place(entry) is not None for entry in self._entries(key))
