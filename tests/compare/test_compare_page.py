from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crispmask.compare.config import CompareConfig, Row
from crispmask.compare.lines import draw_lines, nice_step
from crispmask.compare.page import write_page
from crispmask.compare.score import Entry, mean_and_spread
from crispmask.compare.table import markdown, write_tables
from crispmask.data.scan import build_index
from crispmask.data.scenes import write_sample_dataset as write_sample
from crispmask.data.spec import read_spec

A, B = Row("a<b>", "ours"), Row("yolo11n-seg", "yolo")


def entries(folder: Path) -> list[Entry]:
    found = []
    for row, seed, value in ((A, 0, 0.5), (A, 1, 0.7), (B, 0, 0.4)):
        place = folder / f"{row.kind}{seed}"
        place.mkdir()
        (place / "predictions.json").write_text("[]")
        score = {"mask/mAP50-95": value, "latency_ms": 100 * value}
        found.append(Entry(row, seed, place, score, [(1, 0.1), (2, value)]))
    return found


def test_mean_and_spread() -> None:
    assert mean_and_spread([0.4]) == (0.4, None)
    mean, spread = mean_and_spread([0.5, 0.7])
    assert mean == pytest.approx(0.6)
    assert spread == pytest.approx(0.1414, abs=1e-4)  # sqrt(2 * 0.1 ** 2 / (2 - 1))


def test_tables(tmp_path: Path) -> None:
    found = entries(tmp_path)
    assert markdown([A, B], found) == (
        "| model | mask mAP50-95 | ms per image |\n| --- | --- | --- |\n"
        "| a<b> | 0.600 ± 0.141 | 60 ± 14 |\n| yolo11n-seg | 0.400 | 40 |\n"
    )
    write_tables(tmp_path, [A, B], found)
    with (tmp_path / "compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["seed"], row["mask/mAP50-95"]) for row in rows] == [
        ("a<b>", "0", "0.5"),
        ("a<b>", "1", "0.7"),
        ("yolo11n-seg", "0", "0.4"),
    ]
    content = json.loads((tmp_path / "compare.json").read_text())
    assert content[2]["curve"] == [[1, 0.1], [2, 0.4]]


def test_the_page_needs_nothing_else_and_escapes_names(tmp_path: Path) -> None:
    spec = read_spec(write_sample(tmp_path / "sample", num_images=8, imgsz=64))
    val = build_index(spec.val, len(spec.names), workers=0)
    config = CompareConfig(data="d/data.yaml", models="solov2-nano", seeds=2, pictures=50)
    file = tmp_path / "compare.html"
    write_page(file, config, [A, B], entries(tmp_path), val, spec.names)
    text = file.read_text()
    assert "a&lt;b&gt;" in text
    assert "<b>" not in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert text.count("<figure>") == 3 * len(val)  # labels and two models
    assert "Mean and standard deviation of 2 seeds" in text
    assert "<td class=best>0.600 ± 0.141</td>" in text
    assert "brightness and contrast" in text  # what YOLO has no setting for


@given(st.floats(1e-3, 1e5))
def test_steps_are_nice(span: float) -> None:
    step = nice_step(span)
    assert span / step * 1.00001 >= 4
    assert span / step <= 10.1
    assert f"{step:e}"[0] in "125"


def test_a_line_of_one_point_and_one_of_zeros() -> None:
    text = draw_lines([("red", [(1, 0.5)]), ("blue", [(1, 0.0), (3, 0.0)])], "epoch", "a < b")
    assert text.count("<circle") == 1
    assert text.count("<polyline") == 1
    assert "a &lt; b" in text
    assert "nan" not in text
