"""Fills a network with the tensors of a checkpoint, all of them or those that fit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from crispmask.errors import WeightsError
from crispmask.models.checkpoint import Checkpoint
from crispmask.models.interface import Network
from crispmask.models.layouts import find_layout


def fill(network: Network[Any], checkpoint: Checkpoint, other_classes: bool = False) -> str:
    """Fills a network; every tensor of the file has its place and every place its tensor.

    Only the counters `num_batches_tracked`, which nothing here reads, may be missing.

    Args:
        network: the network, changed in place.
        checkpoint: of the same model.
        other_classes: the file may have another number of classes; the layers that depend on
            it then keep their random values, which the returned line says.

    Returns:
        One line that says what was done.

    Raises:
        WeightsError: a tensor that is unknown, missing or of another shape.
    """
    own, state = network.state_dict(), checkpoint.state
    random = set()
    for key, problem in _differences(own, state):
        if not (other_classes and _is_of_other_classes(key, own, state)):
            _fail(network, checkpoint, key, problem)
        random.add(key)
    taken = state.keys() - random
    network.load_state_dict({key: state[key] if key in taken else own[key] for key in own})
    line = f"weights of {checkpoint.path}, {len(taken)} tensors"
    if random:
        line += (
            f"; {len(random)} tensors of the class predictions start at random, the file has "
            f"{len(checkpoint.class_names)} classes instead of {network.num_classes}"
        )
    if checkpoint.ignored:
        line += f"; left out: {checkpoint.describe_ignored()}"
    return line


def fill_matching(network: Network[Any], state: Mapping[str, Tensor]) -> str:
    """Fills the layers whose tensors all have the same names and shapes; the rest is kept.

    A layer is a convolution with its normalisation.

    Args:
        network: the network, changed in place.
        state: tensors under our names.

    Returns:
        How much that is, such as `95 of 182 tensors, 42.0 % of the parameters`.
    """
    own = network.state_dict()
    layers: defaultdict[str, list[str]] = defaultdict(list)
    for key in own:
        layers[key.rpartition(".")[0].removesuffix(".conv").removesuffix(".norm")].append(key)
    fits = {key for key in own if key in state and state[key].shape == own[key].shape}
    taken = {key for keys in layers.values() if fits.issuperset(keys) for key in keys}
    network.load_state_dict({key: state[key] if key in taken else own[key] for key in own})
    parameters = dict(network.named_parameters())
    filled = sum(parameters[key].numel() for key in taken if key in parameters)
    share = filled / sum(p.numel() for p in parameters.values())
    return f"{len(taken)} of {len(own)} tensors, {share:.1%} of the parameters"


def fill_again(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Fills a network with the tensors it had when the checkpoint of a run was written.

    Raises:
        WeightsError: a tensor that is unknown, missing or of another shape.
    """
    for key, problem in _differences(network.state_dict(), state):
        raise WeightsError(f"{path}: {key} {problem}; the file is damaged, or of another run")
    network.load_state_dict(state, strict=False)  # a counter may be missing


def _differences(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> Iterator[tuple[str, str]]:
    """Each tensor that a network and a file do not have alike, and what is wrong with it."""
    for key, value in own.items():
        expected = tuple(value.shape)
        if key in state:
            if (found := tuple(state[key].shape)) != expected:
                yield key, f"has shape {found}, {expected} expected"
        elif not key.endswith("num_batches_tracked"):
            yield key, f"is missing, {expected} expected"
    for key in state:
        if key not in own:
            yield key, "is unknown"


def _is_of_other_classes(key: str, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> bool:
    """Whether a tensor that differs does so in the number of classes only."""
    if ".class_logits." not in key or key not in own or key not in state:
        return False
    return own[key].shape[1:] == state[key].shape[1:]


def _fail(network: Network[Any], checkpoint: Checkpoint, key: str, problem: str) -> None:
    remedy = "the file is of another model, or damaged"
    spec, architecture = checkpoint.spec, checkpoint.architecture
    if spec is not None and spec.backbone not in (None, network.backbone.name):
        remedy = f"the file has another backbone: give --backbone {spec.backbone}"
    elif spec is None:
        model = find_layout(checkpoint.state, architecture, len(checkpoint.class_names))
        if model is not None:
            remedy = f"its tensors are those of {architecture} {model}: give --model {model}"
    raise WeightsError(f"{checkpoint.path}: {checkpoint.name_in_file(key)} {problem}; {remedy}")
