from __future__ import annotations

from pathlib import Path

import pytest

from crispmask.cache import default_folder


def test_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CRISPMASK_CACHE", str(tmp_path / "here"))
    assert default_folder() == tmp_path / "here"
    monkeypatch.setenv("CRISPMASK_CACHE", "~no-such-user/a")  # the name of a folder, then
    assert default_folder() == Path("~no-such-user/a")
    monkeypatch.setenv("CRISPMASK_CACHE", "")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_folder() == Path.home() / ".cache" / "crispmask"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "crispmask"
