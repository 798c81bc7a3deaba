from __future__ import annotations

import re
from pathlib import Path

from crispmask.cli.arguments import flags_of
from crispmask.cli.check import CheckConfig
from crispmask.cli.convert import ConvertConfig
from crispmask.config import TrainConfig
from crispmask.doctor.kinds import KINDS

TEXT = (Path(__file__).parents[2] / "docs/datasets.md").read_text(encoding="utf-8")


def test_the_table_of_codes_is_that_of_the_code() -> None:
    lines = TEXT.split("| code |", 1)[1].splitlines()[2:]
    rows = lines[: lines.index("")]
    kinds = KINDS.values()
    assert rows == [f"| `{k.code}` | {k.severity} | {k.meaning} | {k.fix} |" for k in kinds]


def test_flags_exist() -> None:
    named = set(re.findall(r"`--([a-z-]+)", TEXT))
    there_are = {flag for c in (CheckConfig, ConvertConfig, TrainConfig) for flag in flags_of(c)}
    assert named <= there_are
    assert set(flags_of(CheckConfig)) - named <= {"data"}


def test_codes_in_the_text_exist() -> None:
    named = set(re.findall(r"`((?:row|image|label|leak|split|class|yaml|list)(?:-[a-z]+)+)`", TEXT))
    assert named <= set(KINDS)
