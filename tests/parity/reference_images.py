"""Deterministic synthetic images and instances (numpy only).

``image(h, w, seed)``      -> uint8 HxWx3 **BGR** (what mmcv.imread would hand over)
``instances(h, w, seed)``  -> dict(polygons, masks, bboxes, labels): 6 instances of mixed
                              size, one tiny (about 5 px) and one cut by the left border.
``TRAIN_BATCHES`` and ``PREDICT_CASES`` name the inputs the goldens use.
"""

from __future__ import annotations

import zlib

import numpy as np

# name -> (orig h, orig w, seed)
PREDICT_CASES = {
    "sq320": (320, 320, 11),  # fed as is
    "rect256x384": (256, 384, 12),  # fed as is
    "resized200x300": (200, 300, 13),  # goes through Resize(keep_ratio) (+Pad)
}
# name -> [(h, w, seed), (h, w, seed)]
TRAIN_BATCHES = {
    "equal": [(320, 320, 21), (320, 320, 22)],
    "ragged": [(320, 320, 21), (288, 320, 23)],  # second one is padded bottom to 320
}


def _rng(*parts):
    s = ":".join(str(p) for p in parts)
    return np.random.Generator(np.random.PCG64(zlib.crc32(s.encode())))


def image(h: int, w: int, seed: int) -> np.ndarray:
    r = _rng("image", h, w, seed)
    y, x = np.meshgrid(np.arange(h) + 0.5, np.arange(w) + 0.5, indexing="ij")
    img = np.zeros((h, w, 3))
    for c in range(3):
        fx, fy, p = r.uniform(0.5, 3), r.uniform(0.5, 3), r.uniform(0, 6.28)
        img[..., c] = 110 + 60 * np.sin(2 * np.pi * (fx * x / w + fy * y / h) + p)
    for _ in range(12):
        cx, cy = r.uniform(0, w), r.uniform(0, h)
        a, b = r.uniform(8, 0.28 * w), r.uniform(8, 0.28 * h)
        th = r.uniform(0, np.pi)
        col = r.uniform(0, 255, 3)
        u = ((x - cx) * np.cos(th) + (y - cy) * np.sin(th)) / a
        v = (-(x - cx) * np.sin(th) + (y - cy) * np.cos(th)) / b
        d = np.sqrt(u * u + v * v)
        alpha = 1.0 / (1.0 + np.exp((d - 1.0) * 12.0))  # soft edge
        alpha = (alpha * 0.85)[..., None]
        img = img * (1 - alpha) + col * alpha
    return np.clip(np.floor(img + 0.5), 0, 255).astype(np.uint8)


def rasterize(poly: np.ndarray, h: int, w: int) -> np.ndarray:
    """Even-odd fill of one polygon sampled at pixel centres. bool HxW."""
    ys = np.arange(h) + 0.5
    xs = np.arange(w) + 0.5
    inside = np.zeros((h, w), dtype=bool)
    p = np.asarray(poly, dtype=np.float64).reshape(-1, 2)
    q = np.roll(p, -1, axis=0)
    for (x1, y1), (x2, y2) in zip(p, q):
        if y1 == y2:
            continue
        cross = (ys >= min(y1, y2)) & (ys < max(y1, y2))
        xi = x1 + (ys - y1) * (x2 - x1) / (y2 - y1)
        inside ^= cross[:, None] & (xs[None, :] > xi[:, None])
    return inside


def instances(h: int, w: int, seed: int, n: int = 6, num_classes: int = 80) -> dict:
    """n instances (n >= 3).  Boxes are the polygon extents clipped to the image."""
    r = _rng("inst", h, w, seed, n)
    polys, masks, boxes, labels = [], [], [], []
    for i in range(n):
        if i == 0:  # tiny
            cx, cy, rad = r.uniform(0.3, 0.7) * w, r.uniform(0.3, 0.7) * h, 3.0
        elif i == 1:  # touches / is cut by the left border
            cx, cy, rad = 0.02 * w, r.uniform(0.3, 0.7) * h, 0.16 * min(h, w)
        elif i == 2:  # large
            cx, cy, rad = 0.55 * w, 0.5 * h, 0.34 * min(h, w)
        else:
            cx, cy = r.uniform(0.15, 0.85) * w, r.uniform(0.15, 0.85) * h
            rad = r.uniform(0.05, 0.2) * min(h, w)
        k = int(r.integers(5, 11))
        ang = np.sort(
            r.uniform(0, 2 * np.pi, k) * 0.3
            + np.arange(k) * 2 * np.pi / k * 0.7
            + 0.3 * np.arange(k) * 2 * np.pi / k
        )
        rr = rad * r.uniform(0.65, 1.0, k)
        p = np.stack([cx + rr * np.cos(ang), cy + rr * np.sin(ang) * r.uniform(0.6, 1.0)], 1)
        p[:, 0] = np.clip(p[:, 0], 0, w)
        p[:, 1] = np.clip(p[:, 1], 0, h)
        p = np.round(p * 4) / 4.0  # quarter-pixel grid: exact in float32
        polys.append(p.astype(np.float32))
        masks.append(rasterize(p, h, w))
        boxes.append([p[:, 0].min(), p[:, 1].min(), p[:, 0].max(), p[:, 1].max()])
        labels.append(int(r.integers(0, 1 << 30)) % num_classes)
    return dict(
        polygons=polys,
        masks=np.stack(masks).astype(np.uint8),
        bboxes=np.asarray(boxes, np.float32),
        labels=np.asarray(labels, np.int64),
    )


def crc(a: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(a).tobytes())


if __name__ == "__main__":
    for nme, (h, w, s) in PREDICT_CASES.items():
        print(nme, crc(image(h, w, s)))
    for nme, items in TRAIN_BATCHES.items():
        for h, w, s in items:
            g = instances(h, w, s)
            print(
                nme,
                crc(image(h, w, s)),
                g["masks"].sum((1, 2)).tolist(),
                g["bboxes"].tolist(),
                g["labels"].tolist(),
                instances(h, w, s, num_classes=3)["labels"].tolist(),
            )
