"""Many image files read in chunks on all cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from crispmask.data.processes import ProcessDiedError, map_in_processes, usable_cpus
from crispmask.errors import DatasetError

R = TypeVar("R")

OnProgress = Callable[[int], None]
"""Called now and then with the images that are done."""

CHUNK = 256
"""Images a process reads at a time: many enough to be worth the way, few enough for a bar."""

_FEW = 2000
"""Images up to which starting processes takes longer than reading."""


def map_chunks(
    function: Callable[[tuple[Any, ...]], R],
    paths: Sequence[str],
    arguments: tuple[Any, ...],
    workers: int | None,
    on_progress: OnProgress,
) -> Iterator[R]:
    """The results of a function for chunks of images, in order.

    Args:
        function: of a module; takes the paths of a chunk and the arguments as one tuple.
        paths: images.
        arguments: the same for all chunks.
        workers: processes; 0 reads in this one, None takes all cores.
        on_progress: told how it goes.

    Raises:
        DatasetError: a process died; names the images it may have been.
    """
    jobs = [(paths[i : i + CHUNK], *arguments) for i in range(0, len(paths), CHUNK)]
    if len(paths) <= _FEW:
        workers = 0
    elif workers is None:
        workers = usable_cpus()
    done = 0
    try:
        for result in map_in_processes(function, jobs, workers):
            done += 1
            yield result
            on_progress(min(done * CHUNK, len(paths)))
    except ProcessDiedError as error:
        first, *_, last = jobs[done][0] * 2
        raise DatasetError(
            f"{first}: a process ended with code {error.code} between this image and {last}; "
            "free some memory, or find the one it cannot read and remove it"
        ) from error
