"""data.yaml: which images a dataset has and what its classes are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crispmask.data.coco_table import CocoTable
from crispmask.data.paths import NO_IMAGES, ImagePaths
from crispmask.data.places import absolute, as_path
from crispmask.data.spec_images import SplitReader
from crispmask.data.spec_names import read_names
from crispmask.data.spec_problems import Reporter, SpecProblem
from crispmask.data.spec_source import VAL_KEYS, find_source, is_none, read_source

_DATASETS = "datasets"
"""A folder beside, or beside the folder of, a data.yaml that `path` may start from: where
Ultralytics keeps what it has fetched."""


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """What a data.yaml says.

    Attributes:
        file: the data.yaml, or the file an export has in its place.
        root: folder its relative paths start from.
        names: class names by label.
        train: images to train with, absolute paths; those of COCO files in their order, others
            sorted.
        val: the same for validation; empty if data.yaml has no such key.
        test: the same for testing; empty if there is none.
        notes: lines worth telling the user.
    """

    file: Path
    root: Path
    names: tuple[str, ...]
    train: ImagePaths
    val: ImagePaths
    test: ImagePaths = NO_IMAGES
    notes: tuple[str, ...] = ()


def read_spec(data: str | Path) -> DatasetSpec:
    """Reads a data.yaml and finds the images it names; `download` is never run.

    Args:
        data: path of the file, or of the folder that holds data.yaml; exports of Label Studio
            and CVAT have classes.txt or obj.data in its place. A COCO file stands for a
            data.yaml that names it under train, and its neighbour of that name under val.

    Raises:
        DatasetError: names file, line and fix.
    """
    return _read(Reporter(find_source(data)))


def inspect_spec(data: str | Path) -> tuple[DatasetSpec, list[SpecProblem]]:
    """What can be read of a dataset in spite of its problems, and all of these.

    A split that cannot be found has no images. Without usable `names` and `nc` there are no
    class names; where the two disagree there is a name for each class of the longer.

    Raises:
        DatasetError: the file is missing or no YAML.
    """
    problems: list[SpecProblem] = []
    reporter = Reporter(find_source(data), problems=problems)
    spec = _read(reporter)
    if not any(key in reporter.values for key in VAL_KEYS):
        reporter.report("val", "no images to validate on; add a line such as val: images/val")
    return spec, list(dict.fromkeys(problems))


def _read(reporter: Reporter) -> DatasetSpec:
    values = read_source(reporter)
    reporter.values = values
    roots = _roots(values, reporter)
    splits = SplitReader(values, roots, reporter, {})
    val = next((key for key in VAL_KEYS if key in values), "val")
    has_test = splits.exists("test")
    tables = splits.read_tables(["train", val, *(["test"] if has_test else [])])
    names = read_names(values, tables, reporter)
    if "train" not in values:
        reporter.report("split", "no 'train'; add a line such as train: images/train")
    return DatasetSpec(
        file=reporter.file,
        root=next((root for root in roots if root.is_dir()), roots[0]),
        names=names,
        train=splits.images("train", "train", names),
        val=splits.images(val, "val", names),
        test=splits.images("test", "test", names) if has_test else NO_IMAGES,
        notes=tuple(_about_ids(tables, names)),
    )


def _about_ids(tables: Sequence[CocoTable], names: tuple[str, ...]) -> list[str]:
    """A line where the ids of categories are not the labels they become."""
    notes = []
    for table in tables:
        ids = list(table.categories)
        labels = [names.index(n) for n in table.categories.values() if n in names]
        if labels and ids != labels:
            order = "in their order" if labels == sorted(labels) else "by their names"
            notes.append(
                f"{table.path.name}: category ids {_shortened(ids)} are classes "
                f"{_shortened(labels)}, {order}"
            )
    return notes


def _shortened(numbers: list[int]) -> str:
    shown = [str(number) for number in numbers]
    if len(shown) > 6:
        shown = [*shown[:3], "...", shown[-1]]
    return ", ".join(shown)


def _roots(values: dict[str, Any], reporter: Reporter) -> list[Path]:
    """Folders that relative paths may start from, the most likely one first."""
    folder = absolute(reporter.file.parent)
    value = values.get("path")
    if is_none(value):
        return [folder]
    if not isinstance(value, str):
        reporter.report("path", "path is not a text; write one folder", "path")
        return [folder]
    given = as_path(value)
    # Keys of a dict: both are the same when we are in the folder of the file.
    bases = dict.fromkeys((folder, Path.cwd()))
    roots = list(dict.fromkeys(absolute(base / given) for base in bases))
    found = [root for root in roots if root.is_dir()]
    if not found:
        beside = (place / _DATASETS / given for base in bases for place in (base, base.parent))
        found = [root for root in dict.fromkeys(map(absolute, beside)) if root.is_dir()]
    if not found:
        tried = " or ".join(map(str, roots))
        reporter.report(
            "path", f"no folder {tried}; correct path, or remove it to start at this file", "path"
        )
    return found or [folder]
