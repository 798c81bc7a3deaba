"""COCO weights of the catalogue as starting weights."""

from __future__ import annotations

from typing import Any

from crispmask.errors import WeightsError
from crispmask.models.build import ModelSpec
from crispmask.models.catalogue import PARTIAL, CocoWeights, find_weights
from crispmask.models.checkpoint import Checkpoint, read_checkpoint
from crispmask.models.download import Store, fetch
from crispmask.models.fill import fill, fill_matching
from crispmask.models.interface import Network
from crispmask.models.table import canonical_model, find_model


def find_coco(architecture: str, model: str) -> CocoWeights:
    """The published weights that serve a model.

    Raises:
        WeightsError: nobody published any.
    """
    row = find_weights(architecture, canonical_model(architecture, model))
    if row is None:
        raise WeightsError(f"--weights coco: there are none of {architecture} {model}")
    return row


def fetch_coco(row: CocoWeights, store: Store) -> Checkpoint:
    """A checkpoint of the catalogue, from the store or downloaded into it.

    Raises:
        WeightsError: it cannot be had.
    """
    what = f"COCO weights of {row.architecture} {row.layout}"
    return read_checkpoint(fetch(row.sources, store, what))


def is_partial(architecture: str, model: str) -> bool:
    """Whether a model has other widths than the layout its COCO weights are of."""
    return (architecture, canonical_model(architecture, model)) in PARTIAL


def load_coco(network: Network[Any], spec: ModelSpec, store: Store) -> tuple[str, Checkpoint]:
    """Fills a network with the published weights that serve it.

    RTMDet-Ins and the official layouts are filled but for class predictions of another number
    of classes. The sizes of SOLOv2 are narrower or wider than the layouts there are weights of:
    their layers that fit are filled, the backbone at least.

    Args:
        network: the network, changed in place.
        spec: of the network.
        store: where the file is or goes.

    Returns:
        One line that says what was loaded, and the checkpoint.

    Raises:
        WeightsError: they cannot be had, or are of another backbone.
    """
    row = find_coco(spec.architecture, spec.model)
    usual = find_model(spec.architecture, spec.model).backbone
    if network.backbone.name.partition(".")[0] != usual:
        raise WeightsError(
            f"--weights coco: those of {spec.architecture} {spec.model} have the backbone "
            f"{usual}, not {network.backbone.name}; use --weights imagenet, or no --backbone"
        )
    checkpoint = fetch_coco(row, store)
    if not is_partial(spec.architecture, spec.model):
        return f"COCO {fill(network, checkpoint, other_classes=True)}", checkpoint
    share = fill_matching(network, checkpoint.state)
    line = (
        f"COCO weights of {checkpoint.path} ({spec.architecture} {row.layout}) in the layers "
        f"that fit: {share}; the others start at random"
    )
    return line, checkpoint
