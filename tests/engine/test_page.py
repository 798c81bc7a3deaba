"""The page as text; `test_page_in_chromium.py` looks at it in a browser."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from page_case import page_contents, write_results_csv

from crispmask.cli.arguments import parse
from crispmask.config import AugmentConfig, TrainConfig
from crispmask.engine.page import Contents, render_page, write_page
from crispmask.engine.page.charts import Line, line_chart
from crispmask.engine.page.pictures import outline_path
from crispmask.engine.page.run import train_command
from crispmask.geometry.outline import mask_to_parts
from crispmask.geometry.raster import rasterise

if TYPE_CHECKING:
    from conftest import MakeDataset

EVIL = ("</script><script>boom()</script>", '"><img src=x onerror="boom()">', "a & b <i>'")
VOID = {"meta", "img", "input", "br"}


class Strict(HTMLParser):
    """Complains about tags that are not closed in order; collects what is of interest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(attrs) == len(dict(attrs)), f"twice the same attribute: {tag} {attrs}"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Strict:
    """The page, checked: tags are closed, nothing comes from elsewhere, the policy fits."""
    parser = Strict()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    for tag, attributes in parser.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href"):
                assert (value or "").startswith("data:image/jpeg;base64,"), value
    assert [tag for tag, _ in parser.tags].count("script") == 1
    script = re.search(r"<script>(.*)</script>", page, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src &#x27;sha256-{digest}" in page or f"script-src 'sha256-{digest}'" in page
    assert "url(" not in page
    return parser


def images_of(parser: Strict) -> list[np.ndarray]:
    found = []
    for tag, attributes in parser.tags:
        if tag == "img":
            content = base64.b64decode((attributes["src"] or "").partition(",")[2])
            found.append(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR))
    return found


def test_a_run(yolo_dataset: MakeDataset, tmp_path: Path) -> None:
    results = write_results_csv(tmp_path / "results.csv", 6)
    contents = page_contents(yolo_dataset(num_val=5), results)
    parser = read(render_page(contents))
    for title in ("Figures", "Training", "Kinds of mistakes", "Classes", "Images", "Labels"):
        assert title in parser.text
    for name in (*contents.names, contents.command, "epochs: 20"):
        assert name in parser.text
    assert f"mask mAP50-95 {contents.metrics.mask.map50_95:.3f} on 5 images" in parser.text
    pictures = images_of(parser)
    assert 3 <= len(pictures) <= 5
    assert all(picture.shape == (240, 320, 3) for picture in pictures)


def test_names_are_text(yolo_dataset: MakeDataset, tmp_path: Path) -> None:
    data = yolo_dataset(num_val=3, with_background=False)
    bad = "<img src=x onerror=boom()>&amp;'.jpg"
    for folder, suffix in (("images", ".jpg"), ("labels", ".txt")):
        file = data.parent / folder / "val" / f"000{suffix}"
        file.rename(file.with_name(bad.removesuffix(".jpg") + suffix))
    contents = page_contents(
        data,
        names=EVIL,
        title=EVIL[0],
        subtitle=EVIL[1],
        command=EVIL[0],
        config=EVIL[1],
        facts={EVIL[0]: EVIL[1]},
    )
    parser = read(render_page(contents))
    assert bad in parser.text
    assert all(name in parser.text for name in EVIL)


@pytest.mark.parametrize("with_results", [False, True])
def test_nothing_found(yolo_dataset: MakeDataset, tmp_path: Path, with_results: bool) -> None:
    results = write_results_csv(tmp_path / "results.csv", 1) if with_results else None
    parser = read(render_page(page_contents(yolo_dataset(), results, predicted=False)))
    assert "nothing was found in 3 images" in parser.text
    assert ("Training loss" in parser.text) == with_results


def test_no_instances(yolo_dataset: MakeDataset) -> None:
    data = yolo_dataset()
    for file in (data.parent / "labels" / "val").iterdir():
        file.unlink()
    parser = read(render_page(page_contents(data)))
    assert "no instance is annotated in the 3 images" in parser.text
    assert "not defined" in parser.text


def test_nothing_at_all(yolo_dataset: MakeDataset) -> None:
    data = yolo_dataset()
    for file in (data.parent / "labels" / "val").iterdir():
        file.unlink()
    parser = read(render_page(page_contents(data, predicted=False)))
    assert "no image has an instance or a prediction" in parser.text


