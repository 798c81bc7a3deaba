"""Takes sources, finds instances in each picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from numpy.typing import NDArray

from crispmask.inference.settings import Settings
from crispmask.inference.tiles import find_in_tiles
from crispmask.sources import Image, Picture
from crispmask.sources.find import find_all
from crispmask.types import Instances

AnySource: TypeAlias = str | Path | Image

Find: TypeAlias = Callable[[Sequence[Image]], list[Instances]]
"""What a model does: the instances of each of some images, in its pixels."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture, or one frame of a video.

    Attributes:
        name: path, URL or number of an array; of a frame with `#` and its number from 1.
        image: (H, W, 3) uint8 RGB.
    """

    name: str
    image: Image


def tiled(find: Find, settings: Settings, max_det: int, batch: int) -> Find:
    """The same, in tiles where the settings ask for them.

    Args:
        find: looks at whole images.
        settings: `tile` and `tile_overlap` count.
        max_det: most instances of an image.
        batch: tiles that are looked at together.
    """
    tile = settings.tile
    if tile is None:
        return find
    return lambda images: [
        find_in_tiles(find, image, tile, settings.tile_overlap, max_det, batch) for image in images
    ]


def run(find: Find, frames: Iterable[Frame], batch: int) -> Iterator[tuple[Frame, Instances]]:
    """Yields each frame with its instances; `batch` of them are looked at together."""
    for some in in_batches(frames, batch):
        yield from zip(some, find([frame.image for frame in some]), strict=True)


def in_batches(items: Iterable[Item], batch: int) -> Iterator[list[Item]]:
    """Yields lists of at most `batch` items."""
    remaining = iter(items)
    while some := list(islice(remaining, batch)):
        yield some


def of_one_shape(inputs: Sequence[NDArray[Any]]) -> list[list[int]]:
    """Indices of inputs that can be stacked, in their order."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, x in enumerate(inputs):
        groups.setdefault(x.shape, []).append(i)
    return list(groups.values())


def frames_of(sources: AnySource | Iterable[AnySource]) -> Iterator[Frame]:
    """Every picture and every frame of the sources, in their order, one in memory at a time."""
    for source in find_all(sources):
        if isinstance(source, Picture):
            yield Frame(source.name, source.read())
            continue
        with source.open() as frames:
            for number, image in enumerate(frames, 1):
                yield Frame(f"{source.name}#{number}", image)
