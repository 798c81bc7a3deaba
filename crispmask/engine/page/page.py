"""Puts the sections together."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path

from crispmask.atomic import replacing
from crispmask.engine.page.contents import Contents
from crispmask.engine.page.courses import labels, thresholds, training
from crispmask.engine.page.figures import class_table, confusion, headline, mistakes, number
from crispmask.engine.page.pictures import pictures
from crispmask.metrics.bootstrap import bootstrap
from crispmask.metrics.confusion import confusion_matrix
from crispmask.metrics.errors import typed_errors
from crispmask.metrics.outcomes import outcomes_of

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'sha256-{digest}'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<div><h1>{title}</h1><p class="soft">{subtitle}</p></div>
<button type="button" id="theme" class="script">dark</button>
</header>
<main>
{body}
</main>
<script>{script}</script>
</body>
</html>
"""


def render_page(contents: Contents) -> str:
    """The page as text. It asks no server for anything, and runs no script but its own."""
    outcomes = outcomes_of(contents.comparison)
    mask, box = bootstrap(outcomes), bootstrap(outcomes_of(contents.comparison, "box"))
    matrix = confusion_matrix(contents.comparison, contents.conf)
    sections = [
        _verdict(contents),
        headline(contents, mask, box),
        training(contents),
        mistakes(
            typed_errors(outcomes),
            typed_errors(outcomes.above(contents.conf)),
            contents.conf,
        ),
        class_table(contents, mask),
        pictures(contents, outcomes),
        confusion(matrix, contents.names, contents.conf),
        thresholds(contents),
        labels(contents),
        _again(contents),
    ]
    script = _read("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return _PAGE.format(
        title=escape(contents.title),
        subtitle=escape(contents.subtitle),
        style=_read("page.css"),
        script=script,
        digest=digest,
        body="\n".join(section for section in sections if section),
    )


def write_page(contents: Contents, path: Path) -> None:
    """Writes the page; the folder must exist."""
    with replacing(path) as partial:
        # Names of files may hold what is no Unicode.
        partial.write_text(render_page(contents), encoding="utf-8", errors="replace")


def _read(name: str) -> str:
    return (files("crispmask.engine.page") / name).read_text(encoding="utf-8")


def _verdict(contents: Contents) -> str:
    instances, predictions = contents.index.num_instances(), len(contents.predictions)
    told = (
        f"mask mAP50-95 {number(contents.metrics.mask.map50_95)} on {len(contents.index):,} images "
        f"with {instances:,} instances"
    )
    if not instances:
        told = f"no instance is annotated in the {len(contents.index):,} images: nothing to measure"
    elif not predictions:
        told = f"nothing was found in {len(contents.index):,} images with {instances:,} instances"
    return f'<p class="verdict">{told}</p>'


def _again(contents: Contents) -> str:
    """Settings and surroundings."""
    config = (
        f"<details><summary>config.yaml</summary><pre>{escape(contents.config)}</pre></details>"
        if contents.config
        else ""
    )
    return (
        '<section class="card" id="again"><h2>Doing it again</h2>'
        f'<div class="command"><pre id="command">{escape(contents.command)}</pre>'
        '<button type="button" id="copy" class="script">copy</button></div>'
        f'{config}<div class="scroll">{_table(contents.facts)}</div></section>'
    )


def _table(facts: Mapping[str, str]) -> str:
    rows = "".join(
        f'<tr><th>{escape(name)}</th><td class="text">{escape(value)}</td></tr>'
        for name, value in facts.items()
    )
    return f"<table>{rows}</table>" if rows else ""
