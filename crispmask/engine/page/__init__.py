"""A run or a validation as one page that needs no other file and no network."""

from __future__ import annotations

from crispmask.engine.page.contents import Contents
from crispmask.engine.page.page import render_page, write_page

__all__ = ["Contents", "render_page", "write_page"]
