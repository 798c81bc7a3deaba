"""The page in headless Chromium: how it lies on screens of all sizes, and that its parts work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from chromium import Page, browser, find_chromium
from page_case import page_contents, write_results_csv

from crispmask.engine.page import write_page

if TYPE_CHECKING:
    from conftest import MakeDataset

CHROMIUM = find_chromium()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    assert CHROMIUM is not None
    with browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def report(yolo_dataset: MakeDataset, tmp_path: Path) -> Path:
    results = write_results_csv(tmp_path / "results.csv", 12)
    data = yolo_dataset(num_val=6, size=(240, 320))
    write_page(page_contents(data, results), tmp_path / "report.html")
    return tmp_path / "report.html"


def shown(page: Page, selector: str) -> int:
    """How many elements take up room."""
    return int(
        page.run(
            f"[...document.querySelectorAll({selector!r})]"
            ".filter(e => e.getBoundingClientRect().width > 0).length"
        )
    )


def brightness(page: Page, path: Path) -> float:
    page.screenshot(path, whole=False)
    picture = cv2.imread(str(path))
    assert picture is not None
    return float(np.median(picture))


@pytest.mark.parametrize("width", [340, 390, 800, 1280, 2200])
def test_fits_every_screen_and_asks_for_nothing(page: Page, report: Path, width: int) -> None:
    page.open(report, width)
    assert page.run("document.documentElement.scrollWidth") == width
    assert page.complaints == []
    assert [url for url in page.requests if not url.startswith("data:")] == [report.as_uri()]
    broken = "[...document.images].filter(i => !(i.complete && i.naturalWidth)).length"
    assert page.run("document.images.length") >= 4
    assert page.run(broken) == 0


def test_light_and_dark(page: Page, report: Path, tmp_path: Path) -> None:
    page.open(report)
    picture = tmp_path / "shot.png"
    page.prefer("light")
    assert brightness(page, picture) > 200
    page.prefer("dark")
    assert brightness(page, picture) < 60
    page.click("#theme")  # against the system
    assert brightness(page, picture) > 200
    page.click("#theme")
    assert brightness(page, picture) < 60
    page.prefer("dark", media="print")  # paper is white
    assert brightness(page, picture) > 200
    page.prefer("light")


def test_columns_sort_both_ways(page: Page, report: Path) -> None:
    page.open(report)
    names = "[...document.querySelectorAll('.sortable tbody th')].map(e => e.textContent)"
    values = "[...document.querySelectorAll('.sortable tbody tr')].map(r => +r.cells[3].dataset.v)"
    assert page.run(names) == ["shape_0", "shape_1", "shape_2"]
    page.click(".sortable th:nth-child(4) button")
    assert page.run(values) == sorted(page.run(values), reverse=True)
    page.click(".sortable th:nth-child(4) button")
    assert page.run(values) == sorted(page.run(values))
    assert page.run("document.querySelectorAll('[aria-sort=ascending]').length") == 1
    page.click(".sortable th:nth-child(1) button")
    assert page.run(names) == ["shape_0", "shape_1", "shape_2"]


def test_masks_are_switched(page: Page, report: Path) -> None:
    page.open(report)
    truth, found = shown(page, ".truth path"), shown(page, ".found path")
    assert truth > 4
    assert found > 4
    page.click(".show-truth")  # of the first image
    fewer = shown(page, ".truth path")
    assert 0 < fewer < truth
    page.click("[data-all=truth]")
    assert shown(page, ".truth path") == 0
    assert shown(page, ".found path") == found
    page.click("[data-all=truth]")
    assert shown(page, ".truth path") == truth
    page.click("[data-all=found]")
    assert shown(page, ".found path") == 0
    page.click("[data-all=found]")
    assert shown(page, ".found text") == 0
    page.click("[data-all=tags]")
    assert shown(page, ".found text") == found


def test_keys_alone_switch_masks_and_move_the_confidence(page: Page, report: Path) -> None:
    page.open(report)
    found = shown(page, ".found path")
    page.run("document.querySelector('[data-all=truth]').focus()")
    page.press(" ")
    assert shown(page, ".truth path") == 0
    for _ in range(3):
        page.press("Tab")
    assert page.run("document.activeElement.id") == "conf"
    before = page.run("+document.getElementById('conf').value")
    for _ in range(20):
        page.press("ArrowRight")
    after = before + 0.2
    assert page.run("document.querySelector('output[for=conf]').textContent") == f"{after:.2f}"
    assert 0 < shown(page, ".found path") < found
    assert page.run(
        "[...document.querySelectorAll('.found g')].every("
        f"g => (g.getBoundingClientRect().width > 0) === (+g.dataset.score >= {after}))"
    )


def test_an_image_is_enlarged(page: Page, report: Path) -> None:
    page.open(report)
    width = "document.querySelector('.shot img').getBoundingClientRect().width"
    small = page.run(width)
    page.click(".enlarge")
    assert page.run(width) > 2 * small
    assert page.run("document.querySelector('.enlarge').ariaPressed") == "true"
    page.click(".enlarge")
    assert page.run(width) == small


def test_curves_tell_their_values(page: Page, report: Path) -> None:
    page.open(report)
    chart = "document.querySelector('svg[data-chart]')"
    told = "document.querySelector('.chart output').textContent"
    page.run(f"{chart}.scrollIntoView({{block: 'center'}})")
    box = page.run(f"(b => [b.x, b.y, b.width, b.height])({chart}.getBoundingClientRect())")
    page.move(box[0] + box[2] * 0.99, box[1] + box[3] / 2)
    assert page.run(told).startswith("epoch 12: sum ")
    page.move(1, 1)
    assert page.run(told) == ""
    page.run(f"{chart}.focus()")
    page.press("ArrowRight")
    page.press("ArrowRight")
    assert page.run(told).startswith("epoch 2: sum ")


def test_the_command_is_copied_or_selected(page: Page, report: Path) -> None:
    page.open(report)
    page.click("#copy")
    told = "document.getElementById('copy').textContent"
    deadline = time.monotonic() + 20
    while page.run(told) == "copy" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert page.run(told) in ("copied", "selected")


def test_names_do_nothing(page: Page, yolo_dataset: MakeDataset, tmp_path: Path) -> None:
    evil = ("<script>document.title='boom'</script>", '"><img src=x onerror="boom()">', "a'b&amp;")
    data = yolo_dataset(num_val=3)
    for folder, suffix in (("images", ".jpg"), ("labels", ".txt")):
        file = data.parent / folder / "val" / f"000{suffix}"
        file.rename(file.with_name(f"<svg onload=boom()>{suffix}"))
    write_page(page_contents(data, names=evil), tmp_path / "report.html")
    page.open(tmp_path / "report.html")
    assert page.run("document.title") == "rtmdet-ins_tiny"
    assert page.run("document.querySelectorAll('[onerror], [onload]').length") == 0
    assert page.complaints == []
    cells = "[...document.querySelectorAll('.sortable tbody th')].map(e => e.textContent)"
    assert page.run(cells) == list(evil)


@pytest.mark.parametrize("case", ["nothing found", "no instances", "one image", "80 classes"])
def test_odd_cases(page: Page, yolo_dataset: MakeDataset, tmp_path: Path, case: str) -> None:
    data = yolo_dataset(num_val=1 if case == "one image" else 3, classes=80 if "80" in case else 3)
    if case == "no instances":
        for file in (data.parent / "labels" / "val").iterdir():
            file.unlink()
    names = (
        tuple(f"a class with a long name, number {i}" for i in range(80)) if "80" in case else None
    )
    contents = page_contents(data, names=names, predicted=case != "nothing found")
    write_page(contents, tmp_path / "report.html")
    for width in (390, 1280):
        page.open(tmp_path / "report.html", width)
        assert page.complaints == []
        assert page.run("document.documentElement.scrollWidth") == width
    page.click(".sortable th:nth-child(2) button")
    page.click("#theme")
