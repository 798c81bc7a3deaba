"""`crispmask push`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crispmask.cli.arguments import parse


@dataclass(frozen=True)
class PushConfig:
    """Puts a trained model with a model card on the Hugging Face Hub."""

    weights: str
    """Path of a checkpoint."""
    to: str
    """Repository of the Hub, user/name; made if it is missing."""
    private: bool = False
    """Make a private repository; one that exists stays as it is."""
    license: str = ""
    """Licence of the weights as the Hub names it, such as apache-2.0; empty: none is stated."""
    message: str = "Upload a crispmask model"
    """Message of the commit."""


def push(argv: Sequence[str], prog: str) -> int:
    """Pushes and prints how to load it.

    Returns:
        Exit code 0.
    """
    config = parse(PushConfig, argv, prog)
    from crispmask.models.hub import check_repository

    name = check_repository(config.to)
    from crispmask.push import push as run  # torch takes seconds: not before the flags

    url = run(config.weights, name, config.private, config.license, config.message)
    print(f'pushed to {url}; load it with crispmask.load("hf://{name}")')
    return 0
