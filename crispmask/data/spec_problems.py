"""What can be wrong with the description of a dataset, raised at once or collected."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from crispmask.errors import DatasetError

SpecProblemKind = Literal["key", "path", "names", "nc", "split", "val", "list"]
"""What is wrong: a key that is there twice, `path`, `names`, `nc`, the place of a split, no images
to validate on, or a line in a .txt list of images."""


@dataclass(frozen=True, slots=True)
class SpecProblem:
    """Why a dataset is not as its data.yaml says.

    Attributes:
        kind: what is wrong.
        file: the data.yaml, or a list of images.
        line: of the file, from 1; 0 if it is the file as a whole.
        message: the same in words, and what to do.
    """

    kind: SpecProblemKind
    file: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.message}"


@dataclass(slots=True)
class Reporter:
    """Takes the problems of one data.yaml.

    Attributes:
        file: the data.yaml.
        lines: of it, by key.
        problems: where they are collected; None: the first one is raised.
        values: of data.yaml, once it is read.
    """

    file: Path
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[SpecProblem] | None = None
    values: dict[str, Any] = field(default_factory=dict)

    def report(
        self,
        kind: SpecProblemKind,
        message: str,
        key: str = "",
        place: tuple[Path, int] | None = None,
    ) -> None:
        """Raises a problem, or collects it: the caller then goes on with what there is.

        Args:
            kind: of the problem.
            message: what is wrong and what to do.
            key: the key of data.yaml whose line it is.
            place: file and line, if not in data.yaml.

        Raises:
            DatasetError: unless problems are collected.
        """
        file, line = place or (self.file, self.lines.get(key, 0))
        problem = SpecProblem(kind, file, line, message)
        if self.problems is None:
            raise DatasetError(str(problem))
        self.problems.append(problem)
