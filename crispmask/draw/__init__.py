"""Pictures of instances."""

from __future__ import annotations

from crispmask.draw.instances import draw_instances
from crispmask.draw.palette import class_colour
from crispmask.draw.sheet import tile_images

__all__ = ["class_colour", "draw_instances", "tile_images"]
