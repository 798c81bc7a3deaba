"""Starting weights: ImageNet backbones, COCO models, checkpoints, or none."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from crispmask.errors import WeightsError
from crispmask.models.build import ModelSpec
from crispmask.models.checkpoint import read_checkpoint
from crispmask.models.coco import load_coco
from crispmask.models.download import Store
from crispmask.models.files import local_path
from crispmask.models.fill import fill
from crispmask.models.imagenet import load_imagenet
from crispmask.models.interface import Network

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StartingWeights:
    """What a network was filled with.

    Attributes:
        line: says it.
        class_names: of the file, if there is one with the same number of classes.
    """

    line: str
    class_names: tuple[str, ...] | None = None


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
        checkpoint = read_checkpoint(local_path(weights))
        if checkpoint.architecture != spec.architecture:
            raise WeightsError(
                f"{weights}: weights of {checkpoint.architecture}; "
                f"train with --architecture {checkpoint.architecture}"
            )
        line = fill(network, checkpoint, other_classes=True)
    log.info(line)
    same = len(checkpoint.class_names) == spec.num_classes
    return StartingWeights(line, checkpoint.class_names if same else None)
