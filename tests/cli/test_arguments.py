from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crispmask.cli.arguments import flags_of, parse
from crispmask.config import AugmentConfig, TrainConfig
from crispmask.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    hsv_h: float = 0.5


@dataclass(frozen=True)
class Config:
    weights: str
    num: int | Literal["auto"] = "auto"
    kind: Literal["solov2", "rtmdet-ins"] = "solov2"
    save_txt: bool = False
    keep: bool = True
    norm_eval: bool | Literal["auto"] = "auto"
    work_dir: str = "auto"
    inner: Inner = field(default_factory=Inner)


def read(*words: str) -> Config:
    return parse(Config, ["weights=w.pt", *words], "prog")


@pytest.mark.parametrize("words", [["--num", "3"], ["--num=3"], ["num=3"], ["num=9", "--num", "3"]])
def test_three_ways_to_write_a_flag(words: list[str]) -> None:
    assert read(*words).num == 3


def test_defaults() -> None:
    assert read() == Config("w.pt")


def test_hyphens_and_underscores() -> None:
    assert read("--work-dir", "a").work_dir == read("--work_dir", "a").work_dir == "a"
    assert read("work-dir=a").work_dir == read("work_dir=a").work_dir == "a"


def test_nested_flags_are_flat() -> None:
    assert read("--hsv-h", "0.25").inner == read("hsv_h=0.25").inner == Inner(0.25)


@pytest.mark.parametrize("words", [["--save-txt"], ["--save_txt", "True"], ["save_txt=1"]])
def test_booleans_on(words: list[str]) -> None:
    assert read(*words).save_txt is True


def test_booleans_off() -> None:
    assert read("save_txt=False").save_txt is False
    assert read("--keep", "no").keep is False
    assert read("keep=true").keep is True


def test_booleans_that_may_be_auto() -> None:
    assert read().norm_eval == read("norm_eval=auto").norm_eval == "auto"
    for text in ("true", "True", "yes", "1"):
        assert read("--norm-eval", text).norm_eval is True
        assert read(f"norm_eval={text}").norm_eval is True
    assert read("norm_eval=no").norm_eval is False
    with pytest.raises(ConfigError, match="--norm-eval must be true, false or auto, not 'maybe'"):
        read("norm_eval=maybe")


def test_a_boolean_does_not_swallow_the_next_word() -> None:
    config = read("--save-txt", "num=3")
    assert (config.save_txt, config.num) == (True, 3)


def test_values_may_hold_equals_signs_and_begin_with_a_minus() -> None:
    assert read("work_dir=a=b").work_dir == "a=b"
    assert read("--num", "-3").num == -3
    assert read("--work-dir=-x y").work_dir == "-x y"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nmu", "3"], "unknown flag --nmu; did you mean --num?"),
        (["nmu=3"], "unknown flag nmu; did you mean --num?"),
        (["--work", "a"], "unknown flag --work; did you mean --work-dir?"),
        (["--zzz"], "unknown flag --zzz"),
        (["three"], "'three' is not a flag: write --name value or name=value"),
        (
            ["num", "3"],
            "'num' is not a flag: write --name value or name=value; did you mean --num?",
        ),
        (["--num"], "--num needs a value, a whole number or auto"),
        (["--num", "--save-txt"], "--num needs a value, a whole number or auto"),
        (["--num", "ten"], "--num must be a whole number or auto, not 'ten'"),
        (["hsv_h=x"], "--hsv-h must be a number, not 'x'"),
        (["save_txt=maybe"], "--save-txt must be true or false, not 'maybe'"),
        (
            ["kind=rtmdet"],
            "--kind must be one of solov2, rtmdet-ins, not 'rtmdet'; did you mean rtmdet-ins?",
        ),
    ],
)
def test_wrong_words_give_one_line(
    words: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        read(*words)
    assert str(error.value) == message
    assert capfd.readouterr() == ("", "")


def test_a_required_flag() -> None:
    with pytest.raises(ConfigError, match=r"^--weights is required; prog --help lists the flags$"):
        parse(Config, ["num=3"], "prog")


def test_values_are_checked_by_the_config() -> None:
    with pytest.raises(ConfigError, match=r"^--mosaic is a probability from 0 to 1, not 2\.0$"):
        parse(TrainConfig, ["mosaic=2"], "prog")


def test_every_setting_of_the_training_is_a_flag() -> None:
    names = set(flags_of(TrainConfig))
    assert {"data", "work-dir", "list-models", "hsv-h", "fliplr", "resume"} <= names
    assert "augment" not in names


@pytest.mark.parametrize("model", ["nano", "tiny", "small", "medium", "large"])
@pytest.mark.parametrize("architecture", ["solov2", "rtmdet-ins"])
def test_sizes_of_either_architecture(architecture: str, model: str) -> None:
    config = parse(TrainConfig, [f"architecture={architecture}", "--model", model], "prog")
    assert (config.architecture, config.model) == (architecture, model)


@given(
    epochs=st.integers(1, 10_000),
    lr=st.one_of(st.just("auto"), st.floats(1e-9, 10)),
    mosaic=st.floats(0, 1),
    skip=st.booleans(),
    data=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1),
)
def test_what_is_written_is_what_is_read(
    epochs: int, lr: float | str, mosaic: float, skip: bool, data: str
) -> None:
    words = [f"epochs={epochs}", f"--lr={lr}", "--mosaic", str(mosaic), f"skip_conversion={skip}"]
    config = parse(TrainConfig, [*words, f"data={data}"], "prog")
    assert config == TrainConfig(
        data=data,
        epochs=epochs,
        lr=lr,  # type: ignore[arg-type]  # a str here is always "auto"
        skip_conversion=skip,
        augment=AugmentConfig(mosaic=mosaic),
    )


def test_help_lists_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(TrainConfig, ["--help"], "crispmask train")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for name in flags_of(TrainConfig):
        assert f"--{name}" in text
