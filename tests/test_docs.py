"""The documentation says what the code does, and every page can be reached."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from crispmask.cli import COMMANDS
from crispmask.cli.arguments import flags_of, parse, read_values
from crispmask.config import TrainConfig
from tests.test_readme import CONFIGS, ROOT

PAGES = sorted(ROOT.glob("docs/*.md"))
DOCUMENTS = [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def fenced(path: Path) -> list[list[str]]:
    """The words of every crispmask command that stands on a line of its own."""
    lines = "".join(blocks(path, "bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("crispmask ")]


def inline(path: Path) -> list[list[str]]:
    """The words of every crispmask command inside a sentence or table, maybe not complete."""
    text = path.read_text(encoding="utf-8")
    return [shlex.split(code)[1:] for code in re.findall(r"`(crispmask [^`\n]+)`", text)]


def named(value: object) -> str:
    return value.name if isinstance(value, Path) else " ".join(value)  # type: ignore[arg-type]  # words


@pytest.mark.parametrize(
    ("path", "words"), [(p, words) for p in DOCUMENTS for words in fenced(p)], ids=named
)
def test_commands_parse(path: Path, words: list[str]) -> None:
    name, *flags = words
    assert name in COMMANDS, f"{path.name}: no command {name}"
    parse(CONFIGS[name], flags, name)


@pytest.mark.parametrize(
    ("path", "words"), [(p, words) for p in DOCUMENTS for words in inline(p)], ids=named
)
def test_commands_in_sentences_exist(path: Path, words: list[str]) -> None:
    name, *flags = words
    if name not in ("COMMAND", "--version"):
        assert name in COMMANDS, f"{path.name}: no command {name}"
        read_values(flags, flags_of(CONFIGS[name]))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_python_parses(path: Path) -> None:
    for block in blocks(path, "python"):
        ast.parse(block)


def test_flags_named_on_the_pages_exist() -> None:
    known = {flag for config in CONFIGS.values() for flag in flags_of(config)}
    for path in (ROOT / "docs").glob("from-*.md"):
        named = set(re.findall(r"(?<![\w-])--([a-z][a-z-]*)", path.read_text(encoding="utf-8")))
        assert named - {"name"} <= known, path.name


def test_settings_with_the_same_name_have_it() -> None:
    """What the page for users of Ultralytics says is called alike is."""
    text = (ROOT / "docs/from-ultralytics.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if "the same names" in line]
    assert len(rows) == 2
    for row in rows:
        for name in re.findall(r"`([a-z_]+)`", row.split("|")[1]):
            assert name.replace("_", "-") in flags_of(TrainConfig)


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    assert {path.name for path in PAGES} <= set(re.findall(r": (\S+\.md)", menu))


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra docs is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},  # as `make docs`: its advertisement
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "site/api/index.html").is_file()
    assert "WARNING" not in done.stderr
