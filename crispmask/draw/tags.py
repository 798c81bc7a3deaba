"""Where the tags of instances go: inside the image, beside each other."""

from __future__ import annotations

from collections.abc import Sequence

from crispmask.geometry.mask_runs import Rectangle
from crispmask.types import Size


def place_tag(
    box: Rectangle, tag_size: Size, image_size: Size, taken: Sequence[Rectangle]
) -> Rectangle:
    """A place for a tag near its box: the first of several that is free, else the freest.

    Args:
        box: of the instance.
        tag_size: (height, width), at most the size of the image.
        image_size: (height, width).
        taken: rectangles of the tags that are there already.
    """
    height, width = tag_size
    x1, y1, x2, y2 = box
    middle = (x1 + x2 - width) // 2
    wished = [
        (x1, y1 - height),  # on top of the box, or just inside if there is no room above
        (x1, y1),
        (x2 - width, y1 - height),
        (x2 - width, y1),
        (x1, y2),
        (x2 - width, y2),
        (x1, y2 - height),
        (x2 - width, y2 - height),
        (middle, (y1 + y2 - height) // 2),
        (x1, y1 + height),
        (x1, y1 + 2 * height),
    ]
    best: Rectangle | None = None
    least = 0
    for x, y in wished:
        x = min(max(x, 0), image_size[1] - width)
        y = min(max(y, 0), image_size[0] - height)
        place = (x, y, x + width, y + height)
        hidden = sum(_overlap(place, other) for other in taken)
        if hidden == 0:
            return place
        if best is None or hidden < least:
            best, least = place, hidden
    assert best is not None  # there is always a first wish
    return best


def _overlap(a: Rectangle, b: Rectangle) -> int:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)
