"""Processes of a comparison: run once, continued, never mistaken for others."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from crispmask.compare.jobs import Job, JobError, run_job

COUNT = """
import pathlib, sys
path = pathlib.Path(sys.argv[1])
path.write_text(str(int(path.read_text()) + 1 if path.exists() else 1))
print('epoch', path.read_text())
print('noise')
sys.exit(int(sys.argv[2]))
"""


def job(folder: Path, code: int = 0, request: dict[str, object] | None = None) -> Job:
    def command(code: int) -> list[str]:
        return [sys.executable, "-c", COUNT, str(folder / "count"), str(code)]

    return Job(
        "a model",
        folder,
        request or {"epochs": 1},
        command(code),
        go_on=lambda: command(0) if (folder / "count").exists() else None,
        shows=lambda line: line if line.startswith("epoch") else None,
    )


def test_a_finished_job_is_not_run_again(tmp_path: Path) -> None:
    said: list[str] = []
    first = run_job(job(tmp_path), said.append)
    second = run_job(job(tmp_path), said.append)
    assert (tmp_path / "count").read_text() == "1"
    assert first == second
    assert first["seconds"] > 0
    assert first["memory_mb"] > 1
    assert said == [
        f"a model: started, results in {tmp_path}",
        "  epoch 1",
        f"a model: finished earlier, in {tmp_path}",
    ]
    assert "noise" in (tmp_path / "log.txt").read_text()


def test_a_failed_job_is_continued(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(JobError, match=r"a model failed with exit code 3; see .*log\.txt"):
        run_job(job(tmp_path, code=3), said.append)
    assert not (tmp_path / "done.json").exists()
    before = json.loads((tmp_path / "spent.json").read_text())["seconds"]
    assert run_job(job(tmp_path, code=3), said.append)["seconds"] > before
    assert f"a model: continued, results in {tmp_path}" in said
    assert (tmp_path / "count").read_text() == "2"


def test_a_folder_of_other_settings(tmp_path: Path) -> None:
    run_job(job(tmp_path), lambda line: None)
    with pytest.raises(JobError, match="holds a run with epochs 1, not 2; name another --out"):
        run_job(job(tmp_path, request={"epochs": 2}), lambda line: None)


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no-such-command cannot be run: No such file"):
        run_job(Job("a", tmp_path, {}, ["no-such-command"]), lambda line: None)
