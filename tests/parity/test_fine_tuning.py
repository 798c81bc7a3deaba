"""Training from a COCO checkpoint of MMDetection on a dataset with other classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import CASES, DATA
from reference_weights import make_checkpoint

import crispmask
from crispmask.cli import main
from crispmask.engine.checkpoint import load_checkpoint
from crispmask.models.mmdet import convert_state

pytestmark = [pytest.mark.parity, pytest.mark.slow]


def test_as_a_user_would(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    make_checkpoint(DATA / "keys" / "rtmdet-ins_tiny.json", "coco.pth", ema=True)
    assert main(["sample", "--out", "data", "--images", "6", "--imgsz", "64"]) == 0
    flags = "--data data/data.yaml --architecture rtmdet-ins --model tiny --weights coco.pth"
    flags += " --imgsz 64 --batch 2 --epochs 1 --workers 0 --device cpu --work-dir run"
    flags += " --lr 1e-6 --ema-decay 0"  # so little that what was loaded can still be told
    assert main(["train", *flags.split()]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "6 tensors of the class predictions start at random" in said
    assert "the file has 80 classes instead of 4" in said
    assert "left out: meta" in said

    (case,) = [case for case in CASES if case.name == "rtmdet-ins_tiny"]
    start = convert_state(case.state(), "rtmdet-ins")
    for key, value in load_checkpoint(Path("run/weights/best.pt"))["state_dict"].items():
        if "class_logits" in key:
            assert len(value) == 4, key
        elif "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(value, start[key], rtol=1e-2, atol=1e-3, msg=key)
    model = crispmask.load("run/weights/best.pt")
    assert len(model.names) == 4
    assert main(["predict", "--weights", "run/weights/best.pt", "--source", "data/images/val"]) == 0


def test_a_file_of_another_size_says_of_which(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    make_checkpoint(DATA / "keys" / "rtmdet-ins_tiny.json", "coco.pth")
    assert main(["sample", "--out", "data", "--images", "2", "--imgsz", "64"]) == 0
    flags = "--data data/data.yaml --weights coco.pth --imgsz 64 --workers 0 --device cpu"
    assert main(["train", *flags.split()]) == 2
    error = capsys.readouterr().err
    assert "train with --architecture rtmdet-ins" in error
    assert main(["train", *flags.split(), "architecture=rtmdet-ins", "model=small"]) == 2
    error = capsys.readouterr().err
    assert "its tensors are those of rtmdet-ins tiny" in error
    assert error.count("\n") == 1
