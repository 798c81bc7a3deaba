"""Outlines of the things in a scene, in their own frame: about one unit across, centre (0, 0)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLASS_NAMES = ("leaf", "ring", "stone", "card")
"""Names of the labels, in order."""


@dataclass(frozen=True)
class Shape:
    """One thing without its pose.

    Attributes:
        kind: what it is: a class name, or "strap" for an unlabelled twig or ribbon.
        style: variety within the kind.
        rings: (V, 2) float64 each, filled together by the even-odd rule.
        bend: a point of the straight thing at (x, y) is drawn at (x, y + bend x^2).
        hole: radius of the round hole in the middle of a ring.
    """

    kind: str
    style: str
    rings: tuple[NDArray[np.float64], ...]
    bend: float = 0.0
    hole: float = 0.0


def draw_shape(kind: str, rng: np.random.Generator) -> Shape:
    """A random shape of the kind."""
    match kind:
        case "leaf":
            return _leaf(rng)
        case "ring":
            return _ring(rng)
        case "stone":
            return _stone(rng)
        case "card":
            return _card(rng)
        case _:
            return _strap(rng)


def _leaf(rng: np.random.Generator) -> Shape:
    """A blade about the x axis with its stem at the left, sometimes with insect holes."""
    style = str(rng.choice(["ovate", "oak", "maple"], p=[0.5, 0.25, 0.25]))
    upper = _maple_side(rng) if style == "maple" else _blade_side(style, rng)
    stem = 0.014
    root = np.array([[upper[0, 0] - rng.uniform(0.08, 0.16), stem], [upper[0, 0], stem]])
    side = np.concatenate([root, upper])
    mirrored = side[::-1] * [1, -rng.uniform(0.9, 1.1)]
    bend = rng.uniform(-0.35, 0.35)
    rings = [np.concatenate([side, mirrored])]
    if rng.random() < 0.25:
        for _ in range(rng.integers(1, 4)):
            centre = [rng.uniform(-0.25, 0.2), rng.choice([-1, 1]) * rng.uniform(0.08, 0.11)]
            rings.append(centre + _blob(rng, 24, 0.15) * rng.uniform(0.06, 0.11))
    bent = tuple(ring + np.stack([0 * ring[:, 0], bend * ring[:, 0] ** 2], 1) for ring in rings)
    return Shape("leaf", style, bent, bend)


def _blade_side(style: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Upper edge of a leaf that is wide in the middle, from base to tip."""
    t = np.linspace(0, 1, 121)
    p, q = rng.uniform(0.5, 0.9), rng.uniform(0.75, 1.1)
    profile = t**p * (1 - t) ** q
    width = rng.uniform(0.2, 0.32) * profile / profile.max()
    if style == "oak":
        waves = rng.integers(3, 5)
        width = width * (1 + 0.3 * np.sin(2 * np.pi * (waves * t - 0.2)))
    else:
        teeth = rng.integers(9, 16)
        width = width * (1 + rng.uniform(0, 0.1) * ((teeth * t) % 1 - 0.5))
    return np.stack([t - 0.5, np.maximum(width, 0.014 * (1 - t))], axis=1)


def _maple_side(rng: np.random.Generator) -> NDArray[np.float64]:
    """Upper edge of a leaf of five pointed lobes, from base to tip."""
    angle = np.linspace(0.9 * np.pi, 0, 141)
    radius = np.full_like(angle, 0.2)
    for centre, length in ((0.0, 0.36), (1.0, 0.31), (2.05, 0.2)):
        gap = np.abs(angle - centre) / rng.uniform(0.42, 0.52)
        radius = np.maximum(radius, 0.2 + length * np.clip(1 - gap, 0, 1) ** 1.1)
    radius = radius + 0.012 * np.sin(angle * 31) * np.sin(angle)
    side = np.stack([radius * np.cos(angle) - 0.08, radius * np.sin(angle)], axis=1)
    side[-1, 1] = 0.0
    return side


def _ring(rng: np.random.Generator) -> Shape:
    """A torus, washer, nut or gear: always with a hole in the middle."""
    style = str(rng.choice(["torus", "washer", "nut", "gear"], p=[0.4, 0.25, 0.2, 0.15]))
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    outer = np.full_like(angle, 0.5)
    hole = rng.uniform(0.4, 0.62)
    if style == "nut":
        sector = angle % (np.pi / 3) - np.pi / 6
        outer = np.minimum(0.5 * np.cos(np.pi / 6) / np.cos(sector), 0.485)
        hole = rng.uniform(0.45, 0.56)
    elif style == "gear":
        teeth = rng.integers(10, 17)
        outer = 0.46 + 0.04 * np.tanh(3 * np.cos(teeth * angle))
    return Shape("ring", style, (circle * outer[:, None], circle * hole / 2), hole=hole / 2)


def _stone(rng: np.random.Generator) -> Shape:
    """A pebble: smooth, without holes."""
    squash = np.array([1, rng.uniform(0.62, 0.95)])
    return Shape("stone", "pebble", (_blob(rng, 96, 0.07) * squash * 0.95,))


def _blob(rng: np.random.Generator, num_points: int, bumps: float) -> NDArray[np.float64]:
    """A closed smooth curve, about one unit across."""
    angle = np.linspace(0, 2 * np.pi, num_points, endpoint=False)
    radius = np.full_like(angle, 0.5)
    for k in range(2, 6):
        wave = np.cos(k * angle + rng.uniform(0, 2 * np.pi))
        radius += 0.5 * rng.uniform(-bumps, bumps) * (2 / k) * wave
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _card(rng: np.random.Generator) -> Shape:
    """A printed rectangle with rounded corners; as a tag it has a punched hole."""
    style = str(rng.choice(["letter", "picture", "stripes", "pips", "tag"]))
    half = np.array([0.5, rng.uniform(0.3, 0.37)])
    radius = rng.uniform(0.02, 0.06)
    corners = []
    for quarter, (sx, sy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        angle = np.linspace(0, np.pi / 2, 9) + quarter * np.pi / 2
        centre = (half - radius) * [sx, sy]
        corners.append(centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    rings = [np.concatenate(corners)]
    if style == "tag":
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        rings.append(0.075 * np.stack([np.cos(angle), np.sin(angle)], axis=1) - [0.37, 0.0])
    return Shape("card", style, tuple(rings))


def _strap(rng: np.random.Generator) -> Shape:
    """A long thin twig or ribbon, one unit long."""
    style = str(rng.choice(["twig", "ribbon"]))
    x = np.linspace(-0.5, 0.5, 81)
    wobble = np.zeros_like(x)
    for k in range(1, 5):
        amplitude = rng.uniform(-0.012, 0.012) if style == "twig" else 0.0
        wobble += amplitude / np.sqrt(k) * np.sin(2 * np.pi * k * x + rng.uniform(0, 2 * np.pi))
    half = rng.uniform(0.013, 0.02) * (1 - 0.5 * x * (style == "twig"))
    bend = rng.uniform(-0.25, 0.25)
    y = wobble + bend * x**2
    side = np.stack([x, y + half], axis=1)
    other = np.stack([x, y - half], axis=1)[::-1]
    return Shape("strap", style, (np.concatenate([side, other]),), bend)
