"""Dynamic soft label assignment against loops written from the paper."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crispmask.models.priors import box_iou, grid_priors
from crispmask.models.rtmdet_ins.assign import assign


def slow_iou(a: list[float], b: list[float]) -> float:
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h
    return w * h / max(area, 1e-6)


def slow_assign(logits, boxes, priors, labels, targets, centres) -> list[int]:
    A, K, N = len(priors), logits.shape[1], len(labels)
    candidates = [
        a
        for a in range(A)
        if any(t[0] < priors[a, 0] < t[2] and t[1] < priors[a, 1] < t[3] for t in targets.tolist())
    ]
    cost: dict[tuple[int, int], float] = {}
    iou: dict[tuple[int, int], float] = {}
    for a in candidates:
        for n in range(N):
            value = slow_iou(boxes[a].tolist(), targets[n].tolist())
            total = -3 * math.log(value + 1e-7)
            for k in range(K):
                x = logits[a, k].item()
                y = value if k == labels[n] else 0.0
                p = 1 / (1 + math.exp(-x))
                total += (y - p) ** 2 * (max(x, 0) - x * y + math.log1p(math.exp(-abs(x))))
            away = math.dist(priors[a, :2].tolist(), centres[n].tolist()) / priors[a, 2].item()
            cost[a, n], iou[a, n] = total + 10 ** (away - 3), value
    claims: dict[int, list[int]] = {}
    for n in range(N):
        k = min(13, len(candidates))
        wanted = max(1, int(sum(sorted((iou[a, n] for a in candidates), reverse=True)[:k])))
        for a in sorted(candidates, key=lambda a: cost[a, n])[:wanted]:
            claims.setdefault(a, []).append(n)
    result = [-1] * A
    for a, owners in claims.items():
        result[a] = owners[0] if len(owners) == 1 else min(range(N), key=lambda n: cost[a, n])
    return result


@given(st.integers(0, 2**31), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_by_loops(seed: int, num: int) -> None:
    g = torch.Generator().manual_seed(seed)
    priors = grid_priors([(6, 6), (3, 3)], (8, 16), torch.device("cpu"))
    logits = torch.randn(len(priors), 3, generator=g)
    corners = torch.rand(num, 2, 2, generator=g) * 48
    targets = torch.cat([corners.amin(1), corners.amax(1) + 4], dim=1)
    noise = torch.rand(len(priors), 4, generator=g) * 16
    boxes = torch.cat([priors[:, :2] - noise[:, :2], priors[:, :2] + noise[:, 2:]], dim=1)
    labels = torch.randint(0, 3, (num,), generator=g)
    centres = (targets[:, :2] + targets[:, 2:]) / 2
    found = assign(logits, boxes, priors, labels, targets, centres)
    assert found.instances.tolist() == slow_assign(logits, boxes, priors, labels, targets, centres)
    positive = found.instances >= 0
    for a in positive.nonzero().flatten().tolist():
        expected = slow_iou(boxes[a].tolist(), targets[found.instances[a]].tolist())
        assert abs(found.quality[a].item() - expected) < 1e-5
    assert (found.quality[~positive] == 0).all()


def test_without_instances_everything_is_background() -> None:
    priors = grid_priors([(4, 4)], (8,), torch.device("cpu"))
    found = assign(
        torch.zeros(16, 2),
        torch.zeros(16, 4),
        priors,
        torch.zeros(0, dtype=torch.int64),
        torch.zeros(0, 4),
        torch.zeros(0, 2),
    )
    assert (found.instances == -1).all()
    assert (found.quality == 0).all()


def test_box_iou_of_nothing() -> None:
    assert box_iou(torch.zeros(0, 4), torch.zeros(3, 4)).shape == (0, 3)
