from __future__ import annotations

from pathlib import Path

import pytest

import crispmask
from crispmask.errors import CrispmaskError
from crispmask.models.locate import local_path, path_beside


def test_ways_to_write_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "a b.pt"
    for text in (file, str(file), file.as_uri(), "~/a b.pt"):
        assert local_path(text) == file
        assert path_beside(text, ".onnx") == tmp_path / "a b.onnx"
    assert path_beside("runs/best.pt", "_aot.pt2") == Path("runs/best_aot.pt2")
    assert local_path("~no-such-user/a.pt") == Path("~no-such-user/a.pt")
    assert path_beside("coco", ".onnx") == Path("coco.onnx")


def test_what_is_made_of_a_repository_lies_here() -> None:
    for address in ("hf://me/nuts-v1.2", "hf://me/nuts-v1.2@main", "hf://me/nuts-v1.2@a/b"):
        assert path_beside(address, ".onnx") == Path("nuts-v1.2.onnx")


def test_a_graph_is_found_as_a_checkpoint_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in ("~/best.onnx", (tmp_path / "best.onnx").as_uri(), "~/best.xml"):
        with pytest.raises(CrispmaskError, match=str(tmp_path)):  # or OpenVINO is missing
            crispmask.load(text)
