from __future__ import annotations

import errno
from urllib.error import URLError

import pytest

from crispmask.errors import reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("\n  the file is cut off.  \nadvice"), "the file is cut off"),
        (RuntimeError("x" * 500), "x" * 160),
        (RuntimeError(), "RuntimeError"),
        (RuntimeError("..."), "RuntimeError"),
        (OSError(errno.ENOSPC, "No space left on device", "a.pt"), "No space left on device"),
        (URLError(ConnectionRefusedError(errno.ECONNREFUSED, "Refused")), "Refused"),
        (URLError("unknown url type"), "<urlopen error unknown url type>"),
    ],
)
def test_reasons_are_a_part_of_a_sentence(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
