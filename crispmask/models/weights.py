"""Starting weights: ImageNet backbones, COCO models, checkpoints, or none."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crispmask.errors import WeightsError
from crispmask.models.build import ModelSpec
from crispmask.models.checkpoint import read_checkpoint
from crispmask.models.coco import is_partial, load_coco
from crispmask.models.download import Store
from crispmask.models.fill import fill
from crispmask.models.imagenet import load_imagenet
from crispmask.models.interface import Network
from crispmask.models.locate import local_path
from crispmask.models.table import canonical_model, models_of

log = logging.getLogger(__name__)


NAMES = ("imagenet", "coco", "none")
"""What weights may be beside a path."""


@dataclass(frozen=True, slots=True)
class StartingWeights:
    """What a network was filled with.

    Attributes:
        line: says it.
        class_names: of the file, if there is one with the same number of classes.
        complete: whether the file filled every layer.
    """

    line: str
    class_names: tuple[str, ...] | None = None
    complete: bool = False


def apply_weights(
    network: Network[Any], weights: str | None, spec: ModelSpec, store: Store | None = None
) -> StartingWeights:
    """Fills a network with starting weights.

    Args:
        network: the network, changed in place.
        weights: `imagenet` (backbone only), `coco` (the published model, or its layers that
            fit), `none`, or the path of a checkpoint of this package or of MMDetection 3.x.
        spec: of the network.
        store: where downloads are kept; the user's cache folder if None.

    Raises:
        WeightsError: they cannot be had; never falls back to random ones.
    """
    store = store or Store()
    if weights is None or weights == "none":
        return StartingWeights("random-initialised, nothing is loaded (--weights none)")
    if weights == "imagenet":
        return StartingWeights(load_imagenet(network, store))
    if weights == "coco":
        line, checkpoint = load_coco(network, spec, store)
    else:
        checkpoint = read_checkpoint(local_path(weights, store.offline))
        if checkpoint.architecture != spec.architecture:
            raise WeightsError(
                f"{weights}: weights of {checkpoint.architecture}; "
                f"train with --architecture {checkpoint.architecture}"
            )
        if checkpoint.spec is not None and _model(checkpoint.spec) != _model(spec):
            raise WeightsError(
                f"{weights}: weights of {spec.architecture} {checkpoint.spec.model}, "
                f"not {spec.model}; give --model {checkpoint.spec.model}"
            )
        line = fill(network, checkpoint, other_classes=True)
    log.info(line)
    same = len(checkpoint.class_names) == spec.num_classes
    complete = same and not (weights == "coco" and is_partial(spec.architecture, spec.model))
    return StartingWeights(line, checkpoint.class_names if same else None, complete)


def model_of(weights: str, given: Mapping[str, object], offline: bool = False) -> dict[str, str]:
    """What a user who names a checkpoint need not say: architecture, model and backbone in it.

    Args:
        weights: as of `apply_weights`; only a path says something.
        given: what the user said, by name of the flag; it stays, and a file of another
            architecture says nothing beside it: `apply_weights` tells that they do not fit.
        offline: never use the network.

    Raises:
        WeightsError: the file cannot be read, or is of a model there is not.
    """
    if weights in NAMES:
        return {}
    checkpoint = read_checkpoint(local_path(weights, offline))
    architecture = checkpoint.architecture
    if given.get("architecture", architecture) != architecture:
        return {}
    found = {"architecture": architecture}
    if "model" in given:
        model = canonical_model(architecture, str(given["model"]))
        if model not in models_of(architecture):
            raise WeightsError(
                f"{weights}: weights of {architecture}, which has no model {model}; "
                "leave --model out, it is in the file"
            )
    else:
        spec = checkpoint.find_spec()
        found |= {"model": spec.model}
        if spec.backbone is not None:
            found |= {"backbone": spec.backbone}
    return {name: value for name, value in found.items() if name not in given}


def _model(spec: ModelSpec) -> str:
    return canonical_model(spec.architecture, spec.model)
