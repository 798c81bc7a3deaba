"""Train SOLOv2 and RTMDet-Ins instance segmentation on YOLO-format datasets.

The names below are imported at their first use, so that `import crispmask` stays instant.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from crispmask.version import __version__

# Read by OpenMP when torch is loaded: how long a thread that waits for others keeps its core.
# The default is long enough to slow training tenfold as soon as another process, such as a
# loader, wants a core; not waiting at all costs a third of the speed of an idle machine.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

if TYPE_CHECKING:
    from crispmask.api import train
    from crispmask.engine.callback import Callback
    from crispmask.loading import load
    from crispmask.models.table import list_models
    from crispmask.predict import build
    from crispmask.types import Instances

__all__ = ["Callback", "Instances", "__version__", "build", "list_models", "load", "train"]

_HOMES = {
    "Callback": "crispmask.engine.callback",
    "Instances": "crispmask.types",
    "build": "crispmask.predict",
    "list_models": "crispmask.models.table",
    "load": "crispmask.loading",
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
