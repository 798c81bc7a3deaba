"""Where a run writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crispmask.config import TrainConfig
from crispmask.errors import ConfigError
from crispmask.models.table import canonical_model

RESULTS = ("results.csv", "metrics.json", "weights/best.pt", "weights/last.pt")
"""Files that show that a folder holds a run."""


@dataclass(frozen=True, slots=True)
class WorkDir:
    """The folder of a run.

    Attributes:
        path: where this run writes.
        previous: the newest folder of the same name that holds a run already, if any.
    """

    path: Path
    previous: Path | None = None

    @property
    def best(self) -> Path:
        """Checkpoint of the best validation."""
        return self.path / "weights" / "best.pt"

    @property
    def last(self) -> Path:
        """Checkpoint with everything needed to continue."""
        return self.path / "weights" / "last.pt"

    def epoch(self, number: int) -> Path:
        """Checkpoint kept of an epoch, for `--save-period`."""
        return self.path / "weights" / f"epoch{number}.pt"

    @property
    def annotations(self) -> Path:
        """Folder of the COCO annotation files."""
        return self.path / "annotations"


def choose_work_dir(config: TrainConfig) -> WorkDir:
    """The folder asked for, with _2, _3 ... added if runs are there already.

    An interrupted run counts as one: its last.pt is somebody's work.

    Raises:
        ConfigError: a file has that name.
    """
    wanted = Path(
        f"work_dirs/{config.architecture}_{canonical_model(config.architecture, config.model)}"
        if config.work_dir == "auto"
        else config.work_dir
    )
    if wanted.name in ("", ".."):  # "." and the like have no name to number
        wanted = wanted.resolve()
    path, previous, number = wanted, None, 1
    while _holds_run(path):
        previous, number = path, number + 1
        path = wanted.with_name(f"{wanted.name}_{number}")
    if path.exists() and not path.is_dir():
        raise ConfigError(f"--work-dir {path}: a file has that name; choose a folder")
    return WorkDir(path, previous)


def _holds_run(path: Path) -> bool:
    return any((path / name).is_file() for name in RESULTS)
