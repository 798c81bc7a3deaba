"""What a run prints: for people, for files, for notebooks, for scripts."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fit_run import toy_config
from rich.console import Console

from crispmask.engine.fit import fit
from crispmask.engine.json_lines import JsonLines
from crispmask.engine.messages import class_table
from crispmask.engine.progress import NotebookLine, show_bar
from crispmask.errors import ConfigError

DOCUMENT = Path(__file__).parents[2] / "docs" / "training.md"


def test_the_banner_and_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    config = toy_config(tmp_path, monkeypatch, epochs=1, class_weights="2")
    fit(config, Console(file=out, width=100))
    text = out.getvalue()
    rows = dict(re.findall(r"^(\w+) {2,}(.*)$", text, flags=re.MULTILINE))
    assert rows["model"].startswith("solov2 nano, 0.0 M parameters, 0 GFLOPs per image, 1 class")
    assert rows["images"] == "6 to train with 6 instances, 3 to validate with 3"
    assert rows["device"].startswith("cpu")
    assert rows["training"].startswith("1 epochs, batch 2, 64 px, recipe matched, SGD, weight")
    assert rows["rate"].startswith("0.05 (given")
    assert rows["classes"] == "weights 2"
    assert rows["results"] == str(tmp_path / "run")
    assert "the best model, of epoch 1:" in text
    assert re.search(r"^class    instances  mask mAP50-95  mAP50", text, flags=re.MULTILINE)
    assert re.search(r"^square0          3          \d\.\d{3}", text, flags=re.MULTILINE)


def test_a_table_of_classes() -> None:
    keys = ("mask/mAP50-95", "mask/mAP50", "box/mAP50-95", "box/mAP50")
    numbers = (0.25, 0.5, 0.125, 1.0)
    table = class_table(
        {
            "bolt": {**dict(zip(keys, numbers, strict=True)), "instances": 1234},
            "a name that goes on and on and on and on": {
                **dict.fromkeys(keys, -1.0),
                "instances": 0,
            },
        }
    )
    assert [len(line) for line in table] == [len(table[0])] * 3
    assert table[1].split() == ["bolt", "1234", "0.250", "0.500", "0.125", "1.000"]
    assert table[2].split()[-5:] == ["0", "-", "-", "-", "-"]


def _script(config: Any, **changes: Any) -> str:
    """A program that trains the toy network."""
    settings = {name: getattr(config, name) for name in ("data", "work_dir", "batch", "imgsz")}
    settings |= {"epochs": 2, "weights": "none", "device": "cpu", "workers": 0, **changes}
    folder = str(Path(__file__).parent)
    return (
        f"import sys; sys.path.insert(0, {folder!r})\n"
        "import crispmask.engine.prepare as prepare, crispmask.engine.report as report\n"
        "from toy_network import ToyNetwork\n"
        "prepare.build_network = lambda spec: ToyNetwork()\n"
        "import crispmask\n"
        f"crispmask.train(**{settings!r})\n"
    )


@pytest.mark.slow
def test_a_pipe_gets_plain_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = toy_config(tmp_path, monkeypatch)
    done = subprocess.run(
        [sys.executable, "-c", _script(config)], capture_output=True, check=True, timeout=120
    )
    text = done.stdout.decode()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)  # not even a carriage return
    assert [line.split()[1] for line in text.splitlines() if line.startswith("epoch ")] == [
        "1/2",
        "2/2",
    ]
    assert text.count("\n") < 30


@pytest.mark.slow
def test_a_pipe_gets_json_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = toy_config(tmp_path, monkeypatch)
    for flag in ("json_lines", "quiet"):
        words = [sys.executable, "-c", _script(config, **{flag: True})]
        done = subprocess.run(words, capture_output=True, check=True, timeout=120)
        if flag == "quiet":
            assert done.stdout == b""
        else:
            kinds = [json.loads(line)["event"] for line in done.stdout.decode().splitlines()]
            assert kinds == ["start", *["validation", "epoch"] * 2, "end"]


def _events(config: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    try:
        fit(replace(config, json_lines=True))
    except ConfigError:
        pass
    finally:
        monkeypatch.undo()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_json_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = _events(toy_config(tmp_path, monkeypatch, epochs=2, patience=1), monkeypatch)
    kinds = [event["event"] for event in events]
    # An lr of 0.05 is ten times the published one: warned of before anything starts.
    assert kinds[:2] == ["warning", "start"]
    assert kinds[-1] == "end"
    assert "training may explode" in events[0]["text"]
    start, end = events[1], events[-1]
    assert (start["train_images"], start["val_instances"], start["lr"]) == (6, 3, 0.05)
    assert start["config"]["epochs"] == 2
    assert "json_lines" not in start["config"]
    rows = [event for event in events if event["event"] == "epoch"]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[1]["mask/mAP50-95"] == events[-3]["metrics"]["mask/mAP50-95"]
    assert end["metrics"] == json.loads((tmp_path / "run/metrics.json").read_text())
    assert Path(end["best_path"]).is_file()
    assert logging.getLogger("crispmask").handlers == []


def test_json_lines_tell_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, event = _events(toy_config(tmp_path, monkeypatch, device="gpu"), monkeypatch)
    assert (event["event"], event["type"]) == ("error", "ConfigError")
    assert event["text"].startswith("--device gpu")
    assert logging.getLogger("crispmask").handlers == []


def test_the_document_names_every_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, flags=re.MULTILINE))
    events = _events(toy_config(tmp_path, monkeypatch, epochs=1), monkeypatch)
    events += [{"event": "note", "text": ""}, {"event": "error", "type": "", "text": ""}]
    for event in events:
        columns = {key for key in event if "/" in key or key in ("lr", "grad_norm", "memory_mb")}
        keys = set(event) - {"event", "time"} - (columns if event["event"] == "epoch" else set())
        named = set(re.findall(r"`([^`]+)`", rows[event["event"]])) - {"results.csv"}
        assert named == keys, event["event"]


def test_numbers_that_json_has_not() -> None:
    lines: list[str] = []
    told = JsonLines(lines.append)
    told.on_error(ValueError("two\nlines"))
    told._send("epoch", grad_norm=float("nan"), values=[float("inf"), 1.5])
    first, second = map(json.loads, lines)
    assert first["text"] == "two lines"
    assert (second["grad_norm"], second["values"]) == (None, [None, 1.5])


class Notebook:
    """Stands for IPython in a kernel; keeps what a browser would show."""

    def __init__(self) -> None:
        self.cells: dict[str, str] = {}
        self.kernel = self

    def get_ipython(self) -> Notebook:
        return self

    def display(self, data: dict[str, str], raw: bool, display_id: str, update: bool) -> None:
        assert raw
        assert (display_id in self.cells) == update
        self.cells[display_id] = data["text/plain"]


def test_a_notebook_gets_a_line_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook()
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", notebook)
    out = io.StringIO()
    with show_bar(Console(file=out), "epoch 1/2", 3) as line:
        assert isinstance(line, NotebookLine)
        (cell,) = notebook.cells
        assert notebook.cells[cell] == "epoch 1/2"
        for _ in range(3):
            line.advance(4, "mask 1.00")
        assert re.fullmatch(
            r"epoch 1/2  3/3  mask 1\.00  [\d.]+ img/s  left 00:00", notebook.cells[cell]
        )
    assert notebook.cells == {cell: ""}
    assert out.getvalue() == ""
    with show_bar(Console(quiet=True), "epoch 2/2", 3) as line:
        line.advance(4)
    assert len(notebook.cells) == 1


def test_a_shell_of_ipython_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = types.SimpleNamespace(get_ipython=lambda: object())
    monkeypatch.setitem(sys.modules, "IPython", shell)
    with show_bar(Console(file=io.StringIO()), "epoch 1/2", 3) as line:
        assert not isinstance(line, NotebookLine)
