"""Puts the sections together."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

from crispmask.engine.page.contents import Contents
from crispmask.engine.page.courses import labels, thresholds, training
from crispmask.engine.page.figures import class_table, confusion, headline, mistakes, number
from crispmask.engine.page.pictures import pictures
from crispmask.metrics.bootstrap import bootstrap
from crispmask.metrics.confusion import confusion_matrix
from crispmask.metrics.errors import typed_errors
from crispmask.metrics.outcomes import outcomes_of
from crispmask.pages import document, text_of, write_document


def render_page(contents: Contents) -> str:
    """The page as text."""
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
    return document(
        contents.title,
        [contents.subtitle],
        "\n".join(section for section in sections if section),
        text_of("crispmask.engine.page", "page.css"),
        text_of("crispmask.engine.page", "page.js"),
        '<button type="button" id="theme" class="script">dark</button>',
    )


def write_page(contents: Contents, path: Path) -> None:
    """Writes the page; the folder must exist."""
    write_document(path, render_page(contents))


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
