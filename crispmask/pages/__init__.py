"""HTML pages that need no other file and no network, all in one style, light and dark."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib.resources import files
from pathlib import Path

from crispmask.atomic import replacing

_DOCUMENT = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src {scripts}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>{header}</header>
<main>
{body}
</main>
{script}</body>
</html>
"""


def document(
    title: str, subtitles: list[str], body: str, style: str, script: str = "", tools: str = ""
) -> str:
    """A page as text. It asks no server for anything, and runs no script but its own.

    Args:
        title: plain text.
        subtitles: lines below it, plain text.
        body: HTML below them.
        style: CSS beyond what all pages have.
        script: JavaScript, run when the page is there.
        tools: HTML beside the title.
    """
    lines = "".join(f'<p class="soft">{escape(line)}</p>' for line in subtitles)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return _DOCUMENT.format(
        title=escape(title),
        header=f"<div><h1>{escape(title)}</h1>{lines}</div>{tools}",
        body=body,
        style=text_of("crispmask.pages", "base.css") + style,
        scripts=f"'sha256-{digest}'" if script else "'none'",
        script=f"<script>{script}</script>\n" if script else "",
    )


def write_document(path: Path, text: str) -> None:
    """Writes a page; the folder must exist."""
    with replacing(path) as partial:
        # Names of files may hold what is no Unicode.
        partial.write_text(text, encoding="utf-8", errors="replace")


def text_of(package: str, name: str) -> str:
    """A file that lies beside the code of a package."""
    return (files(package) / name).read_text(encoding="utf-8")
