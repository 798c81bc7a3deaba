"""A dataset in a folder that cannot be written: nothing even tries."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from coco_datasets import write_coco_dataset
from write_watch import watched

from crispmask.cli import main
from crispmask.data import coco_table, index_cache, scan
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec

ROOT = Path(__file__).parents[2]


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in [folder, *folder.rglob("*")]
    }


def make_read_only(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)


@pytest.fixture
def datasets(yolo_dataset, tmp_path: Path) -> list[Path]:
    """The same with label files and with COCO files, read-only."""
    data = yolo_dataset(num_train=4, num_val=2)
    coco = write_coco_dataset(data, tmp_path / "coco", crowds=True)
    for folder in (data.parent, coco.parent):
        make_read_only(folder)
    return [data, coco]


def test_the_watch_sees_attempts(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with watched(folder) as attempts:
        (tmp_path / "beside").write_text("")
        assert attempts == []
        (folder / "a").write_text("")
        (folder / "a").rename(folder / "b")
        (folder / "b").unlink()
        (folder / "b").exists()
    events = ["open", "os.rename", "os.rename", "os.remove"]
    assert [attempt.split()[0] for attempt in attempts] == events


def test_index_check_and_convert(
    datasets: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((coco_table, "_QUICK"), (scan, "_QUICK"), (index_cache, "_TICK")):
        monkeypatch.setattr(module, name, -1)  # everything is kept, in the cache folder
    for number, data in enumerate(datasets):
        before = state(data.parent)
        with watched(data.parent) as attempts:
            spec = read_spec(data)
            for _ in range(2):
                assert build_index(spec.train, 3).file is not None
            out = tmp_path / f"out{number}"
            reports = [f"json={out / 'a.json'}", f"html={out / 'a.html'}", f"fix_to={out / 'fix'}"]
            assert main(["check", f"data={data}", *reports]) == 0
            assert main(["convert", f"data={data}", f"out={out}"]) == 0
        assert attempts == []
        assert state(data.parent) == before


COMMANDS = """
import sys
sys.path.append("tests")
from write_watch import watched
from crispmask.cli import main
data, run = sys.argv[1:]
with watched(data.rpartition("/")[0]) as attempts:
    assert main(["check", f"data={data}"]) == 0
    assert main(["convert", f"data={data}", f"out={run}/coco"]) == 0
    common = [f"data={data}", "workers=2", "device=cpu"]
    words = ["epochs=1", "imgsz=64", "batch=2", "weights=none", "architecture=rtmdet-ins"]
    assert main(["train", *common, *words, f"work_dir={run}"]) == 0
    assert main(["val", *common, f"weights={run}/weights/best.pt", f"out={run}/val"]) == 0
assert attempts == [], attempts
"""


@pytest.fixture(scope="module")
def mounted() -> list[str]:
    """Words before a command that runs it with a folder mounted read-only."""
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", script]
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [*words, folder, "touch", f"{folder}/a"],
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError:
            pytest.skip("there is no unshare")
    if "Read-only" not in done.stderr:
        pytest.skip("only a superuser may mount")
    return words


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_where_the_system_refuses(
    datasets: list[Path], mounted: list[str], tmp_path: Path, number: int
) -> None:
    data, run = datasets[number], tmp_path / "run"
    before = state(data.parent)
    run.mkdir()
    words = [sys.executable, "-c", COMMANDS, str(data), str(run)]
    subprocess.run([*mounted, str(data.parent), *words], cwd=ROOT, check=True, timeout=280)
    assert state(data.parent) == before
    assert (run / "val/metrics.json").is_file()
