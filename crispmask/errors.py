"""Errors a user can cause. Each prints as one line that says what to fix."""

from __future__ import annotations


class CrispmaskError(Exception):
    """Base of all errors that are the user's to fix; commands print it and exit with 2."""


class ConfigError(CrispmaskError):
    """A flag, or a combination of flags, that cannot work."""


class DatasetError(CrispmaskError):
    """A dataset that cannot be read; the message names file, line and fix."""


class WeightsError(CrispmaskError):
    """A checkpoint or weight file that is missing, damaged or of another model."""


class OutputError(CrispmaskError):
    """A file that cannot be written: a full disk, a folder without permission."""


class ExportError(CrispmaskError):
    """An export that cannot be made, or that does not give the results of PyTorch."""


class SourceError(CrispmaskError):
    """Something to predict on that cannot be read."""


class RankError(CrispmaskError):
    """A process that trained together with this one has stopped; the message says why."""


def reason_of(error: BaseException) -> str:
    """What an error of a library says, as a short part of a sentence."""
    cause = getattr(error, "reason", None)  # urllib wraps what happened
    error = cause if isinstance(cause, BaseException) else error
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return (lines[0][:160].rstrip(" .") if lines else "") or type(error).__name__
