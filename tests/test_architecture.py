"""The diagrams of ARCHITECTURE.md: drawn by Mermaid, and true."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import torch

from crispmask.models.build import ModelSpec, build_network

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
DIAGRAMS = re.findall(r"```mermaid\n(.*?)```", TEXT, flags=re.DOTALL)

MERMAID = "mermaid@11"
"""The package of npm the diagrams are drawn with, as GitHub does."""


def section(title: str) -> str:
    """The text under a heading, up to the next of the same level."""
    return re.split(r"\n### ", TEXT.split(f"### {title}", 1)[1])[0]


def test_every_model_has_an_overview_and_an_inside() -> None:
    for title in ("SOLOv2: a grid", "RTMDet-Ins: a detection", "YOLO11-seg, for comparison"):
        assert section(title).count("```mermaid") == 2, title


def test_files_named_exist() -> None:
    named = set(re.findall(r"`((?:crispmask|tests|benchmarks|docs)/[\w/.]+)`", TEXT))
    assert len(named) > 15
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def shapes(architecture: str, model: str) -> dict[str, tuple[int, ...]]:
    """Shapes of an image of 640 x 640 on its way through a network, without computing it."""
    with torch.device("meta"):
        network = build_network(ModelSpec(architecture, model, num_classes=80, imgsz=640)).eval()
    found: dict[str, tuple[int, ...]] = {}

    def note(name: str, value: object) -> None:
        if isinstance(value, torch.Tensor):
            found[name] = tuple(value.shape[1:])
        elif isinstance(value, list | tuple):
            for i, item in enumerate(value):
                note(f"{name}.{i}", item)

    for name in ("backbone", "neck", "mask_branch"):
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: note(name, output)
        )
    note("outputs", tuple(network(torch.zeros(1, 3, 640, 640, device="meta"))))
    return found


def spelt(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)


def test_shapes_of_solov2() -> None:
    found = shapes("solov2", "nano")
    text = section("SOLOv2: a grid")
    for i in range(4):
        assert f"C{i + 2}: {spelt(found[f'backbone.{i}'])}" in text
    for i in range(5):
        assert f"P{i + 2} {spelt(found[f'neck.{i}'])}" in text
    sides = [found[f"outputs.1.{i}"] for i in range(5)]
    for kernel_weights, side, _ in sides:
        assert f"grid {side} x {side}" in text
        assert f"{kernel_weights} weights per cell" in text
    assert f"N of {sum(side * side for _, side, _ in sides)}" in text
    assert spelt(found["mask_branch"]) in text
    assert f"N x {spelt(found['mask_branch'][1:])}" in text


def test_shapes_of_rtmdet_ins() -> None:
    found = shapes("rtmdet-ins", "tiny")
    text = section("RTMDet-Ins: a detection")
    for i in range(3):
        assert f"C{i + 3}: {spelt(found[f'backbone.{i}'])}" in text
        assert spelt(found[f"neck.{i}"]) in text
    priors = sum(found[f"outputs.0.{i}"][1] * found[f"outputs.0.{i}"][2] for i in range(3))
    assert f"{priors} priors" in text
    assert f"{found['outputs.2.0'][0]} weights per prior" in text
    assert f"{3 * found['neck.0'][0]} channels" in text
    assert spelt(found["mask_branch"]) in text


def mermaid_script(folder: Path) -> Path:
    """mermaid.min.js, from CRISPMASK_MERMAID or from npm."""
    given = os.environ.get("CRISPMASK_MERMAID")
    if given:
        return Path(given)
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("neither CRISPMASK_MERMAID nor npm to draw the diagrams with")
    packed = subprocess.run(
        [npm, "pack", MERMAID, "--silent", "--fetch-retries=0"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if packed.returncode:
        pytest.skip(f"npm could not fetch {MERMAID}")
    with tarfile.open(folder / packed.stdout.split()[-1]) as archive:
        archive.extract("package/dist/mermaid.min.js", folder, filter="data")
    return folder / "package" / "dist" / "mermaid.min.js"


@pytest.mark.slow
def test_diagrams_are_drawn(tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium to draw the diagrams in")
    shutil.copy(mermaid_script(tmp_path), tmp_path / "mermaid.js")
    blocks = "".join(f"<pre class='mermaid'>{escaped(text)}</pre>" for text in DIAGRAMS)
    page = f"""<!doctype html><meta charset="utf-8"><body>{blocks}
<script src="mermaid.js"></script>
<script>
mermaid.initialize({{startOnLoad: false}});
mermaid.run().catch(error => {{
    document.body.dataset.error = error.message || String(error);
}}).finally(() => {{ document.body.dataset.done = "yes"; }});
</script>"""
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    done = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--virtual-time-budget=60000",
            "--dump-dom",
            f"--user-data-dir={tmp_path / 'profile'}",
            (tmp_path / "page.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert 'data-done="yes"' in done.stdout, done.stderr[-2000:]
    assert "data-error" not in done.stdout, re.findall(r'data-error="[^"]*"', done.stdout)
    assert done.stdout.count('aria-roledescription="flowchart-v2"') == len(DIAGRAMS)
    assert "Syntax error" not in done.stdout


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
