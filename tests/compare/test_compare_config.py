from __future__ import annotations

from pathlib import Path

import pytest

from crispmask.compare.config import CompareConfig, Row, rows_of
from crispmask.compare.ours import read_training, training_words
from crispmask.errors import ConfigError


def test_rows_of_models_and_files(tmp_path: Path) -> None:
    weights, graph, results = tmp_path / "best.pt", tmp_path / "a.onnx", tmp_path / "found.json"
    for path in (weights, graph, results):
        path.write_bytes(b"")
    rows = rows_of(f"solov2-nano, rtmdet-ins-large,yolo11n-seg,mine={weights},{graph},x={results}")
    assert rows == [
        Row("solov2-nano", "ours", "solov2", "nano"),
        Row("rtmdet-ins-large", "ours", "rtmdet-ins", "large"),
        Row("yolo11n-seg", "yolo", model="yolo11n-seg"),
        Row("mine", "weights", path=weights),
        Row(f"{tmp_path.name}-a", "weights", path=graph),
        Row("x", "predictions", path=results),
    ]
    assert [row.trained for row in rows] == [True, True, True, False, False, False]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("", "at least one row"),
        ("solov2-huge", "'solov2-huge' is no model and no file; write solov2-nano"),
        ("yolo11n", "'yolo11n' is no model"),  # a detector without masks
        ("solov2-nano,solov2-nano", "'solov2-nano' twice"),
        ("a=missing.pt", "there is no file missing.pt"),
    ],
)
def test_what_is_no_row(models: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CompareConfig(data="data.yaml", models=models)


def test_a_name_that_leaves_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be the name of a folder"):
        rows_of(f"../up={tmp_path / 'a.pt'}")


@pytest.mark.parametrize("name", ["seeds", "epochs", "batch"])
def test_counts_below_one(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--{name} must be at least 1"):
        CompareConfig(data="d", models="solov2-nano", **{name: 0})


def test_words_of_a_training() -> None:
    config = CompareConfig(
        data="d.yaml", models="solov2-nano", epochs=3, train="mosaic=0 --lr 0.1", seeds=2
    )
    words = training_words(config, rows_of(config.models)[0], seed=1)
    assert words[-3:] == ["mosaic=0", "--lr", "0.1"]
    assert {"--data=d.yaml", "--architecture=solov2", "--model=nano", "--seed=1"} <= set(words)


def test_an_open_quote() -> None:
    config = CompareConfig(data="d", models="solov2-nano", train="lr='0.1")
    with pytest.raises(ConfigError, match="--train: No closing quotation"):
        training_words(config, rows_of(config.models)[0], 0)


def test_the_fraction_set_aside_is_that_of_every_training() -> None:
    config = CompareConfig(data="d.yaml", models="solov2-nano", val_fraction=0.25)
    assert "--val_fraction=0.25" in training_words(config, rows_of(config.models)[0], seed=0)
    without = CompareConfig(data="d.yaml", models="solov2-nano")
    words = training_words(without, rows_of(without.models)[0], seed=0)
    assert not any("val_fraction" in word for word in words)  # as earlier versions asked
    with pytest.raises(ConfigError, match="--val-fraction is 0 to below 1"):
        CompareConfig(data="d.yaml", models="solov2-nano", val_fraction=1.5)


def test_the_last_of_equal_epochs_is_the_best(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("device: cpu\n")
    (run / "results.csv").write_text(
        "epoch,mask/mAP50-95,seconds/train,seconds/val,memory_mb\n"
        "1,0.5,1,1,9\n2,,1,,9\n3,0.5,1,1,9\n4,0.4,1,1,9\n"
    )
    assert read_training(tmp_path).best_epoch == 3