def test_one_image(yolo_dataset: MakeDataset) -> None:
    parser = read(render_page(page_contents(yolo_dataset(num_val=1))))
    assert len(images_of(parser)) == 1


def test_an_image_that_is_gone(yolo_dataset: MakeDataset) -> None:
    data = yolo_dataset(num_val=2, with_background=False)
    contents = page_contents(data)
    contents.index.path(0).unlink()
    assert len(images_of(read(render_page(contents)))) == 1


def test_80_classes_fit(yolo_dataset: MakeDataset) -> None:
    names = tuple(f"a class with a long name, number {i}" for i in range(80))
    contents = page_contents(yolo_dataset(num_val=4, classes=80), names=names)
    page = render_page(contents)
    assert names[79] in read(page).text
    assert len(page) < 1_500_000


@pytest.mark.slow
def test_size_is_bounded(yolo_dataset: MakeDataset) -> None:
    """Many large noisy images, the worst case for JPEG: twelve are shown, each at most 640 px."""
    data = yolo_dataset(num_train=1, num_val=13, size=(700, 900), with_background=False)
    page = render_page(page_contents(data))
    pictures = images_of(read(page))
    assert len(pictures) == 12
    assert max(max(picture.shape) for picture in pictures) == 640
    assert len(page) < 4_000_000


def test_figures_of_metrics_that_are_not_known_yet_are_shown(
    yolo_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = page_contents(yolo_dataset())
    values = contents.metrics.to_json()
    first = contents.names[0]
    values = {**values, "edge/mAP50": 0.1234, "speed": 17}
    values["per_class"] = {
        name: {**row, "edge/mAP50": 0.4321 if name == first else -1.0}
        for name, row in values["per_class"].items()
    }
    monkeypatch.setattr(type(contents.metrics), "to_json", lambda self: values)
    text = read(render_page(contents)).text
    for shown in ("edge", "0.123", "speed", "17", "0.432"):
        assert shown in text


def test_write(yolo_dataset: MakeDataset, tmp_path: Path) -> None:
    contents: Contents = page_contents(yolo_dataset(num_val=1))
    write_page(contents, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text("utf-8") == render_page(contents)
    assert [path.name for path in tmp_path.glob("*report*")] == ["report.html"]


@pytest.mark.parametrize("recipe", ["matched", "ultralytics"])
def test_the_command_does_the_same_again(recipe: str) -> None:
    config = TrainConfig(
        data="some data/data.yaml",
        architecture="rtmdet-ins",
        epochs=7,
        batch=2,
        lr=0.003,
        freeze=1,
        norm_eval=False,
        deterministic=True,
        momentum=0.5,
        recipe=recipe,  # type: ignore[arg-type]  # one of its values
        augment=AugmentConfig(mosaic=0.25),
    )
    words = shlex.split(train_command(config))
    assert words[:2] == ["crispmask", "train"]
    assert parse(TrainConfig, words[2:], "crispmask train") == config
    other = replace(config, work_dir="elsewhere", cache_dir="elsewhere")
    assert train_command(other) == train_command(config)


def test_outlines_stay_close_to_the_mask() -> None:
    disc = (np.hypot(*np.mgrid[-30:31, -40:41]) < 25) & (np.hypot(*np.mgrid[-30:31, -40:41]) > 8)
    path = outline_path(mask_to_parts(disc))
    assert path.count("Z") == 2  # the ring and its hole
    rings = [
        np.array([pair.split() for pair in ring.split("L")], dtype=np.float32)
        for ring in re.findall(r"M([^Z]*)Z", path)
    ]
    assert sum(map(len, rings)) < 90
    again = rasterise((tuple(rings),), disc.shape)[0]
    assert (again & disc).sum() / (again | disc).sum() > 0.94


def test_a_chart_of_one_point_and_of_none() -> None:
    one = line_chart("loss", [Line("a", np.ones(1), np.ones(1))], "epoch")
    assert one.count("<circle") == 1
    assert "nan" not in one
    none = line_chart("loss", [Line("a", np.zeros(0), np.zeros(0))], "epoch")
    assert "no values" in none


def test_a_chart_over_several_powers_of_ten() -> None:
    x = np.arange(1.0, 6)
    chart = line_chart("norm", [Line("a", x, 10**x)], "epoch", log=True)
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', chart)]
    np.testing.assert_allclose(np.diff(heights), np.diff(heights)[0], atol=0.11)
