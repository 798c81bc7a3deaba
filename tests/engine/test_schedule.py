from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crispmask.engine.schedule import Schedule, make_schedule


def test_the_recipe_of_150_epochs() -> None:
    schedule = make_schedule(0.001429, 150, 22, 7.0, 0.02, 0.017)
    assert schedule(0) == pytest.approx(0.02 * 0.001429)
    assert schedule(77) == pytest.approx(0.001429 * (0.02 + 0.98 / 2))  # half of the warmup
    assert schedule(7 * 22) == pytest.approx(0.001429)
    assert schedule(150 * 22 - 1) == pytest.approx(0.017 * 0.001429)


def test_warmup_leaves_the_last_epoch() -> None:
    schedule = make_schedule(1.0, 3, 10, 7.0, 0.02, 0.017)
    assert schedule.warmup_steps == 20
    assert schedule(20) == 1.0
    assert schedule(29) == pytest.approx(0.017)


def test_one_epoch_has_no_warmup() -> None:
    schedule = make_schedule(1.0, 1, 4, 7.0, 0.02, 0.017)
    assert [schedule(step) for step in (0, 3)] == pytest.approx([1.0, 0.017])


def test_a_single_step_is_made_at_the_peak() -> None:
    assert make_schedule(1.0, 1, 1, 7.0, 0.02, 0.017)(0) == 1.0


@given(
    epochs=st.integers(1, 40),
    steps=st.integers(1, 30),
    warmup=st.floats(0, 20),
    start=st.floats(0, 1),
    final=st.floats(0, 1),
)
def test_rises_then_falls_between_its_bounds(
    epochs: int, steps: int, warmup: float, start: float, final: float
) -> None:
    schedule = make_schedule(2.0, epochs, steps, warmup, start, final)
    rates = [schedule(step) for step in range(schedule.total_steps)]
    assert all(2 * min(start, final) - 1e-9 <= rate <= 2 + 1e-9 for rate in rates)
    top = schedule.warmup_steps
    assert top < schedule.total_steps
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[top] == pytest.approx(2.0)
    if len(rates) - top > 1:
        assert rates[-1] == pytest.approx(2 * final, abs=1e-9)


def test_cosine_is_half_way_in_the_middle() -> None:
    schedule = Schedule(1.0, total_steps=101, warmup_steps=0, warmup_start=0, final=0.2)
    assert schedule(50) == pytest.approx(0.6)
    assert schedule(25) == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2)


def test_momentum_and_biases_are_warmed_up() -> None:
    """As Ultralytics does: biases from 0.1, momentum from 0.8, in a line over the warmup."""
    schedule = make_schedule(
        0.01, 10, 10, 3.0, 0.0, 0.01, "linear", bias_start=0.1, momentum=(0.8, 0.937)
    )
    for step in range(30):
        assert schedule(step) == pytest.approx(0.01 * step / 30)
        assert schedule.bias_lr(step) == pytest.approx(0.1 + (0.01 - 0.1) * step / 30)
        assert schedule.momentum_at(step) == pytest.approx(0.8 + 0.137 * step / 30)
    for step in (30, 31, 99):
        assert schedule.bias_lr(step) == schedule(step)
        assert schedule.momentum_at(step) == pytest.approx(0.937)


def test_otherwise_nothing_else_is_warmed_up() -> None:
    schedule = make_schedule(0.01, 10, 10, 3.0, 0.02, 0.01)
    assert schedule.momentum_at(0) is None
    assert [schedule.bias_lr(step) for step in range(100)] == [schedule(s) for s in range(100)]
    no_warmup = make_schedule(0.01, 1, 4, 3.0, 0.0, 0.01, bias_start=0.1, momentum=(0.8, 0.9))
    assert (no_warmup.bias_lr(0), no_warmup.momentum_at(0)) == (0.01, 0.9)
