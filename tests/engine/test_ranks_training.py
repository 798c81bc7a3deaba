"""Two processes with half of the batch each train as one with all of it."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_dataset import write_toy_dataset

PROGRAM = Path(__file__).with_name("rank_program.py")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _train(
    architecture: str, data: Path, world_size: int, out: Path, gather: int
) -> list[dict[str, Any]]:
    port = _free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), architecture, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for words in ((data, rank, world_size, port, out, gather) for rank in range(world_size))
    ]
    for process in processes:
        text, _ = process.communicate(timeout=300)
        assert process.returncode == 0, text
    return [
        torch.load(out / f"{world_size}_{gather}_{rank}.pt", weights_only=True)
        for rank in range(world_size)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("gather", [1, 2])
@pytest.mark.parametrize("architecture", ["solov2", "rtmdet-ins"])
def test_two_processes_train_as_one(architecture: str, gather: int, tmp_path: Path) -> None:
    # 11 images: the last batch is smaller, and its shares are not equal.
    data = write_toy_dataset(tmp_path / "data", num_train=11, classes=2)
    (alone,) = _train(architecture, data, 1, tmp_path, gather)
    ranks = _train(architecture, data, 2, tmp_path, gather)
    assert len(alone["logs"]) == 9
    for mine, *shares in zip(alone["logs"], *(rank["logs"] for rank in ranks), strict=True):
        losses, norm, num_images, num_instances, indices = mine
        for other, other_norm, images, instances, _ in shares:
            assert other == pytest.approx(losses, rel=1e-4)
            if norm is None:  # gradients wait for those of the next batch
                assert other_norm is None
            else:
                assert other_norm == pytest.approx(norm, rel=1e-3)
            assert (images, instances) == (num_images, num_instances)
        assert sum((share[4] for share in shares), ()) == indices
    for name, weight in alone["weights"].items():
        torch.testing.assert_close(ranks[0]["weights"][name], weight, rtol=1e-3, atol=1e-5)
        assert torch.equal(ranks[0]["weights"][name], ranks[1]["weights"][name])
    for name, weight in ranks[0]["ema"].items():
        assert torch.equal(weight, ranks[1]["ema"][name])
    changed = (alone["ema"][name] != weight for name, weight in alone["weights"].items())
    assert any(found.any() for found in changed)  # the average follows slowly
