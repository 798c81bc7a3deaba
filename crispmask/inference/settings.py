"""What `predict` can be asked for; one place for checkpoints and exported models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crispmask.errors import ConfigError
from crispmask.suggest import did_you_mean
from crispmask.types import Size


@dataclass(frozen=True)
class Settings:
    """How instances are looked for.

    Attributes:
        conf: lowest score of an instance; None takes the model's own.
        imgsz: longest side of the input, or (height, width); None: as trained.
        max_det: most instances per image; None takes the model's own.
        decode: a preset in place of `conf`, `max_det` and `iou`.
        iou: instances of one class that overlap more are one; None takes the model's own.
        classes: labels or class names that are kept; None keeps all.
        flip: whether the mirrored image is looked at, too.
        tile: side of the square tiles a large image is cut into, its pixels; None: not.
        tile_overlap: how much of a tile its neighbour sees at least, as a fraction.
        batch: images, frames or tiles that are looked at together.
    """

    conf: float | None = None
    imgsz: int | Size | None = None
    max_det: int | None = None
    decode: str | None = None
    iou: float | None = None
    classes: Sequence[int | str] | None = None
    flip: bool = False
    tile: int | None = None
    tile_overlap: float = 0.2
    batch: int = 1

    def __post_init__(self) -> None:
        # Numbers of NumPy are as good as those of Python, but `isinstance` does not say so.
        object.__setattr__(self, "imgsz", _plain_imgsz(self.imgsz))
        for wrong, message in (
            (
                self.conf is not None and not 0 <= self.conf <= 1,
                f"--conf is a score from 0 to 1, not {self.conf}",
            ),
            (
                self.imgsz is not None and min(np.atleast_1d(self.imgsz)) < 32,
                f"--imgsz must be at least 32, not {self.imgsz}",
            ),
            (
                self.max_det is not None and self.max_det < 1,
                f"--max-det must be at least 1, not {self.max_det}",
            ),
            (
                self.iou is not None and not 0 < self.iou <= 1,
                f"--iou is above 0 to 1, not {self.iou}",
            ),
            (self.batch < 1, f"--batch must be at least 1, not {self.batch}"),
            (
                self.tile is not None and self.tile < 64,
                f"--tile must be at least 64 pixels, not {self.tile}",
            ),
            (
                not 0 <= self.tile_overlap <= 0.9,
                f"--tile-overlap is a fraction from 0 to 0.9, not {self.tile_overlap}",
            ),
            (
                self.decode is not None and (self.flip or self.iou is not None),
                "a decode preset has its own iou and sees the image once: "
                "leave --flip and --iou out",
            ),
        ):
            if wrong:
                raise ConfigError(message)

    def labels(self, names: Sequence[str]) -> tuple[int, ...] | None:
        """The labels of `classes`; None keeps all.

        Args:
            names: class names by label.

        Raises:
            ConfigError: a class the model does not have.
        """
        if self.classes is None:
            return None
        return tuple(_label(entry, names) for entry in self.classes)


def _plain_imgsz(imgsz: Any) -> int | Size | None:
    if imgsz is None:
        return None
    sides = np.atleast_1d(imgsz)
    if sides.dtype.kind not in "iu" or sides.shape not in ((1,), (2,)):
        raise ConfigError(f"--imgsz is a whole number or (height, width), not {imgsz!r}")
    return (int(sides[0]), int(sides[1])) if len(sides) == 2 else int(sides[0])


def _label(entry: int | str, names: Sequence[str]) -> int:
    if isinstance(entry, str) and entry in names:  # a name may be a number
        return list(names).index(entry)
    if not isinstance(entry, str) or entry.isdecimal():
        if 0 <= int(entry) < len(names):
            return int(entry)
        raise ConfigError(f"--classes {entry}: the model has {len(names)} classes, from 0")
    close = did_you_mean(entry, names)
    raise ConfigError(
        f"--classes: no class {entry!r}" + (close or f"; there are {', '.join(names[:20])}")
    )
