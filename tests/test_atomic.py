from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crispmask.atomic import remove_partial, replacing, replacing_folder
from crispmask.errors import OutputError


def test_takes_the_place_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="asks for the mode of an open file as POSIX does")
def test_synced_while_open_for_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    modes = []
    monkeypatch.setattr(
        os, "fsync", lambda file: modes.append(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE)
    )
    with replacing(tmp_path / "a.txt") as partial:
        partial.write_text("new")
    assert modes == [os.O_RDWR]  # Windows refuses what is open for reading only


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_file_that_was_there(tmp_path: Path, error: type) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_takes_its_place(tmp_path: Path, there: bool) -> None:
    out = tmp_path / "a" / "out"
    if there:
        out.mkdir(parents=True)
        before = out.stat().st_ino
    with replacing_folder(out) as partial:
        (partial / "images").mkdir()
        (partial / "data.yaml").write_text("x")
    assert sorted(p.name for p in out.iterdir()) == ["data.yaml", "images"]
    assert [p.name for p in out.parent.iterdir()] == ["out"]
    if there:  # the folder itself stays: it may be a mount or the current one
        assert out.stat().st_ino == before


@pytest.mark.parametrize("there", [False, True])
def test_an_error_leaves_nothing_of_a_folder(tmp_path: Path, there: bool) -> None:
    out = tmp_path / "out"
    if there:
        out.mkdir()

    def write() -> None:
        with replacing_folder(out) as partial:
            (partial / "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert [p.name for p in tmp_path.rglob("*")] == (["out"] if there else [])


def test_a_folder_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"a\.txt: cannot be written \(No such file"),
        replacing(tmp_path / "none" / "a.txt") as partial,
    ):
        partial.write_text("x")


def test_half_written_files_are_removed(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from crispmask.atomic import replacing\n"
        "with replacing(Path(sys.argv[1]) / 'a.txt') as partial:\n"
        "    partial.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    assert not (tmp_path / "a.txt").exists()
    remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == []
    remove_partial(tmp_path / "none")


@pytest.mark.skipif(os.name != "posix", reason="the limit that stands for a full disk is POSIX's")
@pytest.mark.parametrize("name", ["last.pt", "model.safetensors"])
def test_a_full_disk_leaves_the_older_checkpoint(tmp_path: Path, name: str) -> None:
    script = (
        "import resource, sys, torch\n"
        "from pathlib import Path\n"
        "from crispmask.errors import OutputError\n"
        "from crispmask.models.files import write_file\n"
        "path = Path(sys.argv[1])\n"
        "write_file(path, {'state_dict': {'a': torch.zeros(10)}})\n"
        "before = path.read_bytes()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    write_file(path, {'state_dict': {'a': torch.zeros(1_000_000)}})\n"
        "except OutputError as error:\n"
        "    print(error)\n"
        "assert path.read_bytes() == before\n"
        "assert len(list(path.parent.iterdir())) == 1\n"
    )
    path = tmp_path / name
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{path}: cannot be written (")
    assert "the older file is untouched" in done.stdout
    assert done.stdout.count("\n") == 1
