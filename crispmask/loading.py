"""Loads whatever holds a model: a checkpoint, or a graph that needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crispmask.errors import ConfigError
from crispmask.models.locate import local_path
from crispmask.runtime import OnnxModel, OpenVinoModel

if TYPE_CHECKING:
    from crispmask.models.download import Store
    from crispmask.predict import Model

GRAPH_SUFFIXES: dict[str, type[OnnxModel] | type[OpenVinoModel]] = {
    ".onnx": OnnxModel,
    ".xml": OpenVinoModel,
}
"""Files of exported models that `load` reads, by suffix."""


def is_graph(path: str | Path) -> bool:
    """Whether a path names an exported model."""
    return Path(path).suffix.lower() in GRAPH_SUFFIXES


def load(
    path: str | Path,
    architecture: str | None = None,
    model: str | None = None,
    device: str = "auto",
    store: Store | None = None,
) -> Model | OnnxModel | OpenVinoModel:
    """The model of a file.

    Args:
        path: a checkpoint of this package or of MMDetection 3.x, or an exported .onnx or .xml;
            `coco` for the published weights of an architecture and model.
        architecture: of an MMDetection checkpoint; found by its tensors if left out.
        model: its size or official layout; likewise.
        device: where it shall run; `auto` takes the CPU, or a GPU that ONNX Runtime has.
        store: where downloads are kept; None takes the user's cache folder.

    Returns:
        A `Model` with `network`, or an exported one; `predict` and `names` are the same.

    Raises:
        WeightsError: not readable, of another model, or a tensor of it has no place here.
    """
    if is_graph(path):
        return GRAPH_SUFFIXES[Path(path).suffix.lower()](local_path(path), device)
    try:
        from crispmask.predict import load as load_checkpoint
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(("torch", "timm")):
            raise
        raise ConfigError(
            f"{path}: a checkpoint needs {error.name}: pip install torch torchvision timm; "
            "without it an exported .onnx file can be used"
        ) from error
    device = "cpu" if device == "auto" else device
    return load_checkpoint(path, architecture, model, device, store)
