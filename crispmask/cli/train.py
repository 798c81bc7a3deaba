"""`crispmask train` and train.py."""

from __future__ import annotations

from collections.abc import Sequence

from crispmask.cli.arguments import flags_of, parse, read_values
from crispmask.config import TrainConfig
from crispmask.errors import ConfigError
from crispmask.recipes import with_recipe


def train(argv: Sequence[str], prog: str) -> int:
    """Trains a model on a YOLO-format dataset.

    Only translates arguments: every default comes from `TrainConfig`, every check from the
    code that uses the value.
    """
    config = parse(TrainConfig, [*recipe_words(argv), *argv], prog)
    if config.list_models:
        from crispmask.cli.models import print_models

        print_models()
        return 0
    if not config.data and not config.resume:
        raise ConfigError(
            f"--data is required: the path of a data.yaml; {prog} --help lists the flags"
        )
    if not config.resume:
        # A wrong path is told before torch is imported, which takes seconds.
        from crispmask.data.set_aside import read_with_val

        read_with_val(config.data, config.val_fraction)
        if found := weight_words(argv, config.offline):
            argv = [*found, *argv]
            config = parse(TrainConfig, [*recipe_words(argv), *argv], prog)
    from crispmask.engine.fit import fit

    fit(config)
    return 0


def recipe_words(argv: Sequence[str]) -> list[str]:
    """What the recipe of a command line sets, to stand before the words of the user."""
    if "--help" in argv or "-h" in argv:
        return []
    given = read_values(argv, flags_of(TrainConfig))
    settings = with_recipe({name.replace("-", "_"): text for name, text in given.items()})
    return [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]


def weight_words(argv: Sequence[str], offline: bool) -> list[str]:
    """The model in the checkpoint a command line starts from, as words to stand before it."""
    given = read_values(argv, flags_of(TrainConfig))
    if "weights" not in given:
        return []
    from crispmask.models.weights import model_of

    found = model_of(given["weights"], given, offline)
    return [f"--{name}={value}" for name, value in found.items()]
