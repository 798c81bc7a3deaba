"""`crispmask compare`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from crispmask.cli.arguments import parse
from crispmask.cli.device import torch_device
from crispmask.cli.train import recipe_words
from crispmask.compare.config import CompareConfig, Row, rows_of
from crispmask.compare.ours import training_words
from crispmask.config import TrainConfig
from crispmask.data.set_aside import read_with_val
from crispmask.errors import ConfigError


def compare(argv: Sequence[str], prog: str) -> int:
    """Trains what is not trained yet, prints the table and says where the report is."""
    config = parse(CompareConfig, argv, prog)
    rows = rows_of(config.models)
    # What is wrong with any training is told before the first one begins.
    settings = [_settings(config, row, prog) for row in rows if row.kind == "ours"]
    if any(row.kind == "yolo" for row in rows):
        if shutil.which(config.yolo) is None:
            raise ConfigError(
                f"--yolo: there is no command {config.yolo!r}; install the extra with "
                "pip install 'crispmask[yolo]', or name the command of another environment"
            )
        settings.append(_settings(config, Row("yolo", "ours", "solov2", "nano"), prog))
    read_with_val(config.data, config.val_fraction)
    from crispmask.compare.run import run_compare
    from crispmask.compare.table import cells, figures_shown

    entries = run_compare(
        config, settings[-1] if settings else TrainConfig(), str(torch_device(config.device)), print
    )
    keys = figures_shown(entries)
    columns = [cells(entries, row, keys) for row in rows]
    table = Table("", *(row.name for row in rows))
    for i, title in enumerate(keys.values()):
        table.add_row(title, *(column[i] for column in columns))
    Console().print(table)
    print(f"report in {Path(config.out) / 'compare.html'}")
    return 0


def _settings(config: CompareConfig, row: Row, prog: str) -> TrainConfig:
    words = training_words(config, row, seed=0)
    return parse(TrainConfig, [*recipe_words(words), *words], prog)
