"""The findings as one page that needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path

from crispmask.doctor.annotations import coco_lookup
from crispmask.doctor.counts import SIZE_NAMES, SplitCounts
from crispmask.doctor.examine import Examination
from crispmask.doctor.kinds import KINDS, Problem
from crispmask.doctor.terminal import image_sizes, place, range_text, verdict, worst
from crispmask.doctor.thumbnails import draw_problem, encode_jpeg
from crispmask.draw import class_colour
from crispmask.pages import document, text_of, write_document

_MOST_ROWS = 500
"""Places listed per kind; the JSON file has them all."""


def render_page(found: Examination, max_shown: int) -> str:
    """The page as text.

    Args:
        found: by `examine`.
        max_shown: pictures per kind of problem.
    """
    title = f"Check of {found.spec.root.name or found.spec.file.name}"
    severity = "error" if found.number("error") else "good"
    body = [
        f'<p class="verdict {severity}">{escape(verdict(found))}</p>',
        '<div class="columns">',
        f'<section class="card"><h2>Images and instances</h2>{_split_table(found)}</section>',
        f'<section class="card"><h2>Classes</h2>{_class_table(found)}</section>',
        "</div>",
        *(_section(code, problems, found, max_shown) for code, problems in found.by_code().items()),
    ]
    lines = [str(found.spec.file), *found.spec.notes]
    return document(title, lines, "\n".join(body), text_of("crispmask.doctor", "page.css"))


def _split_table(found: Examination) -> str:
    rows: list[tuple[str, Callable[[SplitCounts], str]]] = [
        ("images", lambda c: str(c.images)),
        ("without instance", lambda c: str(c.backgrounds)),
        ("without label file", lambda c: str(c.without_labels)),
        ("instances", lambda c: str(c.instances)),
        ("parts", lambda c: str(c.parts)),
        ("instances per image", lambda c: range_text(c.per_image)),
        ("image sizes", image_sizes),
        (f"instance sizes at {found.imgsz} px", lambda c: range_text(c.instance_sides)),
    ]
    lines = [("", list(found.counts))]
    lines += [(title, [cell(c) for c in found.counts.values()]) for title, cell in rows]
    lines += [
        (f"{name} instances", [str(c.size_counts[i]) for c in found.counts.values()])
        for i, name in enumerate(SIZE_NAMES)
    ]
    return _table(lines)


def _class_table(found: Examination) -> str:
    counts = list(found.counts.values())
    most = max((max(c.class_instances, default=0) for c in counts), default=0) or 1
    rows = ["<tr><th></th>", *(f"<td>{escape(split)}</td>" for split in found.counts), "</tr>"]
    for label, name in enumerate(found.names):
        share = max(c.class_instances[label] for c in counts) / most
        red, green, blue = class_colour(label)
        bar = (
            f'<span class="bar"><i style="width:{share:.1%};background:rgb({red},{green},{blue})">'
            "</i></span>"
        )
        cells = "".join(f"<td>{c.class_instances[label]}</td>" for c in counts)
        rows.append(f"<tr><th>{label} {escape(name)}{bar}</th>{cells}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _table(lines: list[tuple[str, list[str]]]) -> str:
    rows = (
        f"<tr><th>{escape(title)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for title, cells in lines
    )
    return f"<table>{''.join(rows)}</table>"


def _section(code: str, problems: list[Problem], found: Examination, max_shown: int) -> str:
    kind = KINDS[code]
    ordered = worst(problems)
    figures = list(_figures(ordered[:max_shown], found))
    body = f'<div class="grid">{"".join(figures)}</div>' if figures else ""
    if len(figures) < len(problems):
        listed = "".join(_item(problem, found) for problem in problems[:_MOST_ROWS])
        if len(problems) > _MOST_ROWS:
            listed += f'<li class="soft">{len(problems) - _MOST_ROWS} more, see --json</li>'
        opened = "" if figures else " open"
        body += f"<details{opened}><summary>all places</summary><ul>{listed}</ul></details>"
    return (
        f'<section class="card"><div class="head"><span class="code {kind.severity}">{code}</span>'
        f'<span class="count">{len(problems)}</span><span>{escape(kind.meaning)}</span></div>'
        f'<p class="soft">{kind.severity} · {escape(kind.fix)}</p>{body}</section>'
    )


def _item(problem: Problem, found: Examination) -> str:
    where = escape(place(problem, found.spec.root))
    return (
        f'<li><span class="place">{where}</span> '
        f'<span class="soft">{escape(problem.message)}</span></li>'
    )


def _figures(problems: list[Problem], found: Examination) -> Iterator[str]:
    lookup = coco_lookup(found.spec)
    for problem in problems:
        picture = draw_problem(problem, len(found.names), lookup)
        if picture is None:
            continue
        content = base64.b64encode(encode_jpeg(picture)).decode("ascii")
        where = place(problem, found.spec.root)
        yield (
            f'<figure><img alt="" loading="lazy" src="data:image/jpeg;base64,{content}">'
            f'<figcaption><span class="place">{escape(where)}</span><br>'
            f'<span class="soft">{escape(problem.message)}</span></figcaption></figure>'
        )


def write_page(found: Examination, file: Path, max_shown: int) -> None:
    """Writes the page; arguments as in `render_page`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_document(file, render_page(found, max_shown))
