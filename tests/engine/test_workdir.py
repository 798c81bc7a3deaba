from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crispmask.config import TrainConfig
from crispmask.engine.workdir import LOCK, WorkDir, choose_work_dir, held
from crispmask.errors import ConfigError


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _finish(path: Path) -> None:
    (path / "weights").mkdir(parents=True)
    (path / "weights" / "last.pt").touch()


@pytest.mark.parametrize("model", ["nano", "tiny"])
def test_both_names_of_the_smallest_model_share_a_folder(model: str) -> None:
    config = TrainConfig(architecture="solov2", model=model)  # type: ignore[arg-type]  # a parameter
    assert choose_work_dir(config).path == Path("work_dirs/solov2_nano")
    config = TrainConfig(architecture="rtmdet-ins", model=model)  # type: ignore[arg-type]  # likewise
    assert choose_work_dir(config).path == Path("work_dirs/rtmdet-ins_tiny")


def test_numbers_follow_finished_runs() -> None:
    assert choose_work_dir(TrainConfig()).previous is None
    _finish(Path("work_dirs/solov2_nano"))
    chosen = choose_work_dir(TrainConfig())
    assert chosen.path == Path("work_dirs/solov2_nano_2")
    assert chosen.previous == Path("work_dirs/solov2_nano")
    _finish(chosen.path)
    assert choose_work_dir(TrainConfig()).path == Path("work_dirs/solov2_nano_3")


def test_a_given_folder_is_used_unless_it_holds_a_run() -> None:
    Path("mine/notes").mkdir(parents=True)
    assert choose_work_dir(TrainConfig(work_dir="mine")).path == Path("mine")
    (Path("mine") / "results.csv").touch()
    assert choose_work_dir(TrainConfig(work_dir="mine")).path == Path("mine_2")
    assert choose_work_dir(TrainConfig(work_dir="mine/")).path == Path("mine_2")


def test_the_current_folder_can_be_numbered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("results.csv").touch()
    assert choose_work_dir(TrainConfig(work_dir=".")).path == tmp_path / "here_2"


def test_a_file_of_that_name_is_an_error() -> None:
    Path("mine").touch()
    with pytest.raises(ConfigError, match="a file has that name"):
        choose_work_dir(TrainConfig(work_dir="mine"))


def test_a_lock_that_cannot_be_removed_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "in use", str(path))

    work_dir = WorkDir(tmp_path / "run")
    with monkeypatch.context() as patch, held(work_dir):
        patch.setattr(Path, "unlink", refuse)
    with held(work_dir):
        pass


_HOLDER = """
import sys, time
from pathlib import Path
from crispmask.engine.workdir import WorkDir, held
with held(WorkDir(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_processes_do_not_write_into_one_folder() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, "runs/mine"], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        # Nothing of a run is there yet, but somebody is at it.
        assert choose_work_dir(TrainConfig(work_dir="runs/mine")).path == Path("runs/mine_2")
        with (
            pytest.raises(ConfigError, match=r"runs/mine: another process is training"),
            held(WorkDir(Path("runs/mine"))),
        ):
            raise AssertionError("not to be reached")
        os.kill(other.pid, signal.SIGKILL)
    assert Path("runs/mine", LOCK).is_file()  # killed: its file stays, its lock does not
    assert choose_work_dir(TrainConfig(work_dir="runs/mine")).path == Path("runs/mine")
    with held(WorkDir(Path("runs/mine"))):
        Path("runs/mine/results.csv").touch()
    assert [path.name for path in Path("runs/mine").iterdir()] == ["results.csv"]


def test_a_run_that_writes_nothing_leaves_no_folder() -> None:
    Path("there").mkdir()
    with pytest.raises(ZeroDivisionError), held(WorkDir(Path("there/new/run"))):
        raise ZeroDivisionError
    assert list(Path("there").iterdir()) == []


def test_a_folder_that_cannot_be_locked_is_left_to_those_who_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(self: object) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr("filelock.FileLock._acquire", refuse)
    Path("run").mkdir()
    Path("run", LOCK).touch()
    with held(WorkDir(Path("run"))):
        assert choose_work_dir(TrainConfig(work_dir="run")).path == Path("run")
