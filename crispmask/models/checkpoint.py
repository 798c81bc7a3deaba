"""Checkpoints of this package and of MMDetection 3.x in one form."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from crispmask.errors import ConfigError, WeightsError
from crispmask.models.build import ModelSpec
from crispmask.models.files import FORMAT, read_file
from crispmask.models.layouts import find_layout
from crispmask.models.mmdet import read_mmdet
from crispmask.models.mmdet_names import rename_back
from crispmask.models.table import canonical_model, models_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what they say about themselves.

    Attributes:
        path: of the file.
        architecture: `solov2` or `rtmdet-ins`.
        class_names: by label.
        state: tensors under our names.
        ignored: what of the file is left out, and why.
        spec: what defines the network; None in files of MMDetection, which do not say it.
        imgsz: longest side of the input it was trained with, if the file says it.
    """

    path: Path
    architecture: str
    class_names: tuple[str, ...]
    state: Mapping[str, Tensor]
    ignored: Mapping[str, str]
    spec: ModelSpec | None = None
    imgsz: int | None = None

    @property
    def name_in_file(self) -> Callable[[str], str]:
        """Turns one of our names into the one the file uses."""
        if self.spec is not None:
            return lambda key: key
        return lambda key: rename_back(key, self.architecture) or key

    def find_spec(self, architecture: str | None = None, model: str | None = None) -> ModelSpec:
        """What defines the network.

        Args:
            architecture: what the user thinks it is.
            model: likewise; if left out, found by comparing the tensors with every layout.

        Raises:
            WeightsError: of another architecture, or of no layout there is.
        """
        if architecture not in (None, self.architecture):
            raise WeightsError(
                f"{self.path}: weights of {self.architecture}, not of {architecture}; "
                f"give --architecture {self.architecture}"
            )
        if self.spec is not None:
            mine = canonical_model(self.architecture, self.spec.model)
            if model and canonical_model(self.architecture, model) != mine:
                raise WeightsError(f"{self.path}: a {self.architecture} {mine}, not a {model}")
            return self.spec
        if model is None:
            model = find_layout(self.state, self.architecture, len(self.class_names))
            if model is None:
                raise WeightsError(
                    f"{self.path}: its tensors are those of no {self.architecture} layout; "
                    f"there are {', '.join(models_of(self.architecture))}: give one as --model "
                    "to see what differs"
                )
            log.warning(
                "%s: taken for %s %s, whose tensors have the same names and shapes",
                self.path,
                self.architecture,
                model,
            )
        return ModelSpec(self.architecture, model, len(self.class_names))

    def describe_ignored(self) -> str:
        """What is left out, in words; empty if nothing is."""
        reasons: dict[str, list[str]] = {}
        for name, reason in self.ignored.items():
            reasons.setdefault(reason, []).append(name)
        return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in reasons.items())


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file; what is left out of it is logged.

    Raises:
        WeightsError: it cannot be read, or is of something else.
    """
    content = read_file(path)
    checkpoint = _own(path, content) if content.get("format") == FORMAT else _mmdet(path, content)
    if checkpoint.ignored and checkpoint.spec is None:
        log.info("%s: left out: %s", path, checkpoint.describe_ignored())
    return checkpoint


def _own(path: Path, content: Mapping[str, Any]) -> Checkpoint:
    try:
        spec = ModelSpec.from_dict(content["network"])
    except (TypeError, ConfigError) as error:
        raise WeightsError(f"{path}: the network it describes is unknown ({error})") from error
    names = tuple(str(name) for name in content["class_names"])
    if len(names) != spec.num_classes:
        raise WeightsError(
            f"{path}: {len(names)} class names of {spec.num_classes} classes; "
            "save the model again with a name for each"
        )
    return Checkpoint(
        path, spec.architecture, names, content["state_dict"], {}, spec, int(content["imgsz"])
    )


def _mmdet(path: Path, content: Mapping[str, Any]) -> Checkpoint:
    found = read_mmdet(path, content)
    return Checkpoint(path, found.architecture, found.class_names, found.state, found.ignored)
