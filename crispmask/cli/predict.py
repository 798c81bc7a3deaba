"""`crispmask predict`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.progress import Progress, TaskID

from crispmask.cli.arguments import parse
from crispmask.cli.device import torch_device
from crispmask.cli.folders import free_folder
from crispmask.cli.overwrite import check_out
from crispmask.cli.progress import report_downloads, show_progress
from crispmask.cli.writer import ResultWriter, Wanted
from crispmask.errors import DatasetError, SourceError
from crispmask.inference.run import Find, in_batches
from crispmask.inference.settings import Settings
from crispmask.loading import is_graph, load
from crispmask.runtime.model import GraphModel
from crispmask.sources import Image, Picture, Source, Video, find_sources
from crispmask.types import Instances, class_name

if TYPE_CHECKING:
    from crispmask.predict import Model
    from crispmask.runtime import OnnxModel, OpenVinoModel

    AnyModel = Model | OnnxModel | OpenVinoModel


@dataclass(frozen=True)
class PredictConfig:
    """Finds the instances in images and videos and draws them."""

    weights: str
    """Path of a checkpoint or an exported .onnx or .xml; or coco, with architecture and model."""
    source: str
    """An image, video, folder, glob in quotes, .txt list, URL, stream, camera number, or - for
    standard input."""
    conf: float = 0.25
    """Lowest score of an instance that is kept."""
    imgsz: int | Literal["auto"] = "auto"
    """Longest image side given to the network, pixels; auto: as trained."""
    max_det: int | Literal["auto"] = "auto"
    """Most instances per image; auto: 100, or what a graph was exported with."""
    iou: float | Literal["auto"] = "auto"
    """Instances of one class that overlap more are one: boxes of rtmdet-ins, masks of solov2."""
    classes: str = ""
    """Class names or numbers that are kept, separated by commas; empty: all."""
    flip: bool = False
    """Look at the mirrored image, too, and merge what both views have."""
    tile: int = 0
    """Side of square tiles that large images are cut into, pixels; 0: not."""
    tile_overlap: float = 0.2
    """Share of a tile, at least, that its neighbour sees as well."""
    batch: int = 1
    """Images, frames or tiles given to the network together; faster on a GPU."""
    save_overlays: bool = True
    """Write images and videos with the instances drawn."""
    save_txt: bool = False
    """Write YOLO polygons to labels/, one file per image."""
    save_json: bool = False
    """Write predictions.json, COCO results with masks at the size of the image."""
    save_csv: bool = False
    """Write predictions.csv, one row per instance."""
    save_crops: bool = False
    """Write each instance to crops/, cut out along its mask, as PNG with alpha."""
    save_label_studio: bool = False
    """Write label_studio.json, tasks with predictions to correct, and label_config.xml."""
    out: str = "auto"
    """Folder of the results; auto: runs/predict, numbered if taken."""
    device: str = "auto"
    """auto, cpu, mps, cuda, or a GPU number."""
    architecture: str = ""
    """Of a checkpoint of MMDetection: solov2 or rtmdet-ins; empty: found by its tensors."""
    model: str = ""
    """Of a checkpoint of MMDetection: its layout, such as tiny or r50; empty: likewise."""

    def __post_init__(self) -> None:
        self.settings()

    def settings(self) -> Settings:
        """What the model is asked for.

        Raises:
            ConfigError: a value that cannot work, with its flag.
        """
        classes = [name.strip() for name in self.classes.split(",") if name.strip()]
        return Settings(
            conf=self.conf,
            imgsz=None if self.imgsz == "auto" else self.imgsz,
            max_det=None if self.max_det == "auto" else self.max_det,
            iou=None if self.iou == "auto" else self.iou,
            classes=classes or None,
            flip=self.flip,
            tile=self.tile or None,
            tile_overlap=self.tile_overlap,
            batch=self.batch,
        )

    def wanted(self) -> Wanted:
        """Which results are written."""
        return Wanted(
            self.save_overlays,
            self.save_txt,
            self.save_json,
            self.save_csv,
            self.save_crops,
            self.save_label_studio,
        )


def predict(argv: Sequence[str], prog: str) -> int:
    """Draws and saves the instances of every image; one that cannot be read does not stop it.

    Returns:
        Exit code: 0 done, 1 some sources could not be read.
    """
    config = parse(PredictConfig, argv, prog)
    sources = find_sources(config.source)
    out = free_folder(Path("runs/predict")) if config.out == "auto" else Path(config.out)
    check_out(out, sources, config.wanted())
    model = _load(config)
    find = model.finder(config.settings())
    batch = model.batch(config.settings()) if isinstance(model, GraphModel) else config.batch
    with ResultWriter(out, config.wanted(), model.names) as writer, show_progress() as progress:
        run = _Run(find, writer, progress, len(sources), batch)
        for number, source in enumerate(sources, 1):
            run.take(number, source)
        run.flush()
    print(f"results in {out}")
    if run.num_failed:
        failed = f"{run.num_failed} of {len(sources)} sources could not be read"
        print(failed, file=sys.stderr)
    return 1 if run.num_failed else 0


def _load(config: PredictConfig) -> AnyModel:
    if is_graph(config.weights):
        return load(config.weights, device=config.device)
    from crispmask.models.download import Store  # torch takes seconds

    with show_progress() as progress:
        return load(
            config.weights,
            config.architecture or None,
            config.model or None,
            torch_device(config.device),
            Store(on_progress=report_downloads(progress)),
        )


class _Run:
    """Takes sources one after the other; pictures wait until a batch is complete."""

    def __init__(
        self, find: Find, writer: ResultWriter, progress: Progress, total: int, batch: int
    ) -> None:
        self._find = find
        self._writer = writer
        self._progress = progress
        self._total = total
        self._batch = batch
        self._waiting: list[tuple[int, Picture, Image]] = []
        self._bar = progress.add_task("images", total=total, visible=total > 1)
        self.num_failed = 0

    def take(self, number: int, source: Source) -> None:
        """Handles a source, or lets it wait for its batch; tells what cannot be read."""
        try:
            if isinstance(source, Video):
                self.flush()
                self._take_video(number, source)
            else:
                self._waiting.append((number, source, source.read()))
                if len(self._waiting) == self._batch:
                    self.flush()
        except (DatasetError, SourceError) as error:
            print(f"error: {error}", file=sys.stderr)
            self._progress.advance(self._bar)
            self.num_failed += 1

    def flush(self) -> None:
        """Handles the pictures that wait."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        start = time.perf_counter()
        found = self._find([image for *_, image in waiting])
        ms = (time.perf_counter() - start) * 1000 / len(waiting)
        for (number, source, image), instances in zip(waiting, found, strict=True):
            self._writer.add_image(source.name, source.path, image, instances)
            self._tell(number, source, _in_words(_count(instances)), ms)

    def _take_video(self, number: int, video: Video) -> None:
        counts, num_frames, start = Counter[str](), 0, time.perf_counter()
        with (
            video.open() as frames,
            self._writer.video(video.name, video.path, frames.fps) as add_frame,
            self._frame_bar(video, frames.total) as bar,
        ):
            for some in in_batches(frames, self._batch):
                for frame, instances in zip(some, self._find(some), strict=True):
                    add_frame(frame, instances)
                    counts += _count(instances)
                    num_frames += 1
                    self._progress.advance(bar)
        if num_frames == 0:
            raise SourceError(f"{video.name}: a video without a frame that OpenCV can read")
        ms = (time.perf_counter() - start) * 1000 / num_frames
        self._tell(number, video, f"{num_frames} frames, {_in_words(counts)}", ms)

    @contextmanager
    def _frame_bar(self, video: Video, total: int) -> Iterator[TaskID]:
        task = self._progress.add_task(video.path.name, total=total or None)
        try:
            yield task
        finally:
            self._progress.remove_task(task)

    def _tell(self, number: int, source: Source, found: str, ms: float) -> None:
        per_frame = " per frame" if isinstance(source, Video) else ""
        print(f"{number}/{self._total} {source.name}: {found}, {ms:.0f} ms{per_frame}")
        self._progress.advance(self._bar)


def _count(instances: Instances) -> Counter[str]:
    return Counter(class_name(instances.names, label) for label in instances.labels)


def _in_words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"
