"""The README says what the code does: its tables, commands and links are checked here."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import torch

from crispmask.bench.config import BenchmarkConfig
from crispmask.cli import COMMANDS, main
from crispmask.cli.arguments import flags_of, parse, read_values
from crispmask.cli.check import CheckConfig
from crispmask.cli.convert import ConvertConfig
from crispmask.cli.models import ModelsConfig
from crispmask.cli.predict import PredictConfig
from crispmask.cli.push import PushConfig
from crispmask.cli.sample import SampleConfig
from crispmask.cli.val import ValConfig
from crispmask.compare.config import CompareConfig
from crispmask.config import AugmentConfig, TrainConfig
from crispmask.export.config import ExportConfig
from crispmask.models.build import ModelSpec, build_network
from crispmask.models.catalogue import CATALOGUE
from crispmask.models.table import list_models

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]

CONFIGS = {
    "train": TrainConfig,
    "val": ValConfig,
    "predict": PredictConfig,
    "compare": CompareConfig,
    "check": CheckConfig,
    "convert": ConvertConfig,
    "models": ModelsConfig,
    "export": ExportConfig,
    "benchmark": BenchmarkConfig,
    "push": PushConfig,
    "sample": SampleConfig,
}


def table(text: str, first_column: str) -> list[list[str]]:
    """The rows of the table whose heading starts with `first_column`."""
    lines = text.split(f"| {first_column} |", 1)[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def commands() -> list[list[str]]:
    """The words of every command in the README."""
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.strip()]
    return [shlex.split(line, comments=True) for line in lines]


def own_commands() -> list[tuple[str, list[str]]]:
    """Command and flags of those that run crispmask."""
    found = []
    for words in commands():
        if words[0] == "crispmask":
            found.append((words[1], words[2:]))
        elif words[:2] == ["python", "train.py"]:
            found.append(("train", words[2:]))
    return found


def field_texts(config: type) -> dict[str, str]:
    """The text under each field of a dataclass."""
    body = ast.parse(inspect.getsource(config)).body[0]
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            texts[field.target.id.replace("_", "-")] = str(text.value.value)
    return texts


def default_text(default: object) -> str:
    return {"": "none", "False": "off"}.get(str(default), f"`{default}`")


@pytest.mark.parametrize(
    ("config", "heading"),
    [(TrainConfig, "## Flags of the training"), (AugmentConfig, "### Augmentation")],
)
def test_flag_tables(config: type, heading: str) -> None:
    texts = field_texts(config)
    flags = {name: flag for name, flag in flags_of(config).items() if name in texts}
    expected = [
        [
            f"`--{name}`",
            "required" if name == "data" else default_text(flag.default),
            " ".join(texts[name].split()).replace("<", r"\<"),
        ]
        for name, flag in flags.items()
    ]
    assert table(README.split(heading)[1], "flag") == expected


def test_no_flag_is_missing_from_the_tables() -> None:
    rows = table(README.split("## Flags of the training")[1], "flag")
    rows += table(README.split("### Augmentation")[1], "flag")
    assert {row[0].strip("`-") for row in rows} == set(flags_of(TrainConfig))


def test_defaults_users_rely_on() -> None:
    """Those of the first version of this trainer; a change needs a line in the changelog."""
    flags = flags_of(TrainConfig)
    assert {name: flags[name].default for name in flags if name in SEED_DEFAULTS} == SEED_DEFAULTS


SEED_DEFAULTS = {
    "architecture": "solov2",
    "model": "nano",
    "epochs": 150,
    "batch": "auto",
    "imgsz": 1280,
    "lr": "auto",
    "work-dir": "auto",
    "skip-conversion": False,
    "list-models": False,
    "mosaic": 1.0,
    "mixup": 0.0,
    "hsv-h": 0.015,
    "hsv-s": 0.7,
    "hsv-v": 0.4,
    "degrees": 2.0,
    "translate": 0.1,
    "scale": 0.5,
    "shear": 0.0,
    "fliplr": 0.5,
    "flipud": 0.0,
}


def test_model_table() -> None:
    expected = [
        [
            row.architecture,
            row.model,
            row.backbone,
            str(row.neck_channels),
            str(row.mask_channels),
            f"{row.parameters / 1e6:.1f} M",
            f"{row.flops / 1e9:.0f}",
            str(row.batch),
        ]
        for row in list_models()
    ]
    assert table(README, "architecture") == expected


def test_published_figures() -> None:
    """Mask AP as the catalogue has it, parameters counted on networks of 80 classes."""
    rows = []
    for weights in CATALOGUE:
        with torch.device("meta"):
            network = build_network(ModelSpec(weights.architecture, weights.layout, 80))
        count = sum(parameter.numel() for parameter in network.parameters())
        name = f"{weights.architecture} {weights.layout}"
        rows.append([name, f"{weights.mask_ap}", f"{count / 1e6:.1f} M"])
    assert table(README, "published layout") == rows


def test_command_table() -> None:
    assert table(README, "command") == [[f"`crispmask {c}`", COMMANDS[c]] for c in COMMANDS]
    assert set(COMMANDS) == set(CONFIGS)


def test_every_command_stands_in_the_readme() -> None:
    assert {name for name, _ in own_commands()} == set(COMMANDS)


@pytest.mark.parametrize(
    ("name", "words"), own_commands(), ids=lambda v: v if isinstance(v, str) else " ".join(v)
)
def test_commands_parse(name: str, words: list[str]) -> None:
    parse(CONFIGS[name], words, name)


def test_flags_named_in_the_text_exist() -> None:
    known = {flag for config in CONFIGS.values() for flag in flags_of(config)}
    known |= {"help", "traceback", "version"}
    other_tools = {"constraint", "editable", "name", "torch-backend", "logdir"}
    named = set(re.findall(r"(?<![\w-])--([a-z][a-z-]*)", README))
    assert named - other_tools <= known


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    targets = set(re.findall(r"(?:^|`)make ([a-z][a-z0-9-]*)", text, flags=re.MULTILINE))
    assert {"demo", "test", "check", "format"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_flags_of_the_demo_parse() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    settings = dict(re.findall(r"^(DEMO_\S+) := (.*)$", makefile, flags=re.MULTILINE))
    assert set(settings) == {"DEMO_SAMPLE", "DEMO_TRAIN_rtmdet-ins", "DEMO_TRAIN_solov2"}
    read_values(settings.pop("DEMO_SAMPLE").split(), flags_of(SampleConfig))
    for flags in settings.values():
        parse(TrainConfig, flags.split(), "train")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_the_tree_shows_every_folder() -> None:
    tree = README.split("## The repository")[1].split("```")[1]
    folders = {p.parent.name for p in (ROOT / "crispmask").glob("*/__init__.py")}
    assert folders == set(re.findall(r"^    (\w+)/ ", tree, flags=re.MULTILINE))
    for name in re.findall(r"^(\w+)/ ", tree, flags=re.MULTILINE):
        assert (ROOT / name).is_dir()


def test_python_examples_name_what_exists() -> None:
    import crispmask

    for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "crispmask":
                assert node.attr in crispmask.__all__


def test_cheap_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, words in own_commands():
        if name == "sample":
            words = [*words, "--images", "4", "--imgsz", "64"]
        if name in ("sample", "convert", "models") or "sample/data.yaml" in words:
            assert main([name, *words]) == 0
    assert (tmp_path / "sample-coco/annotations/instances_val.json").is_file()


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    direct = [re.split(r"[><=~]", name)[0] for name in project["dependencies"]]
    assert [row[0] for row in table(text, "package")] == direct
    extras = [
        [extra, re.split(r"[><=~]", name)[0]]
        for extra, names in project["optional-dependencies"].items()
        for name in names
    ]
    assert [row[:2] for row in table(text, "extra")] == extras


def test_requirements_pin_every_dependency_and_name_no_host() -> None:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert "://" not in text
    lines = text.splitlines()
    assert all(re.match(r"^[a-z0-9.-]+==\S+", line) for line in lines)
    pinned = {line.split("==")[0] for line in lines}
    assert len(pinned) == len(lines)  # one version, whatever the Python
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {re.split(r"[><=~]", name)[0].lower().replace("_", "-") for name in wanted}
    assert names <= pinned
