from __future__ import annotations

from pathlib import Path

import pytest

from crispmask.config import TrainConfig
from crispmask.engine.workdir import choose_work_dir
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
