"""Downloads weight files into a cache: resumable, verified, atomic. No torch here."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from crispmask.cache import default_folder
from crispmask.errors import WeightsError, reason_of
from crispmask.models.catalogue import Source
from crispmask.version import __version__

log = logging.getLogger(__name__)

CHUNK = 1 << 16
"""Bytes per read."""

PATIENCE = 5
"""Interruptions after little progress before a source is given up."""

GOOD_PROGRESS = 1 << 20
"""Bytes between two interruptions that are not little."""

SLOWEST = 1 << 10
"""Bytes per second below which a server counts as silent, after six times its timeout."""

Progress = Callable[[str, int, int | None], None]
"""Called with the name of a file, its bytes so far and, if the server says it, all of them."""


def offline_by_default() -> bool:
    """Whether the variables CRISPMASK_OFFLINE or HF_HUB_OFFLINE forbid the network."""
    values = (os.environ.get(name, "") for name in ("CRISPMASK_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.lower() in ("1", "true", "yes", "on") for value in values)


@dataclass(frozen=True)
class Store:
    """Where weights are kept and how new ones may be had.

    Attributes:
        folder: of the files.
        offline: never use the network.
        on_progress: told how a download goes.
        timeout: seconds a server may be silent.
    """

    folder: Path = field(default_factory=default_folder)
    offline: bool = field(default_factory=offline_by_default)
    on_progress: Progress = lambda name, done, total: None
    timeout: float = 10.0


def fetch(sources: Sequence[Source], store: Store, what: str) -> Path:
    """A file from the store, or from the first source that has it.

    Args:
        sources: the same weights in different places, the best place first.
        store: where the file goes.
        what: it is, for messages.

    Returns:
        The path of a file with the right hash.

    Raises:
        WeightsError: it cannot be had; names each place and what to do.
    """
    problems = []
    for source in sources:
        path = store.folder / source.name
        if path.is_file():
            if _matches(path, source):
                return path
            problems.append(f"{path}: damaged, its SHA-256 is another")
    name = sources[0].name
    remedy = (
        f"copy {name} from a machine that has it into {store.folder}, "
        "or give the path of a checkpoint, imagenet or none as --weights"
    )
    if store.offline:
        problems = problems or [f"{name} is not in {store.folder}"]
        raise WeightsError(f"{what}, offline: {'; '.join(problems)}: {remedy}")
    for problem in problems:
        log.warning("%s; downloading it again", problem)
    store.folder.mkdir(parents=True, exist_ok=True)
    for source in (source.redirected() for source in sources):
        try:
            return _download(source, store)
        except _FailedError as failure:
            problems.append(f"{source.url}: {failure}")
            log.info("%s: %s", source.url, failure)
    raise WeightsError(f"{what} could not be downloaded ({'; '.join(problems)}): {remedy}")


class _FailedError(Exception):
    """One source could not serve the file."""


def _download(source: Source, store: Store) -> Path:
    path = store.folder / source.name
    with _alone(store.folder / f".{source.name}.lock") as suffix:
        if path.is_file() and _matches(path, source):
            return path  # another process fetched it in the meantime
        # Named by the hash: what one mirror began another one may finish.
        part = path.with_name(f"{source.name}.{source.sha256[:8]}{suffix}.part")
        while True:
            resumed = part.is_file() and part.stat().st_size > 0
            if not (resumed and _matches(part, source)):
                _transfer(source, part, store)
            digest = _sha256(part)
            if digest.startswith(source.sha256):
                os.replace(part, path)
                return path
            part.unlink()
            if not resumed:  # else what was there before may have been wrong
                raise _FailedError(
                    f"deleted, its SHA-256 is {digest[:16]}..., {source.sha256[:16]}"
                    f"{'...' if len(source.sha256) > 16 else ''} expected"
                )


def _transfer(source: Source, part: Path, store: Store) -> None:
    """Completes a part file; goes on where the connection broke as long as bytes arrive."""
    patience = PATIENCE
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            _receive(source, part, store)
        except HTTPError as error:
            if error.code == 416 and before:  # the server has no more than that
                part.unlink()
                continue
            raise _FailedError(f"HTTP {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            gained = (part.stat().st_size if part.is_file() else 0) - before
            patience -= gained < GOOD_PROGRESS
            if gained <= 0 or patience == 0:
                raise _FailedError(_reason(error, store.timeout)) from error
            log.info("%s: %s, going on", source.url, _reason(error, store.timeout))
        else:
            return


def _receive(source: Source, part: Path, store: Store) -> None:
    """One answer of the server into the part file."""
    start = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": f"crispmask/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with urlopen(Request(source.url, headers=headers), timeout=store.timeout) as response:
        continued = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if not continued:  # the server sends it all
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        done = start
        with part.open("ab" if continued else "wb") as file:
            began = time.monotonic()
            while chunk := response.read1(CHUNK):
                file.write(chunk)
                done += len(chunk)
                store.on_progress(source.name, done, total)
                seconds = time.monotonic() - began
                if seconds > 6 * store.timeout and done - start < SLOWEST * seconds:
                    raise TimeoutError
    if total is not None and done < total:
        raise ConnectionError(f"broken off after {done} of {total} bytes")


@contextmanager
def _alone(lock: Path) -> Iterator[str]:
    """Waits until no other process downloads the same file.

    Yields:
        What makes the name of the part file this process's own where there are no locks: on
        Windows and some network drives.
    """
    with lock.open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        except (ImportError, OSError):
            yield f".{os.getpid()}"
        else:
            yield ""


def _matches(path: Path, source: Source) -> bool:
    return _sha256(path).startswith(source.sha256)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: Exception, timeout: float) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    return f"silent for {timeout:g} s" if isinstance(cause, TimeoutError) else reason_of(error)
