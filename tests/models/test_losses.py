"""Each loss against a slow version written from its definition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crispmask.models.losses import (
    dice_loss,
    giou_loss,
    quality_focal_loss,
    sigmoid_focal_loss,
)
from crispmask.models.rtmdet_ins.assign import Assignment
from crispmask.models.rtmdet_ins.loss import class_loss as rtmdet_ins_class_loss
from crispmask.models.solov2.loss import class_loss as solov2_class_loss
from crispmask.models.solov2.targets import GridTargets

seeds = st.integers(0, 2**31)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@given(seeds, st.integers(0, 4))
@settings(max_examples=30, deadline=None)
def test_dice_by_loops(seed: int, num: int) -> None:
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(num, 3, 5, generator=g) * 3
    masks = torch.rand(num, 3, 5, generator=g) > 0.5
    result = dice_loss(logits, masks, eps=1e-3)
    assert result.shape == (num,)
    for i in range(num):
        overlap = p2 = q2 = 0.0
        for row in range(3):
            for column in range(5):
                p, q = sigmoid(logits[i, row, column].item()), float(masks[i, row, column])
                overlap, p2, q2 = overlap + p * q, p2 + p * p, q2 + q * q
        assert result[i].item() == pytest.approx(
            1 - 2 * overlap / (p2 + 1e-3 + q2 + 1e-3), abs=1e-5
        )


def test_dice_of_an_empty_mask_is_finite_with_a_gradient() -> None:
    logits = torch.full((1, 4, 4), -100.0, requires_grad=True)
    loss = dice_loss(logits, torch.zeros(1, 4, 4, dtype=torch.bool), eps=5e-6)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_focal_by_loops(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, 3, generator=g) * 4
    targets = (torch.rand(4, 3, generator=g) > 0.7).long()
    expected = 0.0
    for x, y in zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True):
        p = sigmoid(x)
        p_t, alpha_t = (p, 0.25) if y else (1 - p, 0.75)
        expected += -alpha_t * (1 - p_t) ** 2 * math.log(p_t)
    assert sigmoid_focal_loss(logits, targets).item() == pytest.approx(expected, rel=1e-4)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_quality_focal_by_loops(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, 3, generator=g) * 4
    targets = torch.rand(4, 3, generator=g)
    result = quality_focal_loss(logits, targets)
    for x, y, loss in zip(
        logits.flatten().tolist(),
        targets.flatten().tolist(),
        result.flatten().tolist(),
        strict=True,
    ):
        p = sigmoid(x)
        entropy = -(y * math.log(p) + (1 - y) * math.log(1 - p))
        assert loss == pytest.approx(abs(y - p) ** 2 * entropy, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 0.0),
        ((0, 0, 2, 2), (1, 0, 3, 2), 1 - 2 / 6),  # hull equals union
        ((0, 0, 1, 1), (3, 0, 4, 1), 1 + 2 / 4),  # apart: nothing shared, half the hull empty
        ((0, 0, 2, 2), (1, 1, 3, 3), 1 - 1 / 7 + 2 / 9),
    ],
)
def test_giou_by_hand(a, b, expected: float) -> None:
    loss = giou_loss(torch.tensor([a]).float(), torch.tensor([b]).float())
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_no_positives_give_empty_losses() -> None:
    assert dice_loss(torch.zeros(0, 2, 2), torch.zeros(0, 2, 2).bool(), 1e-3).shape == (0,)
    assert giou_loss(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)


def test_losses_of_half_precision_are_float32() -> None:
    logits = torch.full((1, 64, 64), 10.0, dtype=torch.float16)
    loss = dice_loss(logits, torch.ones(1, 64, 64, dtype=torch.bool), eps=1e-3)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(0, abs=1e-3)


def test_class_weights_by_loops() -> None:
    """Of both architectures: each element of class k counts w_k times, the divisor stays."""
    generator = torch.Generator().manual_seed(3)
    weights = torch.tensor([0.5, 2.0, 1.0])
    logits = torch.randn(1, 3, 2, 2, generator=generator)
    labels = torch.tensor([3, 1, 3, 0])  # of the four cells; 3 is background
    cells = GridTargets(labels, torch.tensor([1, 3]), torch.tensor([0, 1]))
    expected = 0.0
    for cell in range(4):
        for k in range(3):
            p = sigmoid(float(logits[0, k, cell // 2, cell % 2]))
            if labels[cell] == k:
                term = 0.25 * (1 - p) ** 2 * -math.log(p)
            else:
                term = 0.75 * p**2 * -math.log(1 - p)
            expected += float(weights[k]) * term
    loss = solov2_class_loss((logits,), [[cells]], weights)
    assert float(loss) == pytest.approx(expected / (2 + 1), rel=1e-5)
    assert float(loss) != pytest.approx(float(solov2_class_loss((logits,), [[cells]])), rel=1e-3)

    priors = logits.flatten(2).transpose(1, 2)  # (1, 4, 3)
    assignment = Assignment(torch.tensor([-1, 0, -1, 1]), torch.tensor([0.0, 0.8, 0.0, 0.6]))
    own = torch.tensor([1, 0])
    valid = torch.tensor([[True, True, False, True]])
    expected = 0.0
    for cell in (0, 1, 3):
        instance = int(assignment.instances[cell])
        for k in range(3):
            p = sigmoid(float(priors[0, cell, k]))
            hit = instance >= 0 and int(own[instance]) == k
            y = float(assignment.quality[cell]) if hit else 0.0
            entropy = -(y * math.log(p) + (1 - y) * math.log(1 - p))
            expected += float(weights[k]) * abs(y - p) ** 2 * entropy
    loss = rtmdet_ins_class_loss(priors, [own], [assignment], valid, weights)
    assert float(loss) == pytest.approx(expected / (0.8 + 0.6), rel=1e-5)
