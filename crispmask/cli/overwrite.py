"""Keeps results of `crispmask predict` from replacing files of the user."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from crispmask.cli.writer import Wanted, file_stem, overlay_suffix
from crispmask.data.paths import label_path
from crispmask.errors import ConfigError
from crispmask.sources import Picture, Source


def check_out(out: Path, sources: Iterable[Source], wanted: Wanted) -> None:
    """Raises ConfigError where results would replace what lies around the sources.

    In other folders they replace those of an earlier call.

    Args:
        out: folder of the results; it may be missing.
        sources: what is predicted on.
        wanted: which results.
    """
    place = out.resolve()
    for source in sources:
        file = _file_of(source)
        if file is None:
            continue
        # A link and what it points to are both the user's.
        folders = (file.parent.resolve(), file.resolve().parent)
        suffix = overlay_suffix(file) if isinstance(source, Picture) else ".mp4"
        picture, labels = out / f"{file_stem(file.stem)}{suffix}", label_path(file)
        inside = any(folder.is_relative_to(place) for folder in folders)
        if wanted.overlays and inside and picture.exists():
            what = f"the result of {file} would replace {picture}"
        elif wanted.crops and any(folder.is_relative_to(place / "crops") for folder in folders):
            what = f"{file} lies among its crops, which could replace it"
        elif wanted.txt and labels.exists() and labels.parent.resolve() == place / "labels":
            what = f"--save-txt would replace {labels}, the labels of {file}"
        else:
            continue
        raise ConfigError(f"--out {out}: {what}; choose another folder")


def _file_of(source: Source) -> Path | None:
    if isinstance(source, Picture):
        return source.content if isinstance(source.content, Path) else None
    is_file = isinstance(source.address, str) and "://" not in source.address
    return Path(source.name) if is_file else None
