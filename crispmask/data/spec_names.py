"""The class names of a dataset, from `names`, `nc` and the categories of COCO files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crispmask.data.coco_file import merge_categories
from crispmask.data.coco_table import CocoTable
from crispmask.data.spec_problems import Reporter
from crispmask.data.spec_source import is_none


def read_names(
    values: dict[str, Any], tables: Sequence[CocoTable], reporter: Reporter
) -> tuple[str, ...]:
    """The class names by label.

    Without `names` they are the categories of the COCO files in the order of their ids; with
    it each category must be among them.

    Args:
        values: of data.yaml.
        tables: COCO files of the splits.
        reporter: takes what does not agree.
    """
    count = _count(values, reporter) if not is_none(values.get("nc")) else None
    numbered = tuple(f"class_{label}" for label in range(count or 0))
    categories, problems = merge_categories((table.path, table.categories) for table in tables)
    for path, words in problems:
        reporter.report("names", words, place=(path, 0))
    if not is_none(values.get("names")):
        names = _given_names(values["names"], count, numbered, reporter)
        for table in tables:
            _compare(table, names, reporter)
        return names
    if not categories:
        if count is None:
            reporter.report("names", "no 'names'; add the class names, e.g. names: [cat, dog]")
        return numbered
    if count is not None and count != len(categories):
        reporter.report(
            "nc",
            f"nc is {count} but the COCO files have {len(categories)} categories; remove nc",
            "nc",
        )
    return categories


def _compare(table: CocoTable, names: tuple[str, ...], reporter: Reporter) -> None:
    missing = [name for name in table.categories.values() if name not in names]
    if missing:
        word = "category" if len(missing) == 1 else "categories"
        listed = ", ".join(map(repr, missing[:5])) + (" ..." if len(missing) > 5 else "")
        reporter.report(
            "names",
            f"{table.path.name} has the {word} {listed}, which names lacks; add them, or remove "
            "names to take all from there",
            "names",
        )


def _given_names(
    value: Any, count: int | None, numbered: tuple[str, ...], reporter: Reporter
) -> tuple[str, ...]:
    if isinstance(value, dict):
        value = _names_by_label(value, reporter)
        if value is None:
            return numbered
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        reporter.report("names", "names is no list; write e.g. names: [cat, dog]", "names")
        return numbered
    names = tuple(name.strip() for name in value)
    if not names:
        reporter.report("names", "names is empty; write the class names", "names")
    for label, name in enumerate(names):
        if not name:
            reporter.report("names", f"the name of class {label} is empty; write one", "names")
        elif name in names[:label]:
            reporter.report(
                "names",
                f"classes {names.index(name)} and {label} are both called {name!r}; rename one",
                "names",
            )
    if count is not None and count != len(names):
        reporter.report(
            "nc", f"nc is {count} but there are {len(names)} names; correct or remove nc", "nc"
        )
    return names + numbered[len(names) :]


def _names_by_label(value: dict[str, Any], reporter: Reporter) -> list[Any] | None:
    """The names in the order of their labels; None if that has gaps."""
    try:
        by_label = {int(label): name for label, name in value.items()}
    except ValueError:
        by_label = {}
    if len(by_label) != len(value) or sorted(by_label) != list(range(len(value))):
        reporter.report(
            "names",
            f"the keys of names are {', '.join(map(str, value))}; number the classes "
            "0, 1, 2 ... without a gap",
            "names",
        )
        return None
    return [by_label[label] for label in range(len(by_label))]


def _count(values: dict[str, Any], reporter: Reporter) -> int | None:
    """The number of classes by `nc`; None if it says none."""
    try:
        count = int(values["nc"])
    except (TypeError, ValueError):
        count = 0
    if count < 1:
        reporter.report("nc", "nc is not a number from 1 up; write the number of classes", "nc")
        return None
    return count
