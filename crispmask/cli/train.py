"""`crispmask train` and train.py."""

from __future__ import annotations

from collections.abc import Sequence

from crispmask.cli.arguments import parse
from crispmask.config import TrainConfig
from crispmask.data.spec import read_spec
from crispmask.errors import ConfigError


def train(argv: Sequence[str], prog: str) -> int:
    """Trains a model on a YOLO-format dataset.

    Only translates arguments: every default comes from `TrainConfig`, every check from the
    code that uses the value.
    """
    config = parse(TrainConfig, argv, prog)
    if config.list_models:
        from crispmask.cli.models import print_models

        print_models()
        return 0
    if not config.data and not config.resume:
        raise ConfigError(
            f"--data is required: the path of a data.yaml; {prog} --help lists the flags"
        )
    if not config.resume:
        read_spec(config.data)  # a wrong path is told before torch is imported, which takes seconds
    from crispmask.engine.fit import fit

    fit(config)
    return 0
