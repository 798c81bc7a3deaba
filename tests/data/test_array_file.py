from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crispmask.data import array_file
from crispmask.data.array_file import DamagedFileError, map_arrays, write_arrays

ARRAYS = {
    "numbers": np.arange(10, dtype=np.int64),
    "points": np.random.default_rng(0).random((20, 2), dtype=np.float32),
    "none": np.zeros((0, 3), dtype=np.int64),
    "bytes": np.frombuffer("ä".encode(), dtype=np.uint8),
    "turned": np.arange(6).reshape(2, 3).T,
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(array_file, "_BLOCK", 64)  # several blocks
    write_arrays(tmp_path / "a.index", "key", ARRAYS)
    return tmp_path / "a.index"


def test_arrays_come_back_shared_and_read_only(file: Path) -> None:
    arrays = map_arrays(file, "key")
    assert list(arrays) == list(ARRAYS)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, ARRAYS[name])
        assert array.dtype == ARRAYS[name].dtype
        assert array.shape == ARRAYS[name].shape
        assert not array.flags.writeable
        assert array.ctypes.data % array.dtype.itemsize == 0
        assert not array.flags.owndata
    assert [path.name for path in file.parent.iterdir()] == ["a.index"]


def test_nothing_at_all(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a", "", {})
    assert map_arrays(tmp_path / "a", "") == {}


def test_every_cut_and_every_changed_byte_is_noticed(file: Path) -> None:
    content = file.read_bytes()
    cut = file.with_name("cut")
    for end in range(0, len(content), 31):
        cut.write_bytes(content[:end])
        with pytest.raises(DamagedFileError):
            map_arrays(cut, "key")
    same = []
    for i in range(0, len(content), 5):
        changed = bytearray(content)
        changed[i] ^= 16
        cut.write_bytes(changed)
        try:
            arrays = map_arrays(cut, "key")
        except DamagedFileError:
            continue
        same.append(i)  # a byte between two arrays
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, ARRAYS[name])
    assert 0 < len(same) < 64 * (len(ARRAYS) + 1)
    with pytest.raises(DamagedFileError):
        map_arrays(file, "other key")
    cut.write_bytes(content + b"x")
    with pytest.raises(DamagedFileError):
        map_arrays(cut, "key")


def test_without_a_check_the_content_is_not_read(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert set(map_arrays(file, "key", check=False)) == set(ARRAYS)


def test_who_reads_keeps_the_old_file(file: Path) -> None:
    before = map_arrays(file, "key")
    write_arrays(file, "key", {"numbers": np.zeros(3)})
    np.testing.assert_array_equal(before["numbers"], ARRAYS["numbers"])
    assert map_arrays(file, "key")["numbers"].tolist() == [0, 0, 0]
