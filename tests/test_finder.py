"""Settings of `Model.predict`, with networks of random weights that find much."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import crispmask
from crispmask.errors import ConfigError, CrispmaskError
from crispmask.predict import Model

CONF = {"rtmdet-ins": 0.09, "solov2": 0.04}


@pytest.fixture(scope="module", params=["rtmdet-ins", "solov2"])
def model(request: pytest.FixtureRequest) -> Model:
    torch.manual_seed(0)
    model = crispmask.build(request.param, "tiny", num_classes=3, imgsz=64)
    with torch.no_grad():
        for name, value in model.network.named_parameters():
            if "class_logits" in name and name.endswith("bias"):
                value.add_(torch.tensor([2.5, 2.2, 2.0]))
    return model


def image(seed: int = 0, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def conf_of(model: Model) -> float:
    return CONF[model.spec.architecture]


def test_batches_change_nothing(model: Model) -> None:
    images = [image(0), image(1), image(2, (80, 64)), image(3)]
    one = model.predict(images, conf=conf_of(model), imgsz=64)
    some = model.predict(images, conf=conf_of(model), imgsz=64, batch=3)
    assert sum(map(len, one)) > 10
    for a, b in zip(one, some, strict=True):
        assert a.size == b.size
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-4)


def test_classes_are_chosen_before_the_best_are(model: Model) -> None:
    conf = conf_of(model)
    (every,) = model.predict(image(), conf=conf, max_det=1000)
    rare = int(np.argmin(np.bincount(every.labels, minlength=3)))
    wanted = every.labels == rare
    (found,) = model.predict(image(), conf=conf, max_det=5, classes=[rare])
    assert found.labels.tolist() == [rare] * min(5, wanted.sum())
    np.testing.assert_allclose(found.scores, every.scores[wanted][:5], atol=1e-6)
    (named,) = model.predict(image(), conf=conf, max_det=5, classes=[f"class_{rare}"])
    np.testing.assert_array_equal(named.scores, found.scores)
    with pytest.raises(ConfigError, match="no class 'class_7'"):
        model.predict(image(), classes=["class_7"])


def test_iou_leaves_fewer(model: Model) -> None:
    conf = conf_of(model)
    (every,) = model.predict(image(), conf=conf, max_det=300)
    (few,) = model.predict(image(), conf=conf, max_det=300, iou=0.1)
    assert 0 < len(few) < len(every)


def test_a_mirrored_image_gives_mirrored_instances(model: Model) -> None:
    """With both views merged it makes no difference which of them came first."""
    settings = {"conf": conf_of(model), "flip": True, "imgsz": (64, 96), "max_det": 20}
    (a,) = model.predict(image(), **settings)
    (b,) = model.predict(np.ascontiguousarray(image()[:, ::-1]), **settings)
    assert len(a) == len(b) > 0
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-4)
    same = np.flatnonzero(np.abs(a.scores - b.scores) < 1e-4)
    mirrored = b.masks[same][:, :, ::-1]
    assert np.mean(a.masks[same] == mirrored) > 0.98


def test_tiles(model: Model) -> None:
    large = image(0, (150, 190))
    (found,) = model.predict(large, conf=conf_of(model), tile=96, batch=2, max_det=30)
    assert 0 < len(found) <= 30
    assert found.masks.shape == (len(found), 150, 190)
    assert (np.diff(found.scores) <= 0).all()
    assert found.masks.any(axis=(1, 2)).all()
    (whole,) = model.predict(image(), conf=conf_of(model), tile=96)  # one tile is no tile
    (plain,) = model.predict(image(), conf=conf_of(model))
    np.testing.assert_allclose(whole.scores, plain.scores[: len(whole)], atol=1e-6)


def test_folders_and_streams(model: Model, tmp_path: Path) -> None:
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), image(i))
    found = model.predict(tmp_path, conf=conf_of(model))
    assert [x.size for x in found] == [(64, 96)] * 3
    names = [frame.name for frame, _ in model.stream(str(tmp_path / "*.png"), conf=0.9)]
    assert names == [str(tmp_path / f"{i}.png") for i in range(3)]
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    for _ in range(2):
        writer.write(image())
    writer.release()
    frames = list(model.stream(tmp_path / "a.avi", conf=0.9))
    assert [frame.name for frame, _ in frames] == [f"{tmp_path / 'a.avi'}#{i}" for i in (1, 2)]
    assert model.predict([]) == []


def test_presets_stand_alone(model: Model) -> None:
    with pytest.raises(ConfigError, match="leave --flip and --iou out"):
        model.predict(image(), decode="mmdet", flip=True)
    with pytest.raises(CrispmaskError, match="no decode preset 'x'"):
        model.predict(image(), decode="x")
