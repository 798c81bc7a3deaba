"""Checkpoints of MMDetection 3.x: every tensor under our name, or a reason why it is left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crispmask.errors import WeightsError
from crispmask.models.mmdet_names import rename
from crispmask.models.tensors import check_tensors

_STEM = "backbone.body.model.stem.0.conv.weight"

_CLASS_BIAS = {"solov2": "mask_head.conv_cls.bias", "rtmdet-ins": "bbox_head.rtm_cls.0.bias"}

_PIXEL_MEAN, _PIXEL_STD = (103.53, 116.28, 123.675), (57.12, 57.375, 58.395)  # sorted

_ENTRIES = {
    "meta": "describes the file; class names are taken from it",
    "names": "class names are taken from it",
    "optimizer": "state of its training",
    "param_schedulers": "state of its training",
    "message_hub": "state of its training",
    "ema_state_dict": "the weights before averaging; state_dict has the averaged ones",
}
"""Entries of a file beside its weights, and why they are left out."""


@dataclass(frozen=True)
class MmdetCheckpoint:
    """A checkpoint of MMDetection 3.x.

    Attributes:
        architecture: `solov2` or `rtmdet-ins`.
        state: its tensors under our names.
        class_names: by label; numbered where the file has none.
        ignored: what of the file is left out, and why.
    """

    architecture: str
    state: dict[str, Tensor]
    class_names: tuple[str, ...]
    ignored: dict[str, str]


def read_mmdet(path: Path, content: Mapping[str, Any]) -> MmdetCheckpoint:
    """The weights in the content of a file.

    Besides MMDetection's own form, tensors may stand in `model` with a `head` in place of the
    `bbox_head`, as the mirrors of RTMDet-Ins have them, or make up the whole file.

    Raises:
        WeightsError: not such a file, a tensor with an unknown name, two values for one shared
            tensor, or other normalisation constants than ours.
    """
    tensors, ignored = _find_tensors(path, content)
    architecture = next((a for a, key in _CLASS_BIAS.items() if key in tensors), None)
    if architecture is None:
        names = " nor ".join(_CLASS_BIAS.values())
        raise WeightsError(
            f"{path}: neither {names}: no SOLOv2 or RTMDet-Ins checkpoint of MMDetection 3.x"
        )
    for key in [key for key in tensors if key.startswith("data_preprocessor.")]:
        _check_preprocessor(path, key, tensors.pop(key))
        ignored[key] = "normalisation is part of the network"
    bias = tensors[_CLASS_BIAS[architecture]]
    if bias.ndim != 1 or len(bias) == 0:
        raise WeightsError(
            f"{path}: {_CLASS_BIAS[architecture]} has shape {tuple(bias.shape)}, "
            "(classes,) expected; the file is damaged"
        )
    num_classes = len(bias)
    state = convert_state(tensors, architecture, str(path))
    return MmdetCheckpoint(architecture, state, _class_names(content, num_classes), ignored)


def convert_state(
    tensors: Mapping[str, Tensor], architecture: str, source: str = "state dict"
) -> dict[str, Tensor]:
    """Tensors of MMDetection under our names.

    RTMDet-Ins was published for BGR input: the input channels of its stem are turned round,
    since images here are RGB everywhere. Its mean and std agree with ours up to that order.

    Raises:
        WeightsError: an unknown name, or two values for one shared tensor.
    """
    converted: dict[str, Tensor] = {}
    for key, value in tensors.items():
        name = rename(key, architecture)
        if name is None:
            shown = key if key.isprintable() else repr(key)
            raise WeightsError(f"{source}: unknown key {shown}; {architecture} has no such tensor")
        if name in converted and not converted[name].equal(value):
            raise WeightsError(
                f"{source}: {key} differs from the other copies of the tensor they share"
            )
        converted[name] = value
    stem = converted.get(_STEM)
    if architecture == "rtmdet-ins" and stem is not None and stem.ndim == 4:
        converted[_STEM] = stem.flip(1)
    return converted


def _find_tensors(
    path: Path, content: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors under their plain names, and what else the file has."""
    ignored: dict[str, str] = {}
    if content and all(isinstance(value, Tensor) for value in content.values()):
        found: Mapping[str, Any] = content
    else:
        entries = ("state_dict", "model", "ema_state_dict")
        entry = next((e for e in entries if isinstance(content.get(e), Mapping)), None)
        if entry is None:
            raise WeightsError(f"{path}: a checkpoint without state_dict")
        found = content[entry]
        ignored = {
            str(key): _ENTRIES.get(key, "holds no weights of the network")
            for key in content
            if key != entry
        }
    check_tensors(path, found)
    tensors: dict[str, Tensor] = {}
    for key, value in found.items():
        name = key.removeprefix("module.")  # as wrappers for several GPUs and averages add it
        if name == "steps":
            ignored[key] = "counts the steps of the average"
        else:
            tensors[re.sub(r"^head\.", "bbox_head.", name)] = value
    return tensors, ignored


def _check_preprocessor(path: Path, key: str, value: Tensor) -> None:
    """Their order depends on the channels of the image, which is settled elsewhere."""
    expected = {"mean": _PIXEL_MEAN, "std": _PIXEL_STD}.get(key.rpartition(".")[2])
    found = value.flatten().float().sort().values
    if expected and (found.shape != (3,) or not torch.allclose(found, torch.tensor(expected))):
        raise WeightsError(
            f"{path}: {key} is {[round(v, 3) for v in found.tolist()]}, {list(expected)} expected: "
            "trained with another normalisation"
        )


def _class_names(content: Mapping[str, Any], num_classes: int) -> tuple[str, ...]:
    """From where versions 2 and 3 of MMDetection and the mirrors put them, or numbered."""
    meta = content.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    dataset = meta.get("dataset_meta")
    dataset = dataset if isinstance(dataset, Mapping) else {}
    for names in (
        dataset.get("classes"),
        dataset.get("CLASSES"),
        meta.get("CLASSES"),
        content.get("names"),
    ):
        if isinstance(names, str):
            names = (names,)
        elif isinstance(names, Mapping):
            names = [names.get(label) for label in range(num_classes)]
        found = tuple(names) if isinstance(names, list | tuple) else ()
        if len(found) == num_classes and all(isinstance(name, str) for name in found):
            return found
    return tuple(f"class_{i}" for i in range(num_classes))
