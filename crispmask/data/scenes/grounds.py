"""What the things of a scene lie on: colour and height of a surface seen from above."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from crispmask.data.scenes.noise import Field, colour, fractal_noise, mix, smooth_noise, step, warp
from crispmask.types import Size


def draw_ground(rng: np.random.Generator, size: Size, tilt: float) -> tuple[Field, Field]:
    """A random ground, turned at random and foreshortened by the camera.

    Returns:
        Colour (H, W, 3) in linear light, and height (H, W) in pixels.
    """
    painters: tuple[Callable[[np.random.Generator, Size], tuple[Field, Field]], ...]
    painters = (_wood, _wood, _fabric, _fabric, _concrete, _sand, _grass, _paper)
    paint = painters[int(rng.integers(len(painters)))]
    height, width = size
    side = int(np.ceil(np.hypot(height / tilt, width))) + 2
    albedo, relief = paint(rng, (side, side))
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = np.diag([1.0, tilt]) @ turn  # from the surface to the image
    offset = [width / 2, height / 2] - linear @ [side / 2, side / 2]
    matrix = np.concatenate([linear, offset[:, None]], axis=1)
    layers = np.dstack([np.broadcast_to(albedo, (side, side, 3)), relief])
    seen = warp(layers, matrix, size, cv2.BORDER_REFLECT)
    return seen[..., :3], seen[..., 3]


def _pick(rng: np.random.Generator, colours: tuple[tuple[int, int, int], ...]) -> Field:
    return colour(*colours[int(rng.integers(len(colours)))])


def _wood(rng: np.random.Generator, size: Size) -> tuple[Field, Field]:
    dark, light = (
        ((92, 58, 36), (150, 104, 66)),
        ((140, 100, 66), (196, 156, 110)),
        ((70, 52, 42), (112, 88, 70)),
        ((150, 132, 112), (198, 184, 164)),
    )[int(rng.integers(4))]
    plank = int(rng.uniform(0.22, 0.45) * size[0])
    rows = np.arange(size[0]) + int(rng.integers(plank))
    number = rows // plank
    tones = rng.normal(0, 0.16, int(number.max()) + 1)[number].astype(np.float32)[:, None]
    drift = 9 * fractal_noise(rng, size, (plank * 0.7, plank * 3.0), 2)
    y = rows.astype(np.float32)[:, None] + drift + 40 * number.astype(np.float32)[:, None]
    rings = 0.5 + 0.5 * np.sin(y * (2 * np.pi / rng.uniform(9, 16)))
    fibre = fractal_noise(rng, size, (1.6, 45.0), 3)
    grain = 0.45 + 0.25 * (rings**2 - 0.4) + 0.14 * fibre + tones
    seam = np.minimum(rows % plank, plank - 1 - rows % plank).astype(np.float32)[:, None]
    gap = np.broadcast_to(step(seam, 2.2, 0.3), size)
    albedo = mix(colour(*dark), colour(*light), grain) * (1 - 0.75 * gap)[..., None]
    return albedo, 0.35 * fibre - 1.5 * gap


def _fabric(rng: np.random.Generator, size: Size) -> tuple[Field, Field]:
    palette = ((206, 194, 172), (108, 122, 142), (150, 84, 74), (214, 212, 206), (92, 100, 88))
    base, second = _pick(rng, palette), _pick(rng, palette)
    period = rng.uniform(3.4, 5.0)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    y = y + 1.2 * smooth_noise(rng, size, 40)
    x = x + 1.2 * smooth_noise(rng, size, 40)
    weave = np.sin(x * (2 * np.pi / period)) * np.sin(y * (2 * np.pi / period))
    threads = smooth_noise(rng, size, (1.5, 24)) * (weave > 0) + smooth_noise(
        rng, size, (24, 1.5)
    ) * (weave <= 0)
    albedo = np.broadcast_to(base, (*size, 3))
    check = rng.uniform(40, 90)
    if rng.random() < 0.5:
        bands = step(np.sin(x * (2 * np.pi / check)), 0.55, 0.65)
        if rng.random() < 0.6:
            bands = bands * 0.5 + 0.5 * step(np.sin(y * (2 * np.pi / check)), 0.55, 0.65)
        albedo = mix(albedo, second, 0.7 * bands)
    folds = fractal_noise(rng, size, 130, 2)
    return albedo * (0.92 + 0.1 * threads)[..., None], 0.3 * np.abs(weave) + 7 * folds


def _concrete(rng: np.random.Generator, size: Size) -> tuple[Field, Field]:
    base = _pick(rng, ((150, 148, 144), (118, 120, 124), (176, 168, 154), (84, 88, 94)))
    stain = fractal_noise(rng, size, 90, 5)
    grit = smooth_noise(rng, size, 1.5)
    pores = step(smooth_noise(rng, size, 3.0), 1.7, 2.3)
    tone = 1 + 0.13 * stain + 0.05 * grit
    return base * (tone * (1 - 0.35 * pores))[..., None], 0.25 * grit + 0.5 * stain - pores


def _sand(rng: np.random.Generator, size: Size) -> tuple[Field, Field]:
    light, dark = colour(214, 190, 150), colour(164, 132, 96)
    dunes = fractal_noise(rng, size, 110, 3)
    y = np.arange(size[0], dtype=np.float32)[:, None] + 10 * dunes
    ripples = np.sin(y * (2 * np.pi / rng.uniform(18, 34))) * step(dunes, -0.8, 0.8)
    grain = smooth_noise(rng, size, 1.3)
    albedo = mix(dark, light, 0.6 + 0.12 * dunes + 0.2 * grain)
    return albedo, 1.6 * ripples + 0.35 * grain + 2 * dunes


def _grass(rng: np.random.Generator, size: Size) -> tuple[Field, Field]:
    image = np.empty((*size, 3), np.float32)
    image[:] = colour(62, 74, 40)
    height = np.zeros(size, np.float32)
    num_blades = size[0] * size[1] // 40
    start = rng.uniform(-10, 10 + max(size), (num_blades, 2))
    reach = np.stack([rng.normal(0, 5, num_blades), rng.normal(-11, 6, num_blades)], axis=1)
    patch = fractal_noise(rng, size, 80, 3)
    row, column = (start[:, axis].clip(0, size[0] - 1).astype(np.int64) for axis in (1, 0))
    rise = np.arange(num_blades, dtype=np.float32) / num_blades
    tone = (0.45 + 0.55 * rise) * rng.uniform(0.75, 1.15, num_blades).astype(np.float32)
    dry = 0.3 + 0.25 * patch[row, column]
    blades = mix(colour(116, 146, 74), colour(184, 182, 124), dry) * tone[:, None]
    eighths = (np.stack([start, start + reach], axis=1) * 8).astype(np.int64).tolist()
    for (root, tip), blade, top in zip(eighths, blades.tolist(), (3 * rise).tolist(), strict=True):
        cv2.line(image, root, tip, blade, 1, cv2.LINE_AA, 3)
        cv2.line(height, root, tip, top, 1, cv2.LINE_AA, 3)
    return image, height


def _paper(rng: np.random.Generator, size: Size) -> tuple[Field, Field]:
    """A painted table or paper: plain, with a soft change of colour."""
    first = _pick(rng, ((186, 206, 212), (222, 206, 190), (148, 166, 160), (202, 196, 208)))
    second = _pick(rng, ((156, 176, 190), (200, 180, 168), (188, 200, 184)))
    blend = 0.5 + 0.3 * smooth_noise(rng, size, max(size) / 2)
    fibre = fractal_noise(rng, size, 6, 3)
    return mix(first, second, blend) * (1 + 0.025 * fibre)[..., None], 0.3 * fibre
