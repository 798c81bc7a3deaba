"""Reads files of torch.save without running anything that lies in them.

A pickle names functions and hands them arguments. Here no name leads to the real thing:
tensors are rebuilt by functions of this module, and everything else becomes a `Placeholder`.
Published checkpoints of MMDetection need this, since their `meta` holds objects of mmengine
and NumPy and most of them are in the format torch wrote before its version 1.6.
"""

from __future__ import annotations

import pickle
import struct
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


class Placeholder(dict[Any, Any]):
    """What stands where a file has an object: the items of a mapping, nothing of the rest.

    Mappings of any class, such as OrderedDict or mmengine's ConfigDict, can be read as usual.
    """

    def __init__(self, *args: Any, **_: Any) -> None:
        super().__init__(args[0] if args and isinstance(args[0], dict) else {})

    def __new__(cls, *_: Any, **__: Any) -> Placeholder:
        """Takes any arguments, as the objects it stands for do."""
        return super().__new__(cls)

    def __call__(self, *_: Any) -> Placeholder:
        """Stands for a function, too."""
        return Placeholder()

    def __setstate__(self, state: Any) -> None:
        """Attributes are left out."""

    def append(self, item: Any) -> None:
        """Items of a list are left out."""

    def extend(self, items: Any) -> None:
        """Items of a list are left out."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # objects may be keys, dicts may not

    def __eq__(self, other: object) -> bool:
        return self is other


class _NumpyDtype(Placeholder):
    """Remembers the kind of a NumPy scalar."""

    code = ""

    def __init__(self, *args: Any, **_: Any) -> None:
        super().__init__()
        self.code = str(args[0]) if args else ""


_SCALARS = {"f8": "d", "f4": "f", "i8": "q", "i4": "i", "i2": "h", "i1": "b", "u1": "B", "b1": "?"}
"""NumPy kinds and sizes in terms of `struct`."""


def _numpy_scalar(dtype: Any, data: Any = b"", *_: Any) -> Any:
    """A NumPy scalar as a plain number."""
    code = _SCALARS.get(getattr(dtype, "code", ""))
    if code is None or not isinstance(data, bytes):
        return Placeholder()
    return struct.unpack(f"<{code}", data)[0]


def _encode(text: Any, encoding: Any = "latin1") -> Any:
    """How bytes are written in old pickles."""
    return text.encode("latin1") if isinstance(text, str) and encoding == "latin1" else b""


def _rebuild_tensor(
    storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
) -> Tensor:
    return storage.as_strided(tuple(size), tuple(stride), offset)  # checks the bounds


def _rebuild_parameter(data: Tensor, *_: Any) -> Tensor:
    return data


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): tuple,
    ("_codecs", "encode"): _encode,
    ("numpy.core.multiarray", "scalar"): _numpy_scalar,
    ("numpy._core.multiarray", "scalar"): _numpy_scalar,
}


class _Function:
    """Calls a function of this module; a file cannot reach or change the function itself."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)


class _Unpickler(pickle.Unpickler):
    """Args: file: open at a pickle; load_storage: gives the numbers of a storage, flat."""

    def __init__(
        self, file: IO[bytes], load_storage: Callable[[str, torch.dtype, int], Tensor] | None
    ) -> None:
        super().__init__(file, encoding="utf-8")
        self._load_storage = load_storage

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name; never the thing of that name."""
        if module.split(".")[0] == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) in _FUNCTIONS:
            return _Function(_FUNCTIONS[module, name])
        base = _NumpyDtype if (module, name) == ("numpy", "dtype") else Placeholder
        return type(name.rpartition(".")[2], (base,), {"__module__": "placeholder"})

    def persistent_load(self, pid: Any) -> Any:
        """The storage of a tensor, which lies outside of the pickle."""
        if pid[0] == "module" or self._load_storage is None:
            return Placeholder()
        _, dtype, key, _, numel, *view = pid
        if not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError("a storage of unknown type")
        storage = self._load_storage(str(key), dtype, int(numel))
        if view and view[0] is not None:
            _, offset, size = view[0]
            storage = storage[offset : offset + size]
        return storage


def read_inert(path: Path) -> Any:
    """The content of a file written by torch.save; tensors lie on the CPU.

    Raises:
        Exception: of many kinds, where the file is damaged or of another format.
    """
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    return _read_zip(path) if is_zip else _read_legacy(path)


def _read_zip(path: Path) -> Any:
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        root = next((n for n in names if n.endswith("/data.pkl")), "").removesuffix("data.pkl")
        if not root:
            raise ValueError("an archive without data.pkl")
        if f"{root}constants.pkl" in names:
            raise ValueError("a TorchScript program, not a checkpoint")
        if f"{root}byteorder" in names:
            order = archive.read(f"{root}byteorder").decode()
            if order != sys.byteorder:
                raise ValueError(f"numbers are stored in {order}-endian order")
        storages: dict[str, Tensor] = {}

        def load_storage(key: str, dtype: torch.dtype, numel: int) -> Tensor:
            if key not in storages:
                info = archive.getinfo(f"{root}data/{key}")
                if info.compress_type != zipfile.ZIP_STORED or info.file_size > size:
                    raise ValueError(f"storage {key} is compressed")
                with archive.open(info) as file:
                    storages[key] = _numbers(file, dtype, info.file_size)
            return storages[key]

        with archive.open(f"{root}data.pkl") as file:
            return _Unpickler(file, load_storage).load()


def _read_legacy(path: Path) -> Any:
    """The format before torch 1.6: pickles, then the storages one after the other."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if _Unpickler(file, None).load() != _LEGACY_MAGIC:
            raise ValueError("not a file of torch.save")
        if _Unpickler(file, None).load() != _LEGACY_PROTOCOL:
            raise ValueError("of an unknown version of torch.save")
        if not _Unpickler(file, None).load().get("little_endian", True):
            raise ValueError("numbers are stored in big-endian order")
        storages: dict[str, Tensor] = {}

        def load_storage(key: str, dtype: torch.dtype, numel: int) -> Tensor:
            if key not in storages:  # filled below, when the pickle has named all of them
                if numel * dtype.itemsize > size:
                    raise ValueError(f"storage {key} is larger than the file")
                storages[key] = torch.empty(numel, dtype=dtype)
            return storages[key]

        content = _Unpickler(file, load_storage).load()
        for key in _Unpickler(file, None).load():
            (numel,) = struct.unpack("<q", file.read(8))
            storage = storages[key]
            if numel != storage.numel():
                raise ValueError(f"storage {key} has another size than its tensors say")
            storage.copy_(_numbers(file, storage.dtype, numel * storage.dtype.itemsize))
        return content


def _numbers(file: IO[bytes], dtype: torch.dtype, num_bytes: int) -> Tensor:
    if num_bytes == 0:
        return torch.empty(0, dtype=dtype)
    data = bytearray(file.read(num_bytes))
    if len(data) != num_bytes:
        raise EOFError("the file ends before its numbers do")
    return torch.frombuffer(data, dtype=dtype)
