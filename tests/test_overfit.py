"""Targets, losses and decoding agree: a model that may memorise four photographs does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from crispmask.config import AugmentConfig, TrainConfig
from crispmask.engine.fit import fit

NUTS = Path(os.environ.get("CRISPMASK_DATA", "")) / "nuts"


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.skipif(
    "CRISPMASK_DATA" not in os.environ, reason="CRISPMASK_DATA does not name the real datasets"
)
@pytest.mark.parametrize(
    ("architecture", "imgsz", "epochs", "lr"),
    [("rtmdet-ins", 320, 200, 0.002), ("solov2", 256, 160, 0.0005)],
)
def test_four_real_images(
    tmp_path: Path, architecture: str, imgsz: int, epochs: int, lr: float
) -> None:
    images = sorted((NUTS / "images" / "train").glob("*.jpg"))[:4]
    names = yaml.safe_load((NUTS / "data.yaml").read_text())["names"]
    (tmp_path / "four.txt").write_text("\n".join(map(str, images)))
    data = tmp_path / "data.yaml"
    data.write_text(yaml.safe_dump({"train": "four.txt", "val": "four.txt", "names": names}))
    result = fit(
        TrainConfig(
            data=str(data),
            architecture=architecture,
            weights="none",
            epochs=epochs,
            batch=4,
            imgsz=imgsz,
            optimizer="adamw",
            lr=lr,
            warmup_epochs=10,
            ema_decay=0.0,
            val_interval=epochs,
            workers=1,
            augment=AugmentConfig.none(),
            work_dir=str(tmp_path / "run"),
        ),
        Console(quiet=True),
    )
    assert result.best_map >= 0.8
