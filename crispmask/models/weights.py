"""Starting weights: ImageNet backbones, checkpoints, or none."""

from __future__ import annotations

import logging
from typing import Any

import timm

from crispmask.errors import WeightsError
from crispmask.models.checkpoint import read_checkpoint
from crispmask.models.files import local_path
from crispmask.models.fill import fill
from crispmask.models.interface import Network
from crispmask.models.timm_features import has_weights

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
    checkpoint = read_checkpoint(local_path(weights))
    if checkpoint.architecture != architecture:
        raise WeightsError(
            f"{weights}: weights of {checkpoint.architecture}; "
            f"train with --architecture {checkpoint.architecture}"
        )
    line = fill(network, checkpoint, other_classes=True)
    log.info(line)
    return line


def load_imagenet(network: Network[Any]) -> str:
    """Fills the backbone with timm's ImageNet weights, downloaded or from its cache."""
    backbone = network.backbone
    if not has_weights(backbone.name):
        raise WeightsError(
            f"nobody published weights of {backbone.name} through timm: choose another "
            "--backbone, or start from random weights with --weights none"
        )
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)  # it warns at every retry; what counts is said once below
    try:
        source = timm.create_model(
            backbone.name, pretrained=True, features_only=True, **backbone.options
        )
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
