from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from small_graphs import INFO

from crispmask.cli import main
from crispmask.cli.writer import ResultWriter, Wanted
from crispmask.data.labels import parse_label_file
from crispmask.geometry.raster import rasterise
from crispmask.geometry.rle import decode_masks
from crispmask.inference.run import Find
from crispmask.inference.settings import Settings
from crispmask.runtime.model import GraphModel
from crispmask.sources import Image
from crispmask.types import Instances


def mask_of(size: tuple[int, int]) -> NDArray[np.bool_]:
    """A square with a hole and a second part beside it."""
    mask = np.zeros(size, dtype=np.bool_)
    mask[4:20, 4:20] = True
    mask[8:12, 8:12] = False
    mask[24:28, 4:20] = True
    return mask


class FakeModel:
    """Finds the same two instances everywhere; the second has lost its mask."""

    names = ("nut", "bolt")

    def __init__(self) -> None:
        self.calls: list[Settings] = []
        self.batches: list[int] = []

    def finder(self, settings: Settings) -> Find:
        self.calls.append(settings)
        settings.labels(self.names)

        def find(images: Sequence[Image]) -> list[Instances]:
            self.batches.append(len(images))
            return [self.found(image) for image in images]

        return find

    def found(self, image: Image) -> Instances:
        size = (image.shape[0], image.shape[1])
        return Instances(
            scores=np.array([0.9, 0.5], dtype=np.float32),
            labels=np.array([1, 0]),
            boxes=np.array([[4, 4, 20, 28], [0, 0, 0, 0]], dtype=np.float32),
            masks=np.stack([mask_of(size), np.zeros(size, dtype=np.bool_)]),
            names=self.names,
        )


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    fake = FakeModel()
    monkeypatch.setattr("crispmask.predict.load", lambda *_: fake)
    return fake


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "b.png"):
        cv2.imwrite(str(folder / name), np.full((32, 48, 3), 90, dtype=np.uint8))
    return folder


def run(*words: str) -> int:
    return main(["predict", "weights=best.pt", "device=cpu", *words])


