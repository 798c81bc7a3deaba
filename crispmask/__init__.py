"""Train SOLOv2 and RTMDet-Ins instance segmentation on YOLO-format datasets.

The names below are imported at their first use, so that `import crispmask` stays instant.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from crispmask.version import __version__

# Read by OpenMP when torch is loaded. Its threads else wait for each other by spinning, which
# slows training on a CPU tenfold as soon as loader processes want the same cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from crispmask.api import train
    from crispmask.models.table import list_models
    from crispmask.predict import build, load
    from crispmask.types import Instances

__all__ = ["Instances", "__version__", "build", "list_models", "load", "train"]

_HOMES = {
    "Instances": "crispmask.types",
    "build": "crispmask.predict",
    "list_models": "crispmask.models.table",
    "load": "crispmask.predict",
    "train": "crispmask.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'crispmask' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
