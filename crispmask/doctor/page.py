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

_MOST_ROWS = 500
"""Places listed per kind; the JSON file has them all."""

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{
  color-scheme: light dark;
  --page: #f6f7f9; --card: #fff; --text: #1c2128; --soft: #5c6672; --line: #dde1e7;
  --error: #c0242f; --warning: #9a6200; --info: #1765b8; --good: #1a7f43; --track: #e8ebef;
}}
@media (prefers-color-scheme: dark) {{
  :root {{
    --page: #14171b; --card: #1d2126; --text: #e6e9ed; --soft: #9aa4b0; --line: #31373f;
    --error: #ff7b80; --warning: #e5ac4a; --info: #74b4ff; --good: #5ecb8a; --track: #2b3138;
  }}
}}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }}
main {{ max-width: 1120px; margin: 0 auto; padding: 24px 16px 64px; }}
h1 {{ font-size: 22px; margin: 0 0 2px; }}
h2 {{ font-size: 17px; margin: 0 0 12px; }}
p {{ margin: 0; }}
.soft {{ color: var(--soft); overflow-wrap: anywhere; }}
.verdict {{ margin: 16px 0; padding: 12px 16px; border-radius: 8px; background: var(--card);
  border: 1px solid var(--line); border-left: 5px solid currentColor; font-weight: 600; }}
.error {{ color: var(--error); }} .warning {{ color: var(--warning); }}
.info {{ color: var(--info); }} .good {{ color: var(--good); }}
.card {{ background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 16px; margin: 0 0 16px; }}
.columns {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr));
  gap: 16px; margin-bottom: 16px; align-items: start; }}
.columns .card {{ margin: 0; overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; }}
td, th {{ text-align: right; padding: 4px 0 4px 12px; border-top: 1px solid var(--line);
  font-weight: 400; font-variant-numeric: tabular-nums; }}
tr:first-child > * {{ border-top: 0; color: var(--soft); }}
th:first-child {{ text-align: left; padding-left: 0; overflow-wrap: anywhere; }}
.bar {{ display: block; height: 6px; border-radius: 3px; background: var(--track);
  margin-top: 2px; overflow: hidden; }}
.bar i {{ display: block; height: 100%; border-radius: 3px; }}
.head {{ display: flex; flex-wrap: wrap; gap: 4px 10px; align-items: baseline; }}
.code {{ font: 600 14px ui-monospace, Menlo, Consolas, monospace; }}
.count {{ padding: 0 8px; border-radius: 10px; background: var(--track); font-weight: 600;
  font-size: 13px; }}
.grid {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 240px), 1fr));
  gap: 12px; margin-top: 12px; }}
figure {{ margin: 0; border: 1px solid var(--line); border-radius: 6px; overflow: hidden; }}
figure img {{ display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain;
  background: var(--track); }}
figcaption {{ padding: 8px 10px; font-size: 13px; overflow-wrap: anywhere; }}
details {{ margin-top: 12px; }}
summary {{ cursor: pointer; color: var(--soft); font-size: 14px; }}
ul {{ list-style: none; margin: 8px 0 0; padding: 0; font-size: 13px; max-height: 420px;
  overflow-y: auto; }}
li {{ padding: 4px 0; border-top: 1px solid var(--line); overflow-wrap: anywhere; }}
li:first-child {{ border-top: 0; }}
.place {{ font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 12.5px; }}
</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def render_page(found: Examination, max_shown: int) -> str:
    """The page as text.

    Args:
        found: by `examine`.
        max_shown: pictures per kind of problem.
    """
    title = f"Check of {found.spec.root.name or found.spec.file.name}"
    severity = "error" if found.number("error") else "good"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(str(found.spec.file))}</p>',
        *(f'<p class="soft">{escape(note)}</p>' for note in found.spec.notes),
        f'<p class="verdict {severity}">{escape(verdict(found))}</p>',
        '<div class="columns">',
        f'<section class="card"><h2>Images and instances</h2>{_split_table(found)}</section>',
        f'<section class="card"><h2>Classes</h2>{_class_table(found)}</section>',
        "</div>",
        *(_section(code, problems, found, max_shown) for code, problems in found.by_code().items()),
    ]
    return _PAGE.format(title=escape(title), body="\n".join(body))


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
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(render_page(found, max_shown), encoding="utf-8", errors="replace")
    partial.replace(file)
