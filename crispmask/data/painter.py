"""The pixels of training images, painted with torch on the device that holds them.

The same pieces as `augment.paint` fills with OpenCV, each with one look-up of its window. Letters:
B batch, S side of the images, h and w of a piece or of its window.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from crispmask.augment.affine import is_affine
from crispmask.augment.picture import Picture
from crispmask.augment.pieces import Piece
from crispmask.data.device_images import DeviceImages
from crispmask.data.device_pixels import change_colours, resize


class Painter:
    """Paints batches of pictures.

    Pixels differ from those of OpenCV by the rounding of its positions and of its colours: by
    less than half a level in the mean.

    Args:
        images: all of the dataset.
    """

    def __init__(self, images: DeviceImages) -> None:
        self.images = images
        self.device = images.pixels.device

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Picture]) -> Tensor:
        """(B, 3, S, S) uint8, in memory channels last as convolutions want it.

        Args:
            pictures: at least one, all of one size.
        """
        S = pictures[0].imgsz
        centres = torch.arange(S, device=self.device, dtype=torch.float32) + 0.5
        # What decides about single pixels travels in one piece for all pictures.
        pieces = [piece for p in pictures for scene in p.scenes for piece in scene]
        limits = iter(self._send([p.limits for p in pieces if p.limits is not None], np.int16))
        inside = iter(self._send([p.inside for p in pieces if p.inside is not None], np.bool_))
        levels = self._send([picture.colours.levels for picture in pictures], np.uint8)
        images = torch.empty((len(pictures), S, S, 3), dtype=torch.uint8, device=self.device)
        for image, picture, table in zip(images, pictures, levels, strict=True):
            scenes = []
            for scene in picture.scenes:
                canvas = torch.empty((3, S, S), dtype=torch.uint8, device=self.device)
                for channel, value in zip(canvas, picture.grey, strict=True):
                    channel.fill_(value)
                for piece in scene:
                    within = None
                    if piece.inside is not None:
                        within = next(inside)
                    elif piece.limits is not None:
                        columns = next(limits)  # (h, 2)
                        places = centres[: piece.box[2] - piece.box[0]]
                        within = (places > columns[:, :1]) & (places < columns[:, 1:])
                    self._fill(canvas, piece, picture, table, centres, within)
                scenes.append(canvas)
            whole = scenes[0]
            if len(scenes) == 2:
                blended = scenes[0] * picture.ratio + scenes[1] * (1 - picture.ratio)
                whole = blended.round_().to(torch.uint8)
            if not picture.is_early:
                whole = change_colours(whole, picture.colours, table)
            image.copy_(whole.permute(1, 2, 0))
        return images.permute(0, 3, 1, 2)

    def _fill(
        self,
        canvas: Tensor,
        piece: Piece,
        picture: Picture,
        table: Tensor,
        centres: Tensor,
        within: Tensor | None,
    ) -> None:
        """Writes a piece to the canvas (3, S, S), or what lies `within` (h, w) of its box."""
        source = self.images.image(piece.position).permute(2, 0, 1)
        if source.shape[1:] != piece.size:
            source = resize(source, piece.size)
        x1, y1, x2, y2 = piece.window
        source = source[:, y1:y2, x1:x2]
        if picture.is_early:
            source = change_colours(source, picture.colours, table)
        left, top, right, bottom = piece.box
        points = _points(piece, centres[: right - left], centres[: bottom - top])
        warped = F.grid_sample(
            source.float()[None], points[None], padding_mode="border", align_corners=False
        )
        warped = warped[0].round_().to(torch.uint8)
        view = canvas[:, top:bottom, left:right]
        view.copy_(warped if within is None else torch.where(within, warped, view))

    def _send(self, arrays: Sequence[NDArray[np.generic]], kind: type) -> list[Tensor]:
        """Arrays as tensors of the device, in one transfer."""
        if not arrays:
            return []
        flat = torch.from_numpy(np.concatenate([a.ravel() for a in arrays]).astype(kind))
        parts = flat.to(self.device, non_blocking=True).split([a.size for a in arrays])
        return [part.view(a.shape) for part, a in zip(parts, arrays, strict=True)]


def _points(piece: Piece, x: Tensor, y: Tensor) -> Tensor:
    """(h, w, 2) positions in the window, -1 to 1 from border to border, of the centres of a box.

    Args:
        piece: its matrix leads there.
        x: (w,) of the columns.
        y: (h,) of the rows.
    """
    left, top, right, bottom = piece.window
    to_unit = np.array([[2 / (right - left), 0, -1], [0, 2 / (bottom - top), -1], [0, 0, 1]])
    rows = (to_unit @ piece.to_window).tolist()
    # Sums of a row and a column, not a product of matrices, which a GPU may round to 10 bits.
    u, v = ((a * x + c)[None] + (b * y)[:, None] for a, b, c in rows[:2])
    if not is_affine(piece.to_window):
        a, b, c = rows[2]
        depth = (a * x + c)[None] + (b * y)[:, None]
        u, v = u / depth, v / depth
    return torch.stack([u, v], dim=-1)
