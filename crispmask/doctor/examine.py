"""Finds every problem of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from crispmask.data.coco_images import CocoImages
from crispmask.data.processes import usable_cpus
from crispmask.data.spec import DatasetSpec, inspect_spec
from crispmask.doctor.copies import SPLITS, find_copies, find_near_copies, with_digests
from crispmask.doctor.counts import SplitCounts, count_split, find_imbalance
from crispmask.doctor.kinds import KINDS, SEVERITIES, Problem, Severity
from crispmask.doctor.scan import Record, scan
from crispmask.doctor.strays import find_orphans, find_shared
from crispmask.errors import DatasetError

_SPEC_CODES = {
    "key": "yaml-key",
    "path": "yaml-path",
    "names": "yaml-names",
    "nc": "yaml-nc",
    "split": "yaml-split",
    "val": "yaml-val",
    "list": "list-line",
}
_MOST_CLASSES = 10_000
"""Labels below are good where data.yaml does not say how many classes there are."""

_ORDER = {code: i for i, code in enumerate(KINDS)}


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found.

    Attributes:
        spec: the dataset, as far as its data.yaml could be read.
        names: class names by label; numbered where data.yaml has none.
        imgsz: longest side given to the network, pixels.
        decoded: whether the images were decoded.
        counts: of each split that was looked at.
        records: of each image.
        problems: worst kinds first, then by file and line.
    """

    spec: DatasetSpec
    names: tuple[str, ...]
    imgsz: int
    decoded: bool
    counts: dict[str, SplitCounts]
    records: tuple[Record, ...]
    problems: tuple[Problem, ...]

    def number(self, severity: Severity) -> int:
        """Problems of this severity."""
        return sum(problem.severity == severity for problem in self.problems)

    def by_code(self) -> dict[str, list[Problem]]:
        """The problems of each kind there is, in the order of `problems`."""
        groups: dict[str, list[Problem]] = {}
        for problem in self.problems:
            groups.setdefault(problem.code, []).append(problem)
        return groups


def examine(
    data: str | Path,
    split: str = "all",
    imgsz: int = 640,
    decode: bool = True,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Examination:
    """Reads all of a dataset and finds what is wrong with it. Nothing is changed.

    Args:
        data: path of data.yaml or of its folder.
        split: train, val, test, or all.
        imgsz: longest side given to the network, which decides what is too small.
        decode: whether to decode the images. Without, damage inside a file and pictures that
            are nearly the same are not found.
        workers: processes; None takes all cores.
        on_progress: called now and then with the images done and all there are.

    Raises:
        DatasetError: data.yaml cannot be read, or no image can be found.
    """
    spec, spec_problems = inspect_spec(data)
    problems = [
        Problem(_SPEC_CODES[p.kind], p.file, p.line, p.message.partition("; ")[0])
        for p in spec_problems
    ]
    everything = {name: getattr(spec, name) for name in SPLITS}
    chosen = {n: paths for n, paths in everything.items() if paths and split in ("all", n)}
    if not chosen:
        if spec_problems:
            raise DatasetError(str(spec_problems[0]))
        raise DatasetError(f"{spec.file}: no images in {split}; choose another --split")
    num_classes = len(spec.names) or _MOST_CLASSES
    cores = usable_cpus() if workers is None else workers
    records = scan(chosen, num_classes, imgsz, decode, cores, on_progress)
    if not decode:
        records = with_digests(records)
    problems += [problem for record in records for problem in record.problems]
    problems += find_copies(records)
    problems += find_near_copies(records)
    with_files = {n: p for n, p in everything.items() if not isinstance(p, CocoImages)}
    problems += find_shared({name: p for name, p in with_files.items() if name in chosen})
    problems += find_orphans(path for paths in with_files.values() for path in paths)
    names = spec.names or _numbered(records)
    counts = {
        name: count_split([r for r in records if r.split == name], len(names), imgsz)
        for name in chosen
    }
    problems += find_imbalance(counts, names, spec.file)
    return Examination(spec, names, imgsz, decode, counts, tuple(records), tuple(_sorted(problems)))


def _numbered(records: Iterable[Record]) -> tuple[str, ...]:
    """Names for the labels there are, where data.yaml has none."""
    highest = max((int(r.labels.max()) for r in records if len(r.labels)), default=-1)
    return tuple(f"class_{label}" for label in range(highest + 1))


def _sorted(problems: list[Problem]) -> list[Problem]:
    """Errors, then warnings, then the rest; in each by kind, file and line."""
    # A file that is in two splits was looked at twice. Annotations can have the same name.
    once: dict[tuple[object, ...], Problem] = {}
    for p in problems:
        once.setdefault((p.code, p.file, p.annotation and p.image, p.line, p.message), p)
    return sorted(
        once.values(),
        key=lambda p: (SEVERITIES.index(p.severity), _ORDER[p.code], str(p.file), p.line, p.split),
    )
