"""Files of web servers, with limits on time and size."""

from __future__ import annotations

import http.client
import time
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from crispmask.errors import SourceError, reason_of
from crispmask.version import __version__

TIMEOUT = 10.0
"""Seconds a server may be silent."""

PATIENCE = 60.0
"""Seconds a whole file may take."""

LARGEST = 200 << 20
"""Bytes of the largest file that is taken."""

_CHUNK = 1 << 16


def fetch_url(url: str) -> bytes:
    """The content of an http or https URL.

    Raises:
        SourceError: in one line: an error of the server, silence, a file that is too large.
    """
    try:
        with _open(url) as response:
            length = response.headers.get("Content-Length") or "0"
            if length.isdecimal() and int(length) > LARGEST:
                raise SourceError(_too_large(url))
            return _receive(url, response)
    except HTTPError as error:
        raise SourceError(f"{url}: the server says {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SourceError(f"{url}: {_reason(error)}") from error


def content_type(url: str) -> str:
    """What the server says a URL holds, such as `image/jpeg`; only the header is read.

    Raises:
        SourceError: as of `fetch_url`.
    """
    try:
        with _open(url) as response:
            return response.headers.get_content_type()
    except HTTPError as error:
        raise SourceError(f"{url}: the server says {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SourceError(f"{url}: {_reason(error)}") from error


def _open(url: str) -> http.client.HTTPResponse:
    request = Request(url, headers={"User-Agent": f"crispmask/{__version__}"})
    response: http.client.HTTPResponse = urlopen(request, timeout=TIMEOUT)
    return response


def _receive(url: str, response: http.client.HTTPResponse) -> bytes:
    content, end = bytearray(), time.monotonic() + PATIENCE
    while chunk := response.read1(_CHUNK):
        content += chunk
        if len(content) > LARGEST:
            raise SourceError(_too_large(url))
        if time.monotonic() > end:
            raise SourceError(f"{url}: not complete after {PATIENCE:g} s")
    expected = response.headers.get("Content-Length")
    if expected and len(content) < int(expected):
        raise SourceError(f"{url}: broken off after {len(content)} of {expected} bytes")
    return bytes(content)


def _too_large(url: str) -> str:
    return f"{url}: larger than {LARGEST >> 20} MiB; download it and give the file"


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return f"the server is silent for {TIMEOUT:g} s"
    return reason_of(error)
