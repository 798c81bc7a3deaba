"""Flags of the commands, made from frozen dataclasses by tyro.

What tyro does not do is done here before it sees a word: `name=value` as users of Ultralytics
type it, a flag that does not exist, a value that does not fit, each as one line.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import MISSING, dataclass, fields, is_dataclass
from io import StringIO
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from crispmask.errors import ConfigError
from crispmask.suggest import did_you_mean

ConfigT = TypeVar("ConfigT")

_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of a command.

    Attributes:
        name: as it is typed, without the leading `--`.
        hint: type of the field.
        default: `MISSING` if the flag is required.
    """

    name: str
    hint: Any
    default: Any


def flags_of(config_type: type) -> dict[str, Flag]:
    """The flags a dataclass stands for, by name; those of nested dataclasses stand beside them."""
    flags: dict[str, Flag] = {}
    hints = get_type_hints(config_type)
    for field in fields(config_type):
        hint = hints[field.name]
        if is_dataclass(hint):
            flags |= flags_of(hint)  # type: ignore[arg-type]  # is_dataclass admits instances too
        else:
            name = field.name.replace("_", "-")
            flags[name] = Flag(name, hint, field.default)
    return flags


def parse(config_type: type[ConfigT], argv: Sequence[str], prog: str) -> ConfigT:
    """The dataclass that the words of a command line describe.

    Args:
        config_type: a frozen dataclass; its docstrings are the help.
        argv: words after the command.
        prog: how the command was called, for the help.

    Raises:
        ConfigError: naming the flag that is unknown, missing or has a wrong value.
        SystemExit: after `--help` was printed.
    """
    flags = flags_of(config_type)
    if "--help" in argv or "-h" in argv:
        _run_tyro(config_type, ["--help"], prog)
    values = read_values(argv, flags)
    for flag in flags.values():
        if flag.default is MISSING and flag.name not in values:
            raise ConfigError(f"--{flag.name} is required; {prog} --help lists the flags")
    try:
        return _run_tyro(config_type, _tokens(values, flags), prog)
    except SystemExit:  # tyro could not convert a value: find which
        required = {name: text for name, text in values.items() if flags[name].default is MISSING}
        for name, text in values.items():
            try:
                _run_tyro(config_type, _tokens({**required, name: text}, flags), prog)
            except SystemExit:
                raise ConfigError(_wrong_value(flags[name], text)) from None
            except ConfigError:  # of this value without the others: not what is wrong
                continue
        raise


def read_values(argv: Sequence[str], flags: Mapping[str, Flag]) -> dict[str, str]:
    """The text given to each flag, by name; the last one counts.

    `--name value`, `--name=value` and `name=value` say the same, `-` and `_` too, and a
    boolean may stand without a value.
    """
    values: dict[str, str] = {}
    words = list(argv)
    while words:
        word = words.pop(0)
        typed, equals, text = word.partition("=")
        if not typed.startswith("--") and not equals:
            raise ConfigError(
                f"{word!r} is not a flag: write --name value or name=value"
                + did_you_mean(word.lstrip("-"), flags, "--")
            )
        name = typed.removeprefix("--").replace("_", "-")
        if name not in flags:
            raise ConfigError(f"unknown flag {typed}{did_you_mean(name, flags, '--')}")
        if flags[name].hint is bool:
            if not equals:
                follows = bool(words) and words[0].lower() in _BOOLEANS
                text = words.pop(0) if follows else "true"
            if text.lower() not in _BOOLEANS:
                raise ConfigError(f"--{name} must be true or false, not {text!r}")
        elif not equals:
            if not words or words[0].startswith("--"):
                raise ConfigError(f"--{name} needs a value, {_describe(flags[name].hint)}")
            text = words.pop(0)
        values[name] = text
    return values


def _run_tyro(config_type: type[ConfigT], tokens: list[str], prog: str) -> ConfigT:
    # tyro explains errors in boxes of many lines; ours is told by `parse`.
    with redirect_stderr(StringIO()):
        return tyro.cli(
            config_type,
            args=tokens,
            prog=prog,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
        )


def _tokens(values: Mapping[str, str], flags: Mapping[str, Flag]) -> list[str]:
    """How tyro wants the flags: a boolean stands alone, and only to leave its default."""
    tokens = []
    for name, text in values.items():
        flag = flags[name]
        if flag.hint is not bool:
            if bool in _members(flag.hint) and text.lower() in _BOOLEANS:
                text = str(_BOOLEANS[text.lower()])
            tokens.append(f"--{name}={text}")
        elif _BOOLEANS[text.lower()] != flag.default:
            tokens.append(f"--no-{name}" if flag.default else f"--{name}")
    return tokens


def _wrong_value(flag: Flag, text: str) -> str:
    choices = [str(choice) for choice in _choices(flag.hint)]
    return (
        f"--{flag.name} must be {_describe(flag.hint)}, not {text!r}{did_you_mean(text, choices)}"
    )


def _members(hint: Any) -> tuple[Any, ...]:
    """The types of a union; a type that is no union is its own only member."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _choices(hint: Any) -> tuple[Any, ...]:
    return tuple(c for m in _members(hint) if get_origin(m) is Literal for c in get_args(m))


def _describe(hint: Any) -> str:
    """A type in words: `a whole number or auto`."""
    words = {bool: "true, false", int: "a whole number", float: "a number", str: "text"}
    kinds = [words[member] for member in _members(hint) if member in words]
    choices = [str(choice) for choice in _choices(hint)]
    if len(choices) > 1:
        return " or ".join([*kinds, "one of " + ", ".join(choices)])
    return " or ".join(kinds + choices)
