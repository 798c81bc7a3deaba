from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch

from crispmask.engine.checkpoint import find_last, load_checkpoint
from crispmask.errors import WeightsError
from crispmask.models.files import REQUIRED, write_file
from crispmask.models.fill import fill_again


def _content() -> dict[str, Any]:
    return {**dict.fromkeys(REQUIRED, 1), "state_dict": {"weight": torch.arange(3.0)}}


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "weights" / "best.pt"
    write_file(path, _content())
    loaded = load_checkpoint(path)
    assert (loaded["format"], loaded["version"]) == ("crispmask", 1)
    assert torch.equal(loaded["state_dict"]["weight"], torch.arange(3.0))
    assert [p.name for p in path.parent.iterdir()] == ["best.pt"]


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    write_file(path, _content())

    def interrupted(content: object, file: BinaryIO) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_file(path, {})
    assert load_checkpoint(path)["version"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_an_interruption_within_torch_stays_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torch raises an error of its own when it closes the file it was interrupted in.
    class Interrupting(io.BytesIO):
        def write(self, data: object) -> int:
            raise KeyboardInterrupt

    original = torch.save
    monkeypatch.setattr(torch, "save", lambda content, file: original(content, Interrupting()))
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "last.pt", _content())


class _Foreign:
    pass


def test_each_bad_file_gives_one_line(tmp_path: Path) -> None:
    good = tmp_path / "good.pt"
    write_file(good, _content())
    (tmp_path / "text.pt").write_text("no weights")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "half.pt").write_bytes(good.read_bytes()[:-400])
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    torch.save([1], tmp_path / "list.pt")
    torch.save({"format": "crispmask", "object": _Foreign()}, tmp_path / "code.pt")
    torch.save({"format": "crispmask", "version": 99}, tmp_path / "newer.pt")
    torch.save({"format": "crispmask", "version": 1}, tmp_path / "lacking.pt")
    write_file(tmp_path / "nan.pt", {**_content(), "state_dict": {"w": torch.tensor(torch.nan)}})
    exploded = {"weights": {"w": torch.tensor([1.0, torch.inf])}}
    write_file(tmp_path / "exploded.pt", {**_content(), "training": exploded})
    words = {
        "missing.pt": "no such file",
        "text.pt": "damaged",
        "empty.pt": "damaged",
        "half.pt": "damaged",
        "other.pt": "not a checkpoint of crispmask",
        "list.pt": "not a checkpoint of crispmask",
        "code.pt": "damaged or not a checkpoint",
        "newer.pt": "newer crispmask",
        "lacking.pt": "lacks architecture",
        "nan.pt": "w has 1 of 1 values that are NaN",
        "exploded.pt": "w has 1 of 2 values that are NaN or infinite",
    }
    for name, word in words.items():
        with pytest.raises(WeightsError) as caught:
            load_checkpoint(tmp_path / name)
        message = str(caught.value)
        assert name in message
        assert word in message
        assert "\n" not in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bias": None}, r"last\.pt: bias is missing, \(3,\) expected"),
        ({"bias": torch.ones(2)}, r"last\.pt: bias has shape \(2,\), \(3,\) expected"),
        ({"scale": torch.ones(2)}, r"last\.pt: scale is unknown"),
    ],
)
def test_a_run_does_not_go_on_with_other_tensors(change: dict[str, Any], words: str) -> None:
    network = torch.nn.Linear(2, 3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = {key: value + 1 for key, value in before.items()} | change
    state = {key: value for key, value in state.items() if value is not None}
    with pytest.raises(WeightsError, match=words):
        fill_again(network, state, Path("last.pt"))
    assert all(value.equal(before[key]) for key, value in network.state_dict().items())


def test_find_last(tmp_path: Path) -> None:
    write_file(tmp_path / "run" / "weights" / "last.pt", _content())
    last = tmp_path / "run" / "weights" / "last.pt"
    assert find_last(tmp_path / "run") == last
    assert find_last(last.parent) == last
    assert find_last(last) == last
    with pytest.raises(WeightsError, match=r"no weights/last\.pt"):
        find_last(tmp_path)