def test_overlays(model: FakeModel, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--source", str(photos)) == 0
    out, err = capsys.readouterr()
    assert f"1/2 {photos / 'a.jpg'}: 1 bolt, 1 nut, " in out
    assert f"results in {Path('runs/predict')}" in out
    assert err == ""
    written = Path("runs/predict")
    assert sorted(p.name for p in written.iterdir()) == ["a.jpg", "b.png"]
    before, after = cv2.imread(str(photos / "b.png")), cv2.imread(str(written / "b.png"))
    assert before is not None
    assert after is not None
    assert after.shape == before.shape
    assert (after != before).any()


def test_folders_are_numbered(model: FakeModel, photos: Path) -> None:
    for _ in range(3):
        assert run(f"source={photos}") == 0
    assert sorted(p.name for p in Path("runs").iterdir()) == [
        "predict",
        "predict_2",
        "predict_3",
    ]


def test_settings_reach_the_model(model: FakeModel, photos: Path) -> None:
    source = f"source={photos / 'a.jpg'}"
    run(source, "conf=0.4", "imgsz=64", "max_det=7", "iou=0.3", "classes=nut, 1", "--flip")
    run(source, "tile=64", "tile-overlap=0.5", "batch=3")
    run(source)
    assert model.calls == [
        Settings(conf=0.4, imgsz=64, max_det=7, iou=0.3, classes=["nut", "1"], flip=True),
        Settings(conf=0.25, tile=64, tile_overlap=0.5, batch=3),
        Settings(conf=0.25),
    ]


def test_wrong_settings(model: FakeModel, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        ("classes=nuts", "no class 'nuts'; did you mean nut?"),
        ("classes=2", "--classes 2: the model has 2 classes"),
        ("tile=3", "--tile must be at least 64"),
        ("iou=0", "--iou is above 0"),
        ("batch=0", "--batch must be at least 1"),
    ):
        assert run(f"source={photos}", words) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1


def test_pictures_wait_for_their_batch(model: FakeModel, photos: Path) -> None:
    cv2.imwrite(str(photos / "c.png"), np.zeros((8, 9, 3), dtype=np.uint8))
    (photos / "aa.jpg").write_bytes(b"no image")
    assert run(f"source={photos}", "batch=2", "out=found") == 1
    assert model.batches == [2, 1]
    assert sorted(p.name for p in Path("found").iterdir()) == ["a.jpg", "b.png", "c.png"]


def test_table(model: FakeModel, photos: Path) -> None:
    assert run(f"source={photos}", "--save-csv", "--save-overlays=false", "out=found") == 0
    assert [p.name for p in Path("found").iterdir()] == ["predictions.csv"]
    with Path("found/predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["bolt", "nut"] * 2
    first = rows[0]
    assert first["image"] == str(photos / "a.jpg")
    assert [first[k] for k in ("width", "height", "score", "x1", "area")] == [
        *("48", "32", "0.9", "4.0"),
        str(mask_of((32, 48)).sum()),
    ]


def test_cut_outs(model: FakeModel, photos: Path) -> None:
    assert run(f"source={photos / 'b.png'}", "--save-crops", "out=found") == 0
    assert [str(p) for p in Path("found/crops").rglob("*.png")] == ["found/crops/bolt/b_1.png"]
    cut = cv2.imread("found/crops/bolt/b_1.png", cv2.IMREAD_UNCHANGED)
    assert cut is not None
    np.testing.assert_array_equal(cut[:, :, 3] > 0, mask_of((32, 48))[4:28, 4:20])
    assert (cut[:, :, :3] == 90).all()


def test_label_files_give_the_masks_again(model: FakeModel, photos: Path) -> None:
    assert run(f"source={photos}", "--save-txt", "out=found") == 0
    for name in ("a", "b"):
        text = Path(f"found/labels/{name}.txt").read_text()
        assert text.count("\n") == 1  # the instance without a mask has no row
        labels = parse_label_file(Path(f"found/labels/{name}.txt"), 2)
        assert labels.labels.tolist() == [1]
        polygons = labels.polygons((32, 48))
        np.testing.assert_array_equal(rasterise(polygons, (32, 48))[0], mask_of((32, 48)))


def test_coco_results(model: FakeModel, photos: Path) -> None:
    assert run(f"source={photos}", "save_json=True", "out=found") == 0
    rows = json.loads(Path("found/predictions.json").read_text())
    assert [(r["image_id"], r["category_id"]) for r in rows] == [(1, 2), (1, 1), (2, 2), (2, 1)]
    assert [Path(r["file_name"]).name for r in rows] == ["a.jpg", "a.jpg", "b.png", "b.png"]
    assert rows[0]["bbox"] == [4, 4, 16, 24]
    masks = decode_masks([rows[0]["segmentation"]])
    np.testing.assert_array_equal(masks[0], mask_of((32, 48)))


def test_one_damaged_image_does_not_stop_the_rest(
    model: FakeModel, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "a.jpg").write_bytes(b"no image")
    assert run(f"source={photos}", "out=found") == 1
    out, err = capsys.readouterr()
    assert [p.name for p in Path("found").iterdir()] == ["b.png"]
    assert str(photos / "a.jpg") in err.splitlines()[0]
    assert err.splitlines()[-1] == "1 of 2 sources could not be read"
    assert "2/2" in out


def test_images_of_the_same_name(model: FakeModel, photos: Path) -> None:
    cv2.imwrite(str(photos / "b.jpg"), np.zeros((32, 48, 3), dtype=np.uint8))
    assert run(f"source={photos}", "out=found", "--save-txt") == 0
    assert sorted(p.name for p in Path("found").glob("*.*")) == ["a.jpg", "b.jpg", "b_2.png"]
    assert sorted(p.stem for p in Path("found/labels").iterdir()) == ["a", "b", "b_2"]


def test_a_video(model: FakeModel, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 5, (48, 32))
    for _ in range(3):
        writer.write(np.full((32, 48, 3), 90, dtype=np.uint8))
    writer.release()
    assert run("source=clip.avi", "out=found", "--save-txt", "--save-json") == 0
    assert "3 frames, 3 bolt, 3 nut" in capsys.readouterr().out
    capture = cv2.VideoCapture("found/clip.mp4")
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert capture.get(cv2.CAP_PROP_FPS) == 5
    labels = sorted(p.name for p in Path("found/labels").iterdir())
    assert labels == ["clip_1.txt", "clip_2.txt", "clip_3.txt"]
    rows = json.loads(Path("found/predictions.json").read_text())
    assert {row["file_name"] for row in rows} == {"clip.avi#1", "clip.avi#2", "clip.avi#3"}


@pytest.mark.parametrize("first", ["clip.avi", "clip_2.png"])
def test_frames_and_pictures_have_files_of_their_own(tmp_path: Path, first: str) -> None:
    image = np.zeros((32, 48, 3), dtype=np.uint8)
    found = FakeModel().found(image)
    with ResultWriter(tmp_path, Wanted(overlays=False, txt=True)) as writer:
        sources = ["clip.avi", "clip_2.png", "deep/clip.png"]
        for name in sorted(sources, key=lambda name: name != first):
            if name == "clip.avi":
                with writer.video(name, Path(name), 25) as add_frame:
                    for _ in range(3):
                        add_frame(image, found)
            else:
                writer.add_image(name, Path(name), image, found)
    assert len(list((tmp_path / "labels").iterdir())) == 5


def test_results_wait_on_the_disk(tmp_path: Path) -> None:
    image = np.zeros((32, 48, 3), dtype=np.uint8)
    found = FakeModel().found(image)
    with ResultWriter(tmp_path, Wanted(overlays=False, json=True, label_studio=True)) as writer:
        tracemalloc.start()
        for i in range(200):
            writer.add_image(f"{i}.png", Path("a.png"), image, found)
        grown = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    rows = json.loads((tmp_path / "predictions.json").read_text())
    tasks = json.loads((tmp_path / "label_studio.json").read_text())
    assert [row["image_id"] for row in rows] == [i + 1 for i in range(200) for _ in range(2)]
    assert len(tasks) == 200
    assert grown < 0.5 * len(json.dumps([rows, tasks]))


def test_a_picture_too_wide_for_its_format(tmp_path: Path) -> None:
    image = np.zeros((2, 65501, 3), dtype=np.uint8)
    nothing = FakeModel().found(image)[:0]
    with ResultWriter(tmp_path, Wanted()) as writer:
        for name in ("a.b.tif", "c.webp"):
            writer.add_image(name, Path(name), image, nothing)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.b.png", "c.png"]
    read = cv2.imread(str(tmp_path / "a.b.png"))
    assert read is not None
    assert read.shape == image.shape


def test_a_damaged_video(
    model: FakeModel, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("clip.mp4").write_bytes(b"no video")
    assert run("source=clip.mp4", "out=found") == 1
    assert "clip.mp4: no video that OpenCV can read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["source=photos", "out=photos"], "photos/a.jpg would replace photos/a.jpg"),
        (["source=photos/a.jpg", "out=."], ""),
        (["source=photos/b.png", "out=."], "photos/b.png would replace b.png"),
        (["source=b.png", "out=."], "b.png would replace b.png"),
        (["source=photos/*.jpg", "out=link"], "photos/a.jpg would replace link/a.jpg"),
        (["source=link", "out=photos"], "link/a.jpg would replace photos/a.jpg"),
        (["source=clip.mp4", "out=."], "clip.mp4 would replace clip.mp4"),
        (["source=photos", "out=photos", "--save-overlays=false"], ""),
        (["source=ds/images", "out=ds", "--save-txt"], "would replace ds/labels/c.txt"),
        (["source=ds/images", "out=ds"], ""),
        (["source=x/crops/nut", "out=x", "--save-crops"], "lies among its crops"),
    ],
)
def test_files_of_the_user_are_not_replaced(
    model: FakeModel,
    photos: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    picture = (photos / "b.png").read_bytes()
    for name in ("b.png", "clip.mp4", "ds/images/c.png", "ds/labels/c.txt", "x/crops/nut/d.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(picture)
    Path("link").symlink_to("photos", target_is_directory=True)
    before = {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()}
    code = run(*words)
    err = capsys.readouterr().err
    assert code == (2 if message else 0)
    assert message in err
    assert {p: p.read_bytes() for p in before} == before


def test_a_graph_gets_as_many_images_as_it_takes(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FakeGraph(FakeModel, GraphModel):
        def __init__(self) -> None:
            FakeModel.__init__(self)
            self.info = replace(INFO, batch=2)

        def run(self, images: object, outputs: object = None) -> dict[str, NDArray[np.uint8]]:
            raise NotImplementedError

    graph = FakeGraph()
    monkeypatch.setattr("crispmask.cli.predict.load", lambda *_, **_settings: graph)
    assert main(["predict", "weights=best.onnx", f"source={photos}"]) == 0
    assert graph.batches == [2]


def test_weights_that_are_missing(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"source={photos}") == 2
    err = capsys.readouterr().err
    assert err.startswith("error: best.pt: ")
    assert err.count("\n") == 1
    assert not Path("runs").exists()


def test_a_label_without_a_name_is_told_by_its_number(
    model: FakeModel, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.names = ("nut",)  # type: ignore[assignment]  # the class says two
    assert run(f"source={photos / 'a.jpg'}", "--save-csv", "out=found") == 0
    assert "a.jpg: 1 1, 1 nut, " in capsys.readouterr().out
