from __future__ import annotations

import os
import subprocess
import sys
from operator import itemgetter
from pathlib import Path

import pytest

from crispmask.data.processes import ProcessDiedError, map_in_processes


def test_results_come_in_order_from_other_processes() -> None:
    results = list(map_in_processes(os.path.basename, [f"a/{i}" for i in range(40)], 2))
    assert results == [str(i) for i in range(40)]
    code = "__import__('os').getpid()"
    processes = set(map_in_processes(eval, [code] * 40, 2))
    assert len(processes) == 2
    assert os.getpid() not in processes


@pytest.mark.parametrize("workers", [0, 1])
def test_without_processes(workers: int) -> None:
    assert list(map_in_processes(lambda x: x + 1, [1, 2], workers)) == [2, 3]
    assert list(map_in_processes(abs, [], 4)) == []


def test_an_error_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError, match="gone"):
        list(map_in_processes(itemgetter("gone"), [{}, {}], 2))


def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(ProcessDiedError) as caught:
        list(map_in_processes(os._exit, [7, 7], 2))
    assert caught.value.code == 7


def test_what_a_library_prints_does_no_harm() -> None:
    assert list(map_in_processes(print, ["to stderr", "of the process"], 2)) == [None, None]


def test_files_of_the_current_folder_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "signal.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    assert list(map_in_processes(abs, [-1, -2], 2)) == [1, 2]


def test_a_script_needs_no_main_guard() -> None:
    script = (
        "from crispmask.data.processes import map_in_processes\n"
        "print(list(map_in_processes(abs, [-1, -2, -3], 2)))\n"
    )
    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True)
    assert done.stdout.strip() == "[1, 2, 3]"
