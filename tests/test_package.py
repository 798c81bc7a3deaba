from __future__ import annotations

import subprocess
import sys

import pytest

import crispmask
from crispmask.api import train_config
from crispmask.config import AugmentConfig, TrainConfig
from crispmask.errors import ConfigError
from crispmask.suggest import did_you_mean


@pytest.mark.parametrize("name", crispmask.__all__)
def test_every_name_can_be_imported(name: str) -> None:
    assert getattr(crispmask, name) is not None
    assert name in dir(crispmask)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'crispmask' has no attribute 'fit_all'"):
        _ = crispmask.fit_all


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = "import sys, crispmask; print({'torch', 'numpy', 'cv2', 'rich'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_flat_settings() -> None:
    assert train_config(data="d", epochs=3, mosaic=0.5) == TrainConfig(
        data="d", epochs=3, augment=AugmentConfig(mosaic=0.5)
    )
    assert train_config(augment=AugmentConfig.none()).augment == AugmentConfig.none()


def test_an_unknown_setting() -> None:
    with pytest.raises(ConfigError, match=r"^no setting 'epoch'; did you mean epochs\?$"):
        train_config(epoch=3)


def test_augmentation_given_twice() -> None:
    with pytest.raises(ConfigError, match=r"^give mosaic inside `augment` or beside it, not both$"):
        train_config(mosaic=0.5, augment=AugmentConfig())


def test_did_you_mean() -> None:
    known = ["epochs", "ema-decay", "work-dir"]
    assert did_you_mean("epcohs", known) == "; did you mean epochs?"
    assert did_you_mean("work", known, "--") == "; did you mean --work-dir?"
    assert did_you_mean("zebra", known) == ""
    assert did_you_mean("", []) == ""
