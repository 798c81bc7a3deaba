"""The sections with figures: headline, mistakes, classes, confusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crispmask.draw import class_colour
from crispmask.engine.page.contents import Contents
from crispmask.metrics.bootstrap import Interval, Intervals
from crispmask.metrics.errors import ErrorKind, TypedErrors

_MOST_NUMBERS = 12
"""Classes up to which a confusion matrix shows its counts."""
_MOST_LABELS = 45
"""Classes up to which the rows of a confusion matrix are named."""
_MOST_CONFUSIONS = 10

_MEANING: dict[ErrorKind, str] = {
    "class": "on an object, of the wrong class",
    "localisation": "of the right class, overlaps its object too little (IoU 0.1 to 0.5)",
    "both": "of the wrong class, and overlaps too little",
    "duplicate": "of an object that was found already",
    "background": "where nothing is (IoU below 0.1)",
    "missed": "an object that nothing found or nearly found",
}


def headline(contents: Contents, mask: Intervals, box: Intervals) -> str:
    """The figures people quote, with their intervals, and all others of metrics.json."""
    cards = [
        ("mask mAP50-95", mask.map50_95, "main"),
        ("mask mAP50", mask.map50, ""),
        ("mask mAP75", mask.map75, ""),
        ("mask AR100", mask.ar100, ""),
        ("box mAP50-95", box.map50_95, ""),
        ("box mAP50", box.map50, ""),
    ]
    return (
        '<section class="card" id="figures"><h2>Figures</h2>'
        f'<div class="cards">{"".join(_card(*card) for card in cards)}{_best(contents)}</div>'
        f'<p class="soft">Bars and ranges: 95 % of {mask.num_samples} bootstrap resamples of the '
        f"{len(contents.index):,} images.</p><details><summary>all figures</summary>"
        f"{_all_figures(contents.metrics.to_json())}</details></section>"
    )


def _all_figures(values: Mapping[str, Any]) -> str:
    """Every number of metrics.json; those of several kinds of overlap stand side by side."""
    numbers = {key: value for key, value in values.items() if isinstance(value, (int, float))}
    kinds = [key.partition("/")[0] for key in numbers if key.endswith("/mAP50-95")]
    rest = [key for key in numbers if key.partition("/")[0] not in kinds]
    names = dict.fromkeys(key.partition("/")[2] for key in numbers if key not in rest)
    heads = "".join(f"<td>{escape(kind)}</td>" for kind in kinds)
    rows = [f'<tr class="head"><th></th>{heads}</tr>']
    for name in names:
        cells = (numbers.get(f"{kind}/{name}") for kind in kinds)
        told = "".join(f"<td>{'' if cell is None else number(cell)}</td>" for cell in cells)
        rows.append(f"<tr><th>{escape(name.replace('_', ' '))}</th>{told}</tr>")
    others = "".join(
        f"<tr><th>{escape(key.replace('/', ' ').replace('_', ' '))}</th>"
        f"<td>{number(numbers[key])}</td></tr>"
        for key in rest
    )
    return (
        f'<div class="columns"><div class="scroll"><table>{"".join(rows)}</table></div>'
        f"<div><table>{others}</table></div></div>"
    )


def _card(name: str, interval: Interval, style: str) -> str:
    told, bar = "not defined", ""
    if interval.low >= 0:
        told = f"{interval.low:.3f} to {interval.high:.3f}"
        width = max(interval.high - interval.low, 0.004)
        bar = (
            f'<span class="range"><i style="left:{interval.low:.2%};width:{width:.2%}"></i>'
            f'<b style="left:{interval.value:.2%}"></b></span>'
        )
    return (
        f'<div class="figure {style}"><span>{escape(name)}</span>'
        f"<strong>{number(interval.value)}</strong>{bar}<small>{told}</small></div>"
    )


def _best(contents: Contents) -> str:
    best = contents.metrics.confidence.best
    told = f"from score {best.confidence:.2f}" if best.f1 > 0 else "nothing is right"
    return (
        '<div class="figure"><span>best F1</span>'
        f"<strong>{number(best.f1)}</strong><small>{told}<br>precision {best.precision:.2f}<br>"
        f"recall {best.recall:.2f}</small></div>"
    )


def mistakes(found: TypedErrors, seen: TypedErrors, conf: float) -> str:
    """What kinds of mistakes there are, and what each costs.

    Args:
        found: of all predictions.
        seen: of those from `conf` on.
        conf: the confidence.
    """
    most = max([*found.gains.values(), 1e-9])
    rows = []
    for kind, gain in sorted(found.gains.items(), key=lambda pair: -pair[1]):
        bar = f'<span class="bar"><i style="width:{gain / most:.1%}"></i></span>'
        told = f"+{gain:.3f}" if found.ap50 >= 0 else "-"
        rows.append(
            f"<tr><th><b>{kind}</b><br><small>{_MEANING[kind]}</small>{bar}</th>"
            f"<td>{told}</td><td>{seen.counts[kind]}</td><td>{found.counts[kind]}</td></tr>"
        )
    return (
        '<section class="card" id="mistakes"><h2>Kinds of mistakes</h2>'
        '<p class="soft">What mask mAP50 would gain if all mistakes of one kind were put right; '
        "the gains do not add up. After TIDE, arXiv:2008.08115.</p>"
        '<div class="scroll"><table class="mistakes"><tr class="head"><th></th>'
        f"<td>mAP50 gained</td><td>seen from {conf:.2f}</td><td>at all scores</td></tr>"
        f"{''.join(rows)}"
        f"<tr><th>right</th><td></td><td>{seen.num_right}</td><td>{found.num_right}</td></tr>"
        "</table></div></section>"
    )


def class_table(contents: Contents, mask: Intervals) -> str:
    """A row per class, sortable by every column."""
    per_class: Mapping[str, Mapping[str, Any]] = contents.metrics.to_json()["per_class"]
    counts = {
        split: np.bincount(
            np.asarray(index.labels)[~np.asarray(index.crowd)], minlength=len(contents.names)
        )
        for split, index in contents.splits.items()
    }
    keys = [key for key in _first(per_class) if key != "instances"]
    heads = ["class", *(f"{split} instances" for split in counts)]
    heads += [key.replace("/", " ") for key in keys]
    heads.insert(heads.index("mask mAP50-95") + 1, "95 % range")
    rows = []
    for label, name in enumerate(contents.names):
        values = per_class.get(name, {})
        red, green, blue = class_colour(label)
        cells = [
            f'<th scope="row" title="{escape(name)}" data-v="{escape(name.lower())}">'
            f'<i class="dot" style="background:rgb({red},{green},{blue})"></i>{escape(name)}</th>'
        ]
        cells += [f'<td data-v="{count[label]}">{count[label]:,}</td>' for count in counts.values()]
        for key in keys:
            value = values.get(key, -1.0)
            cells.append(f'<td data-v="{value:.6g}">{number(value)}</td>')
            if key == "mask/mAP50-95":
                low, high = mask.class_ap[label].low, mask.class_ap[label].high
                told = f"{low:.3f} to {high:.3f}" if low >= 0 else "-"
                cells.append(f'<td class="soft" data-v="{high - low:.6g}">{told}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    titles = "".join(
        f'<th scope="col"><button type="button">{_two_lines(head)}</button></th>' for head in heads
    )
    return (
        '<section class="card" id="classes"><h2>Classes</h2><div class="scroll tall">'
        f'<table class="sortable"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _two_lines(head: str) -> str:
    before, _, last = escape(head).rpartition(" ")
    return f"{before}<br>{last}" if before else last


def _first(values: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    return list(next(iter(values.values()), {"mask/mAP50-95": 0}))


def confusion(matrix: NDArray[np.integer], names: Sequence[str], conf: float) -> str:
    """The confusion matrix as a drawing, and its most frequent confusions in words.

    Args:
        matrix: (K + 1, K + 1), rows annotated, columns predicted, background last.
        names: class names by label.
        conf: lowest score of a prediction that counts.
    """
    size = len(names) + 1
    few, named = len(names) <= _MOST_NUMBERS, len(names) <= _MOST_LABELS
    cell = 46 if few else max(4, min(18, 700 // size))
    edge = 110 if named else 16
    letters = 12 if few else max(6, min(11, cell * 0.7))
    words = [*names, "background"]
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    parts = [
        f'<rect class="ground" x="{edge}" y="{edge}" width="{cell * size}" height="{cell * size}"/>'
    ]
    for row, column in np.argwhere(np.asarray(matrix) > 0).tolist():
        x, y = edge + column * cell, edge + row * cell
        strong = share[row, column]
        told = f"annotated {words[row]}, predicted {words[column]}: {matrix[row, column]}"
        style = "good" if row == column else "bad"
        parts.append(
            f'<rect class="{style}" x="{x}" y="{y}" width="{cell - (cell > 8)}" '
            f'height="{cell - (cell > 8)}" fill-opacity="{0.08 + 0.92 * strong:.2f}">'
            f"<title>{escape(told)}</title></rect>"
        )
        if few:
            parts.append(
                f'<text class="{"on" if strong > 0.5 else "count"}" x="{x + cell / 2 - 0.5:g}" '
                f'y="{y + cell / 2 + 4:g}">{matrix[row, column]}</text>'
            )
    if named:
        for i, word in enumerate(words):
            middle, told = edge + (i + 0.5) * cell, _cut(word, 100 / (letters * 0.56))
            parts.append(
                f'<text class="name" font-size="{letters:g}" x="{edge - 6}" '
                f'y="{middle + letters * 0.35:g}" text-anchor="end">{told}</text>'
                f'<text class="name" font-size="{letters:g}" '
                f'transform="translate({middle + letters * 0.35:g} {edge - 6}) rotate(-90)">'
                f"{told}</text>"
            )
    whole = edge + cell * size + 2
    return (
        '<section class="card" id="confusion"><h2>Confusion matrix</h2>'
        f'<p class="soft">Masks that overlap by IoU 0.50 or more, confidence from {conf:.2f}. '
        "Rows: annotated, columns: predicted; colours: share of the row.</p>"
        f'<div class="columns"><div class="scroll"><svg class="matrix" '
        f'viewBox="0 0 {whole} {whole}" '
        f'style="max-width:{whole}px;min-width:{min(whole, 300)}px" role="img" '
        f'aria-label="Confusion matrix">{"".join(parts)}</svg></div>'
        f"<div>{_confusions(matrix, words)}</div></div></section>"
    )


def _confusions(matrix: NDArray[np.integer], words: Sequence[str]) -> str:
    last = len(words) - 1
    off = np.array(matrix, dtype=np.int64)
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:_MOST_CONFUSIONS]
    rows = []
    for row, column in zip(*np.unravel_index(order, off.shape), strict=True):
        if not off[row, column]:
            break
        if column == last:
            told = f"{words[row]} missed"
        elif row == last:
            told = f"{words[column]} where nothing is annotated"
        else:
            told = f"{words[row]} taken for {words[column]}"
        rows.append(f"<tr><th>{escape(told)}</th><td>{off[row, column]}</td></tr>")
    if not rows:
        return '<h3>Most frequent</h3><p class="soft">no mistake at this confidence</p>'
    return f"<h3>Most frequent</h3><table>{''.join(rows)}</table>"


def number(value: float) -> str:
    """A figure in [0, 1] as text, a dash where COCO has no answer."""
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if value < 0 else f"{value:.3f}"


def _cut(text: str, letters: float) -> str:
    most = max(4, int(letters))
    return escape(text if len(text) <= most else f"{text[: most - 1]}…")
