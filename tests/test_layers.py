"""Imports go one way, and what answers at once imports no torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "crispmask"

BASE = {"errors", "version", "suggest", "atomic", "cache", "config", "types"}
PICTURES = BASE | {"geometry", "draw"}

ALLOWED = {
    "errors": set(),
    "version": set(),
    "suggest": set(),
    "atomic": {"errors"},
    "cache": set(),
    "config": {"errors"},
    "types": {"errors"},
    "recipes": {"errors", "suggest", "config"},
    "pages": BASE,
    "geometry": BASE,
    "draw": BASE | {"geometry"},
    "augment": BASE | {"geometry"},
    "data": PICTURES | {"augment"},
    "doctor": PICTURES | {"data", "pages"},
    "models": BASE | {"geometry"},
    "metrics": BASE | {"geometry"},
    "engine": PICTURES | {"data", "augment", "models", "metrics", "pages"},
    "sources": BASE | {"data"},
    "neighbours": BASE | {"geometry"},
    "inference": BASE | {"geometry", "sources"},
    "finder": BASE | {"geometry", "models", "sources", "inference"},
    "predict": PICTURES | {"data", "models", "sources", "inference", "finder"},
    "push": BASE | {"models", "predict"},
    "runtime": BASE | {"geometry", "sources", "inference"},
    "loading": BASE | {"models", "predict", "runtime"},
    "export": PICTURES | {"data", "models", "predict", "runtime"},
    "bench": PICTURES
    | {
        "data",
        "models",
        "metrics",
        "predict",
        "runtime",
        "inference",
        "sources",
        "finder",
        "export",
    },
    "validate": PICTURES | {"data", "models", "metrics", "engine", "predict", "runtime", "loading"},
    "compare": PICTURES
    | {"data", "models", "metrics", "engine", "predict", "loading", "validate", "pages"},
    "api": BASE | {"recipes", "augment", "models", "engine"},
    "cli": PICTURES
    | {"recipes", "data", "doctor", "models", "metrics", "engine", "predict", "validate", "api"}
    | {"export", "loading", "runtime", "sources", "inference", "neighbours", "push", "bench"}
    | {"compare"},
    "__init__": {"version", "types", "api", "models", "predict", "loading", "engine"},
    "__main__": {"cli"},
}
"""Rooms each room may import, besides itself."""

LAZY = {("types", "geometry"), ("types", "draw"), ("types", "neighbours")}
"""Imports inside functions only: conveniences of `Instances` that use the rooms above."""

HEAVY = {"torch", "torchvision", "timm", "lightning", "lightning_fabric", "faster_coco_eval"}

INSTANT = ("crispmask", "crispmask.cli", "crispmask.cli.models", "crispmask.cli.sample")
"""Modules of commands that must answer within a second, train and val for their --help."""


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path, inside_functions: bool = True) -> Iterator[str]:
    """Full names of the modules a file imports; those under TYPE_CHECKING count as inside."""
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        lazy = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        )
        if inside_functions or not lazy:
            todo.extend(ast.iter_child_nodes(node))


def rooms_imported(path: Path, inside_functions: bool) -> set[str]:
    names = {n.split(".")[1] for n in imports(path, inside_functions) if n.startswith("crispmask.")}
    return {name for name in names if name in ALLOWED}


def test_every_room_has_a_place() -> None:
    assert {room_of(path) for path in files()} <= set(ALLOWED)


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    room = room_of(path)
    at_top = rooms_imported(path, inside_functions=False) - {room}
    anywhere = rooms_imported(path, inside_functions=True) - {room}
    assert at_top <= ALLOWED[room]
    assert {other for other in anywhere - ALLOWED[room] if (room, other) not in LAZY} == set()


def test_the_allowed_imports_have_no_circle() -> None:
    order: list[str] = []
    while len(order) < len(ALLOWED):
        ready = [r for r in ALLOWED if r not in order and ALLOWED[r] - {r} <= set(order)]
        assert ready
        order.extend(ready)


def test_architectures_do_not_import_each_other() -> None:
    for mine, other in (("solov2", "rtmdet_ins"), ("rtmdet_ins", "solov2")):
        for path in (PACKAGE / "models" / mine).glob("*.py"):
            assert not any(n.startswith(f"crispmask.models.{other}") for n in imports(path))


def module_file(name: str) -> Path | None:
    path = ROOT.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def heavy_imports(name: str) -> dict[str, list[str]]:
    """Heavy packages that importing a module imports, and by which way."""
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    todo = [(name, [name])]
    while todo:
        module, way = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        path = module_file(module)
        if path is None:
            if module.split(".")[0] in HEAVY:
                found[module] = way
            continue
        parents = [module.rsplit(".", n)[0] for n in range(1, module.count(".") + 1)]
        for other in (*parents, *imports(path, inside_functions=False)):
            todo.append((other, [*way, other]))
    return found


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + extras["export"] + extras["openvino"]
    declared = {re.split(r"[><=~]", name)[0].replace("-", "_") for name in wanted}
    declared |= {"cv2", "PIL", "yaml"}  # opencv-python-headless, pillow, pyyaml
    names = {name.split(".")[0] for path in files() for name in imports(path)}
    own = {"crispmask", "supervision", "fiftyone"}  # the latter serve users who have them
    assert names - declared - own - set(sys.stdlib_module_names) == set()


def test_the_search_for_torch_finds_it() -> None:
    assert "torch" in heavy_imports("crispmask.predict")


@pytest.mark.parametrize(
    "module",
    [
        "crispmask",
        *(f"crispmask.cli.{path.stem}" for path in sorted((PACKAGE / "cli").glob("[!_]*.py"))),
        "crispmask.cli",
        "crispmask.models.catalogue",
        "crispmask.models.download",
        "crispmask.models.hub",
        "crispmask.models.table",
        "crispmask.data.coco",
        "crispmask.data.images",
        "crispmask.data.index",
        "crispmask.data.labels",
        "crispmask.data.scenes",
        "crispmask.data.spec",
        "crispmask.doctor.examine",
        "crispmask.engine.callback",
        "crispmask.export.config",
        "crispmask.loading",
        "crispmask.runtime",
        "crispmask.types",
    ],
)
def test_imports_no_torch(module: str) -> None:
    assert module_file(module) is not None
    assert heavy_imports(module) == {}


def test_help_and_models_import_no_torch() -> None:
    script = (
        "import sys\n"
        "from crispmask.cli import main\n"
        "assert main(['--help']) == main(['models']) == main(['train', '--help']) == 0\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
