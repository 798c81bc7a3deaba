"""Weight files as plain data. Nothing in a file is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save

from crispmask.atomic import replacing
from crispmask.errors import WeightsError, reason_of
from crispmask.models.inert import read_inert
from crispmask.models.tensors import check_tensors

FORMAT = "crispmask"
VERSION = 1

REQUIRED = (
    "architecture",
    "model",
    "num_classes",
    "class_names",
    "imgsz",
    "network",
    "state_dict",
)
"""Keys without which a checkpoint of this package cannot be used."""


def read_file(path: Path) -> dict[str, Any]:
    """The content of a checkpoint: of torch.save, or safetensors as `crispmask` writes them.

    Raises:
        WeightsError: no such file, damaged, or not a checkpoint.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; give the path of a checkpoint")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # objects of other packages inside, or damaged: the next one tells
        try:
            content = read_inert(path)
        except Exception as error:  # pickle, zip, struct and runtime errors for bad files
            raise WeightsError(
                f"{path}: damaged or not a readable checkpoint ({reason_of(error)})"
            ) from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: not a checkpoint but a {type(content).__name__}")
    if content.get("format") == FORMAT:
        check_own(path, content)
    return content


def write_file(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a checkpoint of this package; an interruption leaves the file that was there.

    Args:
        path: file to write; its folder is made if it is missing. A name that ends in
            `.safetensors` gets that format, any other that of torch.save.
        content: what `read_file` gives back, without format and version.

    Raises:
        OutputError: the disk is full, or the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"format": FORMAT, "version": VERSION, **content}
    with replacing(path) as partial:
        if path.suffix == ".safetensors":
            rest = {key: value for key, value in content.items() if key != "state_dict"}
            data = save(dict(content["state_dict"]), {FORMAT: json.dumps(rest)})
            partial.write_bytes(data)
            return
        try:
            with partial.open("wb") as file:  # by name torch hides why it cannot be written
                torch.save(content, file)
        except RuntimeError as error:  # of its closing, over a full disk or Ctrl-C
            raise (error.__context__ or error) from None


def check_own(path: Path, content: Mapping[str, Any]) -> None:
    """Raises WeightsError if a checkpoint of this package cannot be used."""
    if content.get("version", 0) > VERSION:
        raise WeightsError(
            f"{path}: written by a newer crispmask (format {content['version']}, "
            f"this one reads {VERSION}); update crispmask"
        )
    if missing := [key for key in REQUIRED if key not in content]:
        raise WeightsError(f"{path}: damaged, it lacks {', '.join(missing)}; train it again")
    training = content.get("training")
    for state in (content["state_dict"], training["weights"] if training else {}):
        check_tensors(path, state)


def _read_safetensors(path: Path) -> dict[str, Any]:
    """Tensors, and in the metadata everything else of a checkpoint as JSON."""
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {}).get(FORMAT, "{}"))
            keys = file.keys()
            state = {key: file.get_tensor(key) for key in keys}
    except Exception as error:  # of its own kind, or a JSON error
        raise WeightsError(
            f"{path}: damaged or not a readable checkpoint ({reason_of(error)})"
        ) from error
    content = {**described, "state_dict": state}
    if described:
        check_own(path, content)
    return content
