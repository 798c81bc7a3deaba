"""A run that is killed and resumed ends with the same bits; 25 kills are in benchmarks/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill_and_resume.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_runs_end_as_others_do() -> None:
    words = [sys.executable, str(SCRIPT), "--kills", "2", "--epochs", "5", "--images", "12"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equal bit by bit" in done.stdout
