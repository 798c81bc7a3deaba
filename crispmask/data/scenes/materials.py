"""How the things of a scene look: colour, relief and gloss inside their outlines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crispmask.data.scenes.layout import Thing
from crispmask.data.scenes.noise import Field, blur, colour, fractal_noise, mix, smooth_noise, step
from crispmask.data.scenes.prints import draw_print
from crispmask.types import Size


@dataclass(frozen=True)
class Surface:
    """The look of a thing on the pixels of its crop.

    Attributes:
        albedo: (h, w, 3) in linear light.
        height: (h, w) above its own rim, pixels.
        gloss: strength of the highlight.
        metal: 1 mirrors the surroundings, 0 scatters light.
        lift: pixels the thing stands above what it lies on, for its shadow.
    """

    albedo: Field
    height: Field
    gloss: float
    metal: float
    lift: float


def draw_surface(
    thing: Thing, matrix: NDArray[np.float64], rim: Field, rng: np.random.Generator
) -> Surface:
    """Paints a thing.

    Args:
        thing: what to paint.
        matrix: (2, 3) from the frame of its shape to the pixels of the crop.
        rim: (h, w), distance from each pixel of the crop to its outline, pixels; 0 outside.
        rng: draws colours and marks.
    """
    h, w = rim.shape
    inverse = np.linalg.inv(matrix[:, :2])
    y, x = np.mgrid[:h, :w].astype(np.float32) + np.float32(0.5)
    dx, dy = x - np.float32(matrix[0, 2]), y - np.float32(matrix[1, 2])
    u = np.float32(inverse[0, 0]) * dx + np.float32(inverse[0, 1]) * dy
    v = np.float32(inverse[1, 0]) * dx + np.float32(inverse[1, 1]) * dy
    v = v - np.float32(thing.shape.bend) * u * u
    match thing.shape.kind:
        case "leaf":
            return _leaf(thing, u, v, rng)
        case "ring":
            return _ring(thing, rim, u, v, rng)
        case "stone":
            return _stone(thing, rim, rng)
        case "card":
            albedo = draw_print(thing, matrix, (h, w), rng)
            curl = rng.uniform(-0.05, 0.05) * thing.diameter * (u + 0.3 * v) ** 2
            return Surface(albedo, curl, 0.06, 0.0, 0.03 * thing.diameter + 1)
        case _:
            return _strap(thing, rim, u, v, rng)


def _size(field: Field) -> Size:
    return field.shape[0], field.shape[1]


def _leaf(thing: Thing, u: Field, v: Field, rng: np.random.Generator) -> Surface:
    palettes = (
        ((58, 108, 38), (112, 152, 52)),
        ((40, 88, 44), (82, 128, 62)),
        ((98, 140, 40), (166, 182, 70)),
        ((196, 132, 30), (228, 180, 60)),
        ((150, 54, 26), (206, 104, 40)),
    )
    dark, light = palettes[int(rng.choice(5, p=[0.28, 0.22, 0.2, 0.16, 0.14]))]
    size = _size(u)
    pixel = np.float32(1 / thing.diameter)
    across = np.abs(v)
    mottled = 0.45 + 0.2 * fractal_noise(rng, size, max(thing.diameter / 6, 2), 4)
    albedo = mix(colour(*dark), colour(*light), mottled - 0.4 * across + 0.25 * (u + 0.5))
    middle = np.exp(-((v / (0.010 + 0.8 * pixel)) ** 2))
    if thing.shape.style == "maple":
        side = np.zeros_like(u)
        for angle in (1.0, 2.05):
            along = np.maximum((u + 0.3) * np.cos(angle * 0.8) + across * np.sin(angle * 0.8), 0)
            off = (u + 0.3) * np.sin(angle * 0.8) - across * np.cos(angle * 0.8)
            side = np.maximum(side, np.exp(-((off / (0.008 + 0.7 * pixel)) ** 2)) * (along > 0))
    else:
        phase = (u - 0.75 * across + 0.8 * across**2) * np.float32(rng.uniform(9, 13))
        gap = np.abs(phase - np.round(phase))
        side = step(gap, 0.10, 0.02) * step(across, 0.0, 0.03) * (u > -0.5)
    veins = np.maximum(middle, 0.6 * side)
    albedo = mix(albedo, colour(*light) * 1.35 + 0.03, 0.75 * veins)
    if rng.random() < 0.4:
        spots = step(fractal_noise(rng, size, max(thing.diameter / 9, 2), 2), 1.2, 1.7)
        albedo = mix(albedo, colour(96, 62, 30), 0.8 * spots)
    ripple = fractal_noise(rng, size, max(thing.diameter / 4, 3), 2)
    height = thing.diameter * (0.012 * ripple - 0.010 * veins - rng.uniform(-0.2, 0.5) * v * v)
    return Surface(albedo, height, 0.10, 0.0, 0.05 * thing.diameter + 1)


def _ring(thing: Thing, rim: Field, u: Field, v: Field, rng: np.random.Generator) -> Surface:
    metals = ((236, 190, 92), (226, 150, 108), (206, 208, 212), (44, 98, 172))
    choice = int(rng.choice(4, p=[0.5, 0.25, 0.13, 0.12]))
    size = _size(u)
    half = max(thing.diameter * (0.5 - thing.shape.hole) / 2, 1.0)
    radius = np.sqrt(u * u + v * v)
    if thing.shape.style == "torus":
        middle = (0.5 + thing.shape.hole) / 2
        t = (radius - middle) / (0.5 - middle)  # -1 at the hole, 0 on top, 1 at the outer edge
        height = half * np.sqrt(np.maximum(1.04 - t * t, 0)).astype(np.float32)
    else:
        brushed = np.sin(radius * np.float32(2 * np.pi * min(26, thing.diameter / 5)))
        bevel = np.minimum(rim, 0.18 * half + 1)
        height = blur(bevel, 0.5) + 0.03 * brushed
    worn = fractal_noise(rng, size, max(thing.diameter / 5, 2), 4)
    albedo = colour(*metals[choice]) * (1 + 0.10 * worn)[..., None]
    metal = 0.0 if choice == 3 else 1.0
    return Surface(albedo, height, 0.7, metal, half * 1.3 + 1)


def _stone(thing: Thing, rim: Field, rng: np.random.Generator) -> Surface:
    palettes = (
        ((112, 110, 108), (158, 156, 152)),
        ((88, 92, 100), (134, 140, 148)),
        ((138, 124, 112), (182, 170, 158)),
        ((74, 72, 74), (116, 114, 116)),
    )
    dark, light = palettes[int(rng.integers(4))]
    size = _size(rim)
    half = max(float(rim.max()), 1.0)
    t = np.clip(rim / half, 0, 1)
    dome = half * 0.75 * np.sqrt(np.maximum(1 - (1 - t) ** 2, 0))
    lumps = fractal_noise(rng, size, max(thing.diameter / 5, 3), 4)
    height = blur(dome.astype(np.float32), 0.12 * half) + 0.012 * thing.diameter * lumps
    tone = 0.5 + 0.22 * fractal_noise(rng, size, max(thing.diameter / 3, 2), 5)
    albedo = mix(colour(*dark), colour(*light), tone)
    grains = smooth_noise(rng, size, 1.8)
    albedo = albedo * (1 + 0.16 * grains)[..., None]
    albedo = mix(albedo, colour(224, 220, 212), 0.7 * step(smooth_noise(rng, size, 2.2), 1.9, 2.4))
    if rng.random() < 0.35:
        vein = np.abs(fractal_noise(rng, size, max(thing.diameter / 2, 3), 3))
        albedo = mix(albedo, colour(212, 206, 196), 0.7 * step(vein, 0.07, 0.02))
    return Surface(albedo, height, 0.05, 0.0, 0.8 * half + 1)


def _strap(thing: Thing, rim: Field, u: Field, v: Field, rng: np.random.Generator) -> Surface:
    size = _size(rim)
    if thing.shape.style == "twig":
        half = max(float(rim.max()), 1.0)
        t = np.clip(rim / half, 0, 1)
        bark = fractal_noise(rng, size, 5, 3)
        height = half * np.sqrt(np.maximum(1 - (1 - t) ** 2, 0)).astype(np.float32) + 0.4 * bark
        return Surface(
            mix(colour(70, 50, 36), colour(122, 96, 72), 0.5 + 0.3 * bark),
            height,
            0.03,
            0.0,
            1.5 * half,
        )
    palette = ((150, 40, 60), (62, 60, 110), (206, 196, 180), (52, 92, 92))
    base = colour(*palette[int(rng.integers(4))])
    weave = np.sin(u * thing.diameter * 1.8)
    edge = step(rim, 1.0, 2.5)
    tone = 0.8 + 0.05 * weave + 0.12 * edge
    height = 0.6 * thing.diameter / 100 * np.sin(u * 21) + 0 * v
    return Surface(base * tone[..., None], height.astype(np.float32), 0.15, 0.0, 3.0)
