"""Makes one site of docs/ and the documents beside it: README, ARCHITECTURE, benchmarks.

Those are added as pages, and links between all of them, which are relative to where the files lie
in the repository, are turned into links between pages. A link to a file that is no page, such as
a script, becomes its name.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
BESIDE = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md")


def page_name(path: str) -> str:
    """Where a file of the repository lies on the site, as MkDocs names its sources."""
    renamed = {
        "README.md": "overview.md",
        "benchmarks/README.md": "benchmarks/overview.md",
        "benchmarks/index.md": "benchmarks/dataset-index.md",
    }
    return renamed.get(path, path.removeprefix("docs/"))


def on_config(config: Any) -> Any:
    """Lists the measurements, whichever there are."""
    pages = sorted(
        map(page_name, _benchmarks()), key=lambda page: (not page.endswith("/overview.md"), page)
    )
    config["nav"].append({"Measurements": pages})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the documents outside docs/."""
    for path in (*BESIDE, *_benchmarks()):
        text = (ROOT / path).read_text(encoding="utf-8")
        page = File.generated(config, page_name(path), content=text)
        page.edit_uri = path  # where it lies in the repository, for its links
        files.append(page)
    for picture in sorted(ROOT.glob("benchmarks/*.png")):
        path = picture.relative_to(ROOT).as_posix()
        files.append(File.generated(config, path, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links to files of the repository as links to pages."""
    here = page.file.src_uri
    source = page.file.edit_uri if page.file.generated_by else f"docs/{here}"

    def turn(match: re.Match[str]) -> str:
        mark, text, target, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        name = page_name(path)
        if files.get_file_from_path(name) is None:
            return text if text.startswith("`") else f"{text} (`{path}`)"
        return f"{mark}[{text}]({posixpath.relpath(name, posixpath.dirname(here) or '.')}{anchor})"

    return re.sub(r"(!?)\[([^\]]+)\]\(([^)#:\s]+)(#[^)\s]*|)\)", turn, markdown)


def _benchmarks() -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in ROOT.glob("benchmarks/*.md")]
