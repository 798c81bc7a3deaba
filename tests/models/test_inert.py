"""Files of torch.save: tensors as torch reads them, and nothing in them runs."""

from __future__ import annotations

import io
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from crispmask.models.inert import Placeholder, read_inert


def tensors() -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    base = torch.rand(4, 6, generator=g)
    return {
        "float": base,
        "transposed": base.T,  # shares the numbers of the first
        "part": base[1:3, 2:5],
        "half": base.half(),
        "brain": base.bfloat16(),
        "double": base.double(),
        "long": torch.tensor(7),
        "bool": base > 0.5,
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(base + 1),
    }


@pytest.mark.parametrize("new_format", [True, False])
def test_tensors_are_those_torch_reads(tmp_path: Path, new_format: bool) -> None:
    path = tmp_path / "a.pth"
    state = OrderedDict(tensors())
    state._metadata = OrderedDict({"": {"version": 1}})  # as nn.Module.state_dict adds
    content = {"state_dict": state, "text": "a", "numbers": (1, 2.5, None, True), "list": [1, 2]}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    found = read_inert(path)
    expected = torch.load(path, weights_only=True)
    assert found["text"] == "a"
    assert found["numbers"] == (1, 2.5, None, True)
    assert found["list"] == [1, 2]
    assert list(found["state_dict"]) == list(state)
    for key, value in expected["state_dict"].items():
        mine = found["state_dict"][key]
        assert mine.dtype == value.dtype
        assert mine.shape == value.shape
        assert mine.equal(value), key


class Payload:
    """Runs a function when it is unpickled the usual way."""

    def __init__(self, function, *args) -> None:
        self.call = (function, args)

    def __reduce__(self):
        return self.call


class Hidden:
    """A payload inside the state of an object."""

    def __init__(self, path: Path) -> None:
        self.payload = Payload(os.system, f"touch {path}")


@pytest.mark.parametrize("new_format", [True, False])
def test_nothing_runs(tmp_path: Path, new_format: bool) -> None:
    mark = tmp_path / "executed"
    inner = io.BytesIO()
    torch.save({"a": Payload(os.system, f"touch {mark}")}, inner)
    meta = {
        "system": Payload(os.system, f"touch {mark}"),
        "eval": Payload(eval, f"open({str(mark)!r}, 'w')"),
        "getattr": Payload(getattr, "a", "upper"),
        "nested": Payload(torch.storage._load_from_bytes, inner.getvalue()),
        "touch": Payload(Path.touch, mark),
        "state": Hidden(mark),
        "factory": defaultdict(Hidden, {1: 2}),
    }
    path = tmp_path / "evil.pth"
    torch.save(
        {"meta": meta, "state_dict": {"a": torch.ones(3)}},
        path,
        _use_new_zipfile_serialization=new_format,
    )
    assert not mark.exists()
    found = read_inert(path)
    assert found["state_dict"]["a"].tolist() == [1, 1, 1]
    assert isinstance(found["meta"]["system"], Placeholder)
    assert not mark.exists()
    # The file is as dangerous as it looks.
    torch.load(path, weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cos\nsystem\n(S'touch executed'\ntR.",
        b"(cos\nsystem\nS'touch executed'\no.",  # OBJ
        b"(S'touch executed'\nios\nsystem\n.",  # INST
        b"\x80\x02cos\nsystem\nS'touch executed'\n\x85\x81.",  # NEWOBJ
        b"\x80\x04\x8c\x02os\x8c\x06system\x93S'touch executed'\n\x85R.",  # STACK_GLOBAL
        b"\x80\x04\x8c\x08builtins\x8c\x0deval.__call__\x93S'touch executed'\n\x85R.",
    ],
)
def test_no_opcode_reaches_a_function(code: bytes, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    if b"eval" not in code and b"\x81" not in code:  # these would fail before they run
        pickle.loads(code)  # the code does what it says
        Path("executed").unlink()
    with zipfile.ZipFile("a.pth", "w") as archive:
        archive.writestr("a/data.pkl", code)
    found = read_inert(Path("a.pth"))
    assert isinstance(found, Placeholder)
    assert not Path("executed").exists()


def test_a_file_cannot_change_what_reads_the_next_one(tmp_path: Path) -> None:
    name = b"ctorch._utils\n_rebuild_tensor_v2\n"
    path = tmp_path / "a.pth"
    for state in (b"}S'a'\nS'b'\ns", b"N}S'__name__'\nS'b'\ns\x86"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", b"\x80\x02" + name + state + b"b.")
        with pytest.raises((pickle.UnpicklingError, AttributeError, TypeError)):
            read_inert(path)
    torch.save({"a": torch.ones(2)}, path)
    assert read_inert(path)["a"].tolist() == [1, 1]


def test_objects_of_missing_packages_are_left_out_and_mappings_read(tmp_path, monkeypatch) -> None:
    module = types.ModuleType("mmengine_like")

    class ConfigDict(dict):
        def __reduce_ex__(self, protocol):
            return (self.__class__, (dict(self),))

    class HistoryBuffer:
        def __init__(self) -> None:
            self.history = np.arange(3.0)

    for cls in (ConfigDict, HistoryBuffer):
        cls.__module__, cls.__qualname__ = "mmengine_like", cls.__name__
        setattr(module, cls.__name__, cls)
    monkeypatch.setitem(sys.modules, "mmengine_like", module)
    meta = {
        "dataset_meta": ConfigDict(classes=("cat", "dog")),
        "buffer": HistoryBuffer(),
        "lr": np.float64(0.25),
        "steps": np.int64(-3),
        "array": np.ones(3),
        "shape": torch.Size([1, 2]),
    }
    path = tmp_path / "a.pth"
    torch.save({"meta": meta}, path)
    monkeypatch.delitem(sys.modules, "mmengine_like")
    found = read_inert(path)["meta"]
    assert found["dataset_meta"]["classes"] == ("cat", "dog")
    assert isinstance(found["buffer"], Placeholder)
    assert (found["lr"], found["steps"], found["shape"]) == (0.25, -3, (1, 2))


@pytest.mark.parametrize("new_format", [True, False])
def test_damaged_files_are_errors(tmp_path: Path, new_format: bool) -> None:
    path = tmp_path / "a.pth"
    torch.save(tensors(), path, _use_new_zipfile_serialization=new_format)
    data = path.read_bytes()
    for end in (0, 10, len(data) // 2, len(data) - 8):
        path.write_bytes(data[:end])
        with pytest.raises(Exception, match=r"."):
            read_inert(path)


def test_tensors_do_not_reach_beyond_their_storage(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a": torch.arange(4.0)}, path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            # The size of the tensor becomes 200.
            archive.writestr(name, data.replace(b"K\x04\x85", b"K\xc8\x85"))
    with pytest.raises(RuntimeError, match="out of bounds"):
        read_inert(path)
