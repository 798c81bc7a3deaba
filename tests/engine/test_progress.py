from __future__ import annotations

import io

import pytest
from rich.console import Console

from crispmask.engine.progress import duration, say, show_bar


def test_files_get_no_bar() -> None:
    out = io.StringIO()
    with show_bar(Console(file=out), "epoch 1/2", 3) as bar:
        for _ in range(3):
            bar.advance(4, "total 1.0")
    assert out.getvalue() == ""


def test_terminals_get_one_that_disappears() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    with show_bar(console, "epoch 1/2", 3) as bar:
        for _ in range(3):
            bar.advance(4, "total 1.0  7 instances")
    text = out.getvalue()
    assert "epoch 1/2" in text
    assert "7 instances" in text
    assert "img/s" in text
    assert "3/3" in text


def test_lines_are_left_as_they_are() -> None:
    out = io.StringIO()
    say(Console(file=out, width=20), "a [bold]long[/bold] line that is not wrapped")
    assert out.getvalue() == "a [bold]long[/bold] line that is not wrapped\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "00:00"), (61.4, "01:01"), (3599.6, "1:00:00"), (36061, "10:01:01")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
