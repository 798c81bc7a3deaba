"""What to predict on: files, folders, lists, URLs, arrays, videos, cameras, standard input."""

from crispmask.sources.find import find_sources
from crispmask.sources.items import Image, Picture, Source, Video

__all__ = ["Image", "Picture", "Source", "Video", "find_sources"]
