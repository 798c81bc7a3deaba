"""Memory does not grow with positives times pixels."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from memory import run_case

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="reads Linux's /proc"),
]

ADDED_MIB = 400
"""Most that loss, decoding and masks as RLE add to the forward pass, whatever the instances."""

GROWTH_MIB = 200
"""Most by which 300 instances take more than 30, hundreds of masks of 640 x 640 more."""


@pytest.mark.parametrize("architecture", ["solov2", "rtmdet-ins"])
@pytest.mark.parametrize(("what", "stride"), [("train", 1), ("val", 1)])
def test_300_instances(what: str, architecture: str, stride: int) -> None:
    few = run_case(what, architecture, 30, stride, imgsz=640)
    many = run_case(what, architecture, 300, stride, imgsz=640)
    assert many["positives"] >= 300
    assert many["added"] - few["added"] < GROWTH_MIB
    assert many["added"] < ADDED_MIB
