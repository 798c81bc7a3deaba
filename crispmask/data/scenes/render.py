"""Paints a layout as a photograph: light, shadows, lens and sensor."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.data.scenes.grounds import draw_ground
from crispmask.data.scenes.layout import SUPERSAMPLE, Layout, Thing
from crispmask.data.scenes.materials import Surface, draw_surface
from crispmask.data.scenes.noise import (
    Field,
    blur,
    fractal_noise,
    shrink,
    slopes,
    smooth_noise,
    step,
    warp,
)


@dataclass(frozen=True)
class Light:
    """A distant lamp and the sky.

    Attributes:
        direction: (3,) unit vector from the scene to the lamp: x, y of the image, and up.
        lamp: (3,) colour of the lamp.
        sky: (3,) colour of the light from all sides.
        softness: width of the edge of a shadow, per height of the thing that casts it.
    """

    direction: Field
    lamp: Field
    sky: Field
    softness: float


def draw_light(rng: np.random.Generator) -> Light:
    """A random sun or window."""
    angle, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.0)
    direction = [np.cos(angle) * np.cos(height), np.sin(angle) * np.cos(height), np.sin(height)]
    warm = rng.uniform(-0.05, 0.12)
    lamp = np.array([1 + warm, 1, 1 - 1.3 * warm]) * rng.uniform(0.8, 1.05)
    sky = np.array([0.92, 1.0, 1.12]) * rng.uniform(0.26, 0.42)
    return Light(
        np.array(direction, np.float32),
        lamp.astype(np.float32),
        sky.astype(np.float32),
        float(rng.uniform(0.12, 0.4)),
    )


def render(
    layout: Layout, masks: list[NDArray[np.bool_]], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The photograph (H, W, 3) uint8 RGB of a scene.

    Args:
        layout: the scene.
        masks: its `fine_masks`.
        rng: draws everything but the outlines.
    """
    light = draw_light(rng)
    albedo, relief = draw_ground(rng, layout.size, layout.tilt)
    albedo = _scatter_crumbs(albedo, rng)
    canvas = _shade(Surface(albedo, relief, 0.0, 0.0, 0.0), light)
    for thing, mask in zip(layout.things, masks, strict=True):
        canvas = _put(canvas, thing, mask, light, rng)
    return _photograph(canvas, light, rng)


def _scatter_crumbs(albedo: Field, rng: np.random.Generator) -> Field:
    """Dust and crumbs, too small and faint to be objects."""
    dust = albedo.copy()
    height, width = albedo.shape[:2]
    for _ in range(int(rng.integers(0, 14))):
        centre = (int(rng.uniform(0, width) * 8), int(rng.uniform(0, height) * 8))
        axes = (int(rng.uniform(6, 18)), int(rng.uniform(4, 9)))
        tone = [float(value) for value in rng.uniform(0.03, 0.35) * np.array([1, 0.9, 0.75])]
        cv2.ellipse(dust, centre, axes, rng.uniform(0, 180), 0, 360, tone, -1, cv2.LINE_AA, 3)
    return dust


def _put(
    canvas: Field, thing: Thing, mask: NDArray[np.bool_], light: Light, rng: np.random.Generator
) -> Field:
    """Lays a thing on what is there: its shadow first, then itself."""
    size = (canvas.shape[0], canvas.shape[1])
    # Each pixel is covered as far as its fine pixels are set.
    coverage = shrink(mask.astype(np.float32), size)
    rows, columns = _window(coverage, 3)
    matrix = thing.matrix - [[0, 0, columns.start], [0, 0, rows.start]]
    surface = draw_surface(thing, matrix, _rim(mask, rows, columns), rng)
    result = canvas.copy()
    shaded = _window(coverage, int(4 + 4 * surface.lift))
    result[shaded] *= _shadow(coverage[shaded], surface.lift, light)
    crop = result[rows, columns]
    crop += (_shade(surface, light) - crop) * coverage[rows, columns, None]
    return result


def _window(coverage: Field, margin: int) -> tuple[slice, slice]:
    """Rows and columns of the image around what is covered."""
    rows, columns = (np.flatnonzero(coverage.any(axis=axis)) for axis in (1, 0))
    height, width = coverage.shape
    return (
        slice(max(int(rows[0]) - margin, 0), min(int(rows[-1]) + 1 + margin, height)),
        slice(max(int(columns[0]) - margin, 0), min(int(columns[-1]) + 1 + margin, width)),
    )


