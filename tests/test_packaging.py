"""The package outside its repository: a wheel, a container, a workflow."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_wheel_runs_outside_the_repository(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", str(ROOT)]
    done = subprocess.run(
        [*build, "--wheel-dir", str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("the build tools could not be fetched")
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = tmp_path.glob("crispmask-*.whl")
    place = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(place)
    files = [path for path in (ROOT / "crispmask").rglob("*.*") if "__pycache__" not in path.parts]
    ours = {path.relative_to(ROOT).as_posix() for path in files}
    assert {Path(name).suffix for name in ours} >= {".py", ".css", ".js"}
    assert ours <= set(names)
    assert "crispmask/py.typed" in names
    assert not any(name.startswith(("tests", "benchmarks", "docs")) for name in names)

    def run(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(place)}
        command = [sys.executable, "-P", "-m", "crispmask", *words]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout

    where = "import crispmask; print(crispmask.__file__)"
    found = subprocess.run(
        [sys.executable, "-P", "-c", where],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()).is_relative_to(place)
    assert run("--version").strip() == f"crispmask {wheel.name.split('-')[1]}"
    run("sample", "--out", "sample", "--images", "4", "--imgsz", "64")
    assert "ready for training" in run("check", "--data", "sample/data.yaml")


def test_the_container_copies_what_exists() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = [
        word
        for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    assert copied
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in allowed
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra in re.findall(r"\.\[(\w+)\]", text):
        assert extra in extras["optional-dependencies"]


def test_the_workflow_runs_targets_of_the_makefile() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    steps = workflow["jobs"]["test"]["steps"]
    targets = [step["run"].split()[1] for step in steps if step.get("run", "").startswith("make ")]
    assert {"lint", "fast", "slow"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (
        f">={workflow['jobs']['test']['strategy']['matrix']['python'][0]}"
        in project["requires-python"]
    )
