from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import crispmask
from crispmask.cli import COMMANDS, find_command, main
from crispmask.errors import CrispmaskError

ROOT = Path(__file__).parents[2]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_lists_the_commands(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, word)
    assert (code, err) == (0, "")
    for name, summary in COMMANDS.items():
        assert f"  {name} " in out
        assert summary in out


def test_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys)
    assert code == 2
    assert out.startswith("usage: crispmask COMMAND")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"crispmask {crispmask.__version__}\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_function_of_its_name(name: str) -> None:
    assert find_command(name).__name__ == name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, name, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: crispmask {name} ")


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "trian")
    assert (code, out) == (2, "")
    assert err == (
        f"error: unknown command 'trian', not one of {', '.join(COMMANDS)}; did you mean train?\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "epohcs=3"], "unknown flag epohcs; did you mean --epochs?"),
        (["train", "--epochs", "many"], "--epochs must be a whole number, not 'many'"),
        (["train", "--epochs", "0"], "--epochs must be at least 1, not 0"),
        (["train"], "--data is required: the path of a data.yaml"),
        (["train", "data=nowhere.yaml"], "nowhere.yaml"),
        (["predict", "--weights", "a.pt"], "--source is required"),
        (["predict", "weights=a.pt", "source=nowhere"], "nowhere: no such file or folder"),
        (["predict", "weights=a.pt", "source=.", "conf=2"], "--conf is a score from 0 to 1"),
        (["val", "weights=a.pt", "data=nowhere.yaml"], "nowhere.yaml"),
        (["check", "data=nowhere.yaml"], "nowhere.yaml"),
        (["check", "data=d", "imgsz=9"], "--imgsz must be at least 32, not 9"),
        (["check", "data=d", "workers=0"], "--workers must be at least 1 or auto, not 0"),
        (["check", "data=d", "max_shown=-1"], "--max-shown must not be negative, not -1"),
        (["check", "data=d", "fix_to=f", "split=val"], "leave --split out"),
        (["convert", "data=nowhere.yaml", "out=x"], "nowhere.yaml"),
        (["convert", "data=d", "out=x", "to=yolo"], "--to must be coco, not 'yolo'"),
        (["sample", "--out", "x", "--images", "1"], "--images must be at least 2"),
        (["models", "--all"], "unknown flag --all"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []  # nothing was begun


def test_traceback_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "train", "--traceback", "epochs=0")
    assert code == 2
    assert "Traceback (most recent call last)" in err
    assert err.endswith("error: --epochs must be at least 1, not 0\n")


class Failing:
    """A command that raises; stands in for what cannot be provoked in a test."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, argv: object, prog: object) -> int:
        raise self.error


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    monkeypatch.setattr("crispmask.cli.find_command", lambda name: Failing(error))


def test_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fail_with(monkeypatch, KeyboardInterrupt())
    assert run(capsys, "train") == (130, "", "interrupted\n")


def test_a_message_of_many_lines_becomes_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, CrispmaskError("a\n  b"))
    assert run(capsys, "train") == (2, "", "error: a b\n")


def test_a_file_of_the_user_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("")
    code, _, err = run(capsys, "sample", "--out", str(tmp_path / "taken" / "x"))
    assert code == 2
    assert str(tmp_path / "taken") in err
    assert err.count("\n") == 1


def test_a_fault_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, OSError("no file name"))
    with pytest.raises(OSError, match="no file name"):
        main(["train"])


def test_list_models(capsys: pytest.CaptureFixture[str]) -> None:
    code, table, _ = run(capsys, "models")
    assert code == 0
    assert "rtmdet-ins" in table
    assert run(capsys, "train", "--list-models") == (0, table, "")


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "crispmask", "--help"],
        ["-m", "crispmask", "models"],
        ["train.py", "--help"],
        ["train.py", "--list-models"],
    ],
)
def test_answers_at_once(words: list[str]) -> None:
    """About 0.3 s on an idle machine; the bound leaves room for a busy one."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert time.perf_counter() - start < 3
    assert done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_has_gone_is_no_error(buffered: bool) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, *([] if buffered else ["-u"]), "-m", "crispmask", "--help"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("buffered", [True, False])
def test_a_full_disk_is_one_line(buffered: bool) -> None:
    words = [sys.executable, *([] if buffered else ["-u"]), "-m", "crispmask", "--help"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            words, cwd=ROOT, env=environment, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 2
    assert done.stderr == b"error: No space left on device: free some space and try again\n"


def test_a_broken_pipe_of_another_kind_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, BrokenPipeError("of a worker"))
    with pytest.raises(BrokenPipeError, match="of a worker"):
        main(["train"])