def _rim(mask: NDArray[np.bool_], rows: slice, columns: slice) -> Field:
    """Distance in pixels from each pixel of a window to the outline of a fine mask, 0 outside."""
    s = SUPERSAMPLE
    inside = mask[rows.start * s : rows.stop * s, columns.start * s : columns.stop * s]
    distance = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5).astype(np.float32)
    size = (rows.stop - rows.start, columns.stop - columns.start)
    return shrink(distance, size) / np.float32(s)


def _shadow(coverage: Field, lift: float, light: Light) -> Field:
    """What is left (h, w, 3) of the light beside a thing of the given height."""
    size = (coverage.shape[0], coverage.shape[1])
    slant = light.direction[:2] / light.direction[2]
    cast = np.zeros_like(coverage)
    for part in (0.25, 0.6, 1.0):  # the higher its top, the further its shadow
        x, y = (-slant * lift * part).tolist()
        matrix = np.array([[1, 0, x], [0, 1, y]], dtype=np.float64)
        moved = warp(coverage, matrix, size, cv2.BORDER_REPLICATE)
        cast = np.maximum(cast, blur(moved, 0.5 + light.softness * lift * part))
    contact = blur(coverage, 1.0 + 0.3 * lift)
    lamp = light.lamp * light.direction[2]
    share = lamp / (lamp + light.sky)
    dimmed: Field = 1 - cast[..., None] * (share * np.float32(0.92))
    return dimmed * (1 - np.float32(0.5) * contact)[..., None]


def _shade(surface: Surface, light: Light) -> Field:
    """The light (h, w, 3) that comes back from a surface."""
    dx, dy = slopes(surface.height)
    scale = 1 / np.sqrt(1 + dx * dx + dy * dy)
    nx, ny, nz = -dx * scale, -dy * scale, scale
    lx, ly, lz = light.direction.tolist()
    facing = np.maximum(nx * lx + ny * ly + nz * lz, 0)
    lit = surface.albedo * (
        light.lamp * facing[..., None] + light.sky * (0.5 + 0.5 * nz)[..., None]
    )
    if surface.gloss == 0:
        return lit
    # Half way between the lamp and the camera, which looks straight down.
    half_way = light.direction + np.array([0, 0, 1], np.float32)
    hx, hy, hz = (half_way / np.linalg.norm(half_way)).tolist()
    shine = np.maximum(nx * hx + ny * hy + nz * hz, 0) ** (24 if surface.metal < 1 else 40)
    if surface.metal:
        # A mirror of a bright window and a dark room.
        tilt = nx * lx + ny * ly
        room = 0.10 + 0.75 * step(tilt, -0.3, 0.5) + 0.35 * step(-tilt, 0.45, 0.75) + 0.15 * nz
        lit = (1 - surface.metal) * lit + surface.metal * surface.albedo * room[..., None]
    return lit + (surface.gloss * shine)[..., None] * light.lamp * (
        0.5 + 0.5 * surface.albedo if surface.metal else np.float32(0.5)
    )


def _photograph(canvas: Field, light: Light, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Uneven light, lens, exposure and noise of a small camera."""
    height, width = canvas.shape[:2]
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height - 0.5
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) / width - 0.5
    towards = light.direction[0] * x + light.direction[1] * y
    falloff = 1 + rng.uniform(0.1, 0.6) * towards
    falloff = falloff * (1 - rng.uniform(0.2, 0.7) * (x * x + y * y))
    if rng.random() < 0.25:  # dappled light, as under a tree
        leaves = fractal_noise(rng, (height, width), max(height, width) / 5, 2)
        falloff = falloff * (1 - rng.uniform(0.15, 0.35) * step(leaves, -0.7, 1.0))
    image = canvas * falloff[..., None].astype(np.float32)
    image = blur(image, rng.uniform(0.35, 0.8))
    image = image * np.float32(rng.uniform(0.85, 1.2))
    image = image / (1 + 0.18 * image * image)  # highlights saturate softly
    noise = rng.standard_normal(canvas.shape, dtype=np.float32)
    noise += 1.2 * smooth_noise(rng, (height, width), 1.6)[..., None]
    grain = np.float32(rng.uniform(0.004, 0.011))
    encoded = np.clip(image, 0, 1) ** np.float32(1 / 2.2) + grain * noise
    return (np.clip(encoded, 0, 1) * 255 + 0.5).astype(np.uint8)
