"""The findings on a terminal, readable at 80 columns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from crispmask.doctor.counts import SIZE_NAMES, Quantiles, SplitCounts
from crispmask.doctor.examine import Examination
from crispmask.doctor.kinds import KINDS, Problem, Severity

_STYLES: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "info": "cyan"}
_MOST_CLASSES = 20


def show(console: Console, found: Examination, max_shown: int) -> None:
    """Prints counts, problems by kind, and the verdict.

    Args:
        console: where to.
        found: by `examine`.
        max_shown: places shown per kind.
    """
    names = len(found.names)
    title = f"{found.spec.file}  {names} {'class' if names == 1 else 'classes'}"
    _line(console, Text(title, style="bold"))
    for note in found.spec.notes:
        _line(console, Text(note, style="dim"))
    console.print()
    console.print(_split_table(found))
    console.print()
    console.print(_class_table(found))
    for code, problems in found.by_code().items():
        console.print()
        for text in _group(code, problems, found.spec.root, max_shown):
            _line(console, text)
    console.print()
    style = _STYLES["error"] if found.number("error") else "bold green"
    _line(console, Text(verdict(found), style=style))


def verdict(found: Examination) -> str:
    """One line: how many problems of each severity, and what follows."""
    errors, warnings, notes = (found.number(s) for s in ("error", "warning", "info"))
    counted = ", ".join(
        _number(count, word)
        for count, word in ((errors, "error"), (warnings, "warning"), (notes, "note"))
        if count
    )
    if errors:
        return f"{counted}: correct the errors before training"
    if not counted:
        return "no problem found"
    return f"{counted}, no error: ready for training"


def place(problem: Problem, root: Path) -> str:
    """file:line of a problem, relative to the dataset where it lies in it."""
    return f"{relative(problem.file, root)}{f':{problem.line}' if problem.line else ''}"


def relative(path: Path, root: Path) -> str:
    """A path as seen from the dataset, if it lies in it."""
    inside = path.is_relative_to(root)
    return (path.relative_to(root) if inside else Path(os.path.abspath(path))).as_posix()


def _split_table(found: Examination) -> Table:
    table = _table("", *found.counts)
    for title, cell in (
        ("images", lambda c: str(c.images)),
        ("  without instance", lambda c: str(c.backgrounds)),
        ("  without label file", lambda c: str(c.without_labels)),
        ("instances", lambda c: str(c.instances)),
        ("parts", lambda c: str(c.parts)),
        ("instances per image", lambda c: range_text(c.per_image)),
        ("image sizes", image_sizes),
        (f"instance sizes at {found.imgsz} px", lambda c: range_text(c.instance_sides)),
    ):
        table.add_row(title, *(cell(count) for count in found.counts.values()))
    for i, name in enumerate(SIZE_NAMES):
        table.add_row(f"  {name}", *(str(count.size_counts[i]) for count in found.counts.values()))
    return table


def _class_table(found: Examination) -> Table:
    table = _table("class", *found.counts)
    total = [
        sum(c.class_instances[i] for c in found.counts.values()) for i in range(_classes(found))
    ]
    order = list(range(len(total)))
    if len(order) > _MOST_CLASSES:  # the most and the least frequent ones say most
        order.sort(key=lambda label: -total[label])
        half = _MOST_CLASSES // 2
        order = [*order[:half], -1, *order[-half:]]
    for label in order:
        if label < 0:
            table.add_row(f"... {len(total) - _MOST_CLASSES} more", *("" for _ in found.counts))
            continue
        cells = (_share(c.class_instances[label], c.instances) for c in found.counts.values())
        table.add_row(f"{label} {found.names[label]}", *cells)
    return table


def _classes(found: Examination) -> int:
    return len(found.names)


def _table(first: str, *splits: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column(first, overflow="ellipsis", no_wrap=True, max_width=34)
    for split in splits:
        table.add_column(split, justify="right")
    return table


def _group(code: str, problems: list[Problem], root: Path, max_shown: int) -> Iterator[Text]:
    kind = KINDS[code]
    style = _STYLES[kind.severity]
    yield Text.assemble(
        (f"{kind.severity} {code}", style), f" {kind.meaning} ", (f"({len(problems)})", "bold")
    )
    for problem in worst(problems)[:max_shown]:
        yield Text.assemble(f"  {place(problem, root)}  ", (problem.message, "dim"))
    if len(problems) > max_shown:
        yield Text(f"  ... {len(problems) - max_shown} more", style="dim")
    yield Text(f"  fix: {kind.fix}", style="italic")


def worst(problems: list[Problem]) -> list[Problem]:
    """The problems of one kind, the worst ones first, else by file and line."""
    return sorted(problems, key=lambda problem: -problem.weight)


def _line(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True, highlight=False)


def range_text(values: Quantiles) -> str:
    """Smallest, largest and middle value."""
    if not values.high:
        return "-"
    return f"{values.low:.0f} to {values.high:.0f}, median {values.median:.0f}"


def image_sizes(count: SplitCounts) -> str:
    """The most frequent width and height, and how many others there are."""
    if not count.image_sizes:
        return "-"
    (height, width), _ = count.image_sizes[0]
    more = f" and {count.num_image_sizes - 1} more" if count.num_image_sizes > 1 else ""
    return f"{width} x {height}{more}"


def _share(count: int, total: int) -> str:
    return f"{count} ({count / total:4.0%})" if total else str(count)


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
