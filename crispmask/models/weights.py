"""Starting weights: ImageNet backbones, checkpoints, or none."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

from crispmask.errors import WeightsError
from crispmask.models.interface import Network
from crispmask.models.mmdet import convert_state

log = logging.getLogger(__name__)


def apply_weights(network: Network[Any], weights: str | None, architecture: str) -> str:
    """Fills a network with starting weights.

    Args:
        network: the network, changed in place.
        weights: `imagenet` (backbone only), `none`, or the path of a checkpoint of this
            package or of MMDetection 3.x.
        architecture: `solov2` or `rtmdet-ins`.

    Returns:
        One line that says what was loaded.

    Raises:
        WeightsError: they cannot be had; never falls back to random ones.
    """
    if weights is None or weights == "none":
        return "random weights: nothing was loaded, training starts from zero"
    if weights == "imagenet":
        return load_imagenet(network)
    if weights == "coco":
        raise WeightsError(
            "--weights coco: COCO weights are not fetched; download the checkpoint from "
            "MMDetection's model zoo and give its path as --weights"
        )
    return load_compatible(network, read_state(Path(weights), architecture), weights)


def load_imagenet(network: Network[Any]) -> str:
    """Fills the backbone with timm's ImageNet weights, downloaded or from its cache."""
    backbone = network.backbone
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)  # it warns at every retry; what counts is said once below
    try:
        source = timm.create_model(backbone.name, pretrained=True, features_only=True)
    except Exception as error:  # timm and the hub raise many kinds, none of them its own
        reason = (str(error) or type(error).__name__).splitlines()[0][:120].strip(" .")
        raise WeightsError(
            f"ImageNet weights of {backbone.name} could not be loaded ({reason}): "
            "connect to the internet once, copy the Hugging Face cache from a machine that has "
            "them, or start from random weights with --weights none"
        ) from error
    finally:
        hub.setLevel(level)
    wanted = {
        key.removeprefix("body."): value
        for key, value in backbone.state_dict().items()
        if key.startswith("body.")
    }
    state = {key: value for key, value in source.state_dict().items() if key in wanted}
    if state.keys() != wanted.keys():
        raise WeightsError(
            f"ImageNet weights of {backbone.name} lack {min(wanted.keys() - state.keys())}"
        )
    backbone.load_state_dict({f"body.{key}": value for key, value in state.items()})
    return f"ImageNet weights of {backbone.name} in the backbone"


def read_file(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, read without executing anything in it.

    Raises:
        WeightsError: no such file, damaged, or not a checkpoint.
    """
    if not path.is_file():
        raise WeightsError(
            f"{path}: no such file; --weights is imagenet, none or the path of a checkpoint"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip and runtime errors for bad files
        raise WeightsError(
            f"{path}: not a readable checkpoint ({str(error).splitlines()[0][:120]})"
        ) from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: not a checkpoint but a {type(content).__name__}")
    return content


def read_state(path: Path, architecture: str) -> dict[str, Tensor]:
    """The weights of a checkpoint of this package or of MMDetection 3.x, under our names."""
    content = read_file(path)
    state = content.get("state_dict")
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path}: a checkpoint without state_dict")
    if content.get("format") == "crispmask":
        if content["architecture"] != architecture:
            raise WeightsError(
                f"{path}: weights of {content['architecture']}; "
                f"train with --architecture {content['architecture']}"
            )
        return dict(state)
    return convert_state(state, architecture)


def load_compatible(
    network: Network[Any], state: Mapping[str, Tensor], source: str, strict: bool = False
) -> str:
    """Fills a network with every tensor of the same name and shape.

    Args:
        network: the network, changed in place.
        state: tensors under our names.
        source: where they come from, for messages.
        strict: if not, the layers that depend on the number of classes may differ; they keep
            their random values, which the returned line says.

    Raises:
        WeightsError: another tensor is missing or of another shape.
    """
    own = network.state_dict()
    skipped = [
        key for key, value in own.items() if key not in state or state[key].shape != value.shape
    ]
    foreign = [key for key in skipped if strict or "class_logits" not in key]
    if foreign:
        key = foreign[0]
        found = f"has shape {tuple(state[key].shape)}" if key in state else "is missing"
        raise WeightsError(
            f"{source}: {key} {found}, {tuple(own[key].shape)} expected; "
            "the file is of another model size"
        )
    network.load_state_dict({key: own[key] if key in skipped else state[key] for key in own})
    line = f"weights of {source}"
    if skipped:
        line += f"; {len(skipped)} tensors of the class predictions start at random"
    log.info(line)
    return line
