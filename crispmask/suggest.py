"""Did you mean: the nearest known word to one that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """The end of an error message, `; did you mean X?`, or nothing if no word is near."""
    words = list(known)
    longer = [other for other in words if len(word) > 1 and other.startswith(word)]
    nearest = longer or get_close_matches(word, words, n=1)
    return f"; did you mean {prefix}{nearest[0]}?" if nearest else ""
