"""`crispmask models`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from crispmask.cli.arguments import parse
from crispmask.models.table import list_models, models_of


@dataclass(frozen=True)
class ModelsConfig:
    """Prints the table of models."""


def models(argv: Sequence[str], prog: str) -> int:
    """Prints the sizes of both architectures."""
    parse(ModelsConfig, argv, prog)
    print_models()
    return 0


def print_models() -> None:
    """Prints the table; parameters and FLOPs are counted with 80 classes."""
    table = Table()
    for name in ("architecture", "model", "backbone"):
        table.add_column(name, no_wrap=True)
    for name in ("neck", "masks", "parameters", "GFLOPs", "batch"):
        table.add_column(name, justify="right")
    previous = ""
    for row in list_models():
        if previous not in ("", row.architecture):
            table.add_section()
        previous = row.architecture
        table.add_row(
            row.architecture,
            row.model,
            row.backbone,
            str(row.neck_channels),
            str(row.mask_channels),
            f"{row.parameters / 1e6:.1f} M",
            f"{row.flops / 1e9:.0f}",
            str(row.batch),
        )
    console = Console()
    console.print(table)
    console.print(
        "neck and masks: channels of the pyramid and of the mask features; parameters and "
        "GFLOPs with 80 classes, of one 640 px image, a multiply-add counted as 2; batch: images "
        "per step of --batch auto. nano and tiny name the same row. Layouts beyond the table that "
        f"weights were published of: {'; '.join(map(_beyond, ('solov2', 'rtmdet-ins')))}."
    )


def _beyond(architecture: str) -> str:
    """The models of an architecture that are no rows of the table, in words."""
    rows = {row.model for row in list_models()}
    names = [name for name in models_of(architecture) if name not in rows]
    return f"{architecture} {', '.join(names)}"
