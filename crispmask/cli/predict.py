"""`crispmask predict`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crispmask.cli.arguments import parse
from crispmask.cli.device import torch_device
from crispmask.cli.folders import free_folder
from crispmask.cli.progress import report_downloads, show_progress
from crispmask.cli.sources import Video, find_sources, is_video
from crispmask.cli.writer import ResultWriter
from crispmask.data.images import read_image
from crispmask.errors import ConfigError, DatasetError, SourceError
from crispmask.loading import is_graph, load
from crispmask.types import Instances

if TYPE_CHECKING:
    from numpy import uint8
    from numpy.typing import NDArray

    from crispmask.predict import Model
    from crispmask.runtime import OnnxModel, OpenVinoModel

    AnyModel = Model | OnnxModel | OpenVinoModel


@dataclass(frozen=True)
class PredictConfig:
    """Finds the instances in images and videos and draws them."""

    weights: str
    """Path of a checkpoint or an exported .onnx or .xml; or coco, with architecture and model."""
    source: str
    """An image, a video, a folder, a glob pattern in quotes, or a .txt list of paths."""
    conf: float = 0.25
    """Lowest score of an instance that is kept."""
    imgsz: int | Literal["auto"] = "auto"
    """Longest image side given to the network, pixels; auto: as trained."""
    max_det: int = 100
    """Most instances per image."""
    save_txt: bool = False
    """Write YOLO polygons to labels/, one file per image."""
    save_json: bool = False
    """Write predictions.json, COCO results with masks at the size of the image."""
    out: str = "auto"
    """Folder of the results; auto: runs/predict, numbered if taken."""
    device: str = "auto"
    """auto, cpu, mps, cuda, or a GPU number."""
    architecture: str = ""
    """Of a checkpoint of MMDetection: solov2 or rtmdet-ins; empty: found by its tensors."""
    model: str = ""
    """Of a checkpoint of MMDetection: its layout, such as tiny or r50; empty: likewise."""

    def __post_init__(self) -> None:
        if not 0 <= self.conf <= 1:
            raise ConfigError(f"--conf is a score from 0 to 1, not {self.conf}")
        if self.imgsz != "auto" and self.imgsz < 32:
            raise ConfigError(f"--imgsz must be at least 32 or auto, not {self.imgsz}")
        if self.max_det < 1:
            raise ConfigError(f"--max-det must be at least 1, not {self.max_det}")


def predict(argv: Sequence[str], prog: str) -> int:
    """Draws and saves the instances of every image; one that cannot be read does not stop it.

    Returns:
        Exit code: 0 done, 1 some sources could not be read.
    """
    config = parse(PredictConfig, argv, prog)
    sources = find_sources(config.source)
    model = _load(config)
    out = free_folder(Path("runs/predict")) if config.out == "auto" else Path(config.out)
    writer = ResultWriter(out, save_txt=config.save_txt, save_json=config.save_json)
    num_failed = 0
    for number, path in enumerate(sources, 1):
        start = time.perf_counter()
        try:
            found = _predict_source(model, path, config, writer)
        except (DatasetError, SourceError) as error:
            print(f"error: {error}", file=sys.stderr)
            num_failed += 1
            continue
        seconds = time.perf_counter() - start
        print(f"{number}/{len(sources)} {path}: {found}, {seconds * 1000:.0f} ms")
    writer.finish()
    print(f"results in {out}")
    if num_failed:
        print(f"{num_failed} of {len(sources)} sources could not be read", file=sys.stderr)
    return 1 if num_failed else 0


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


def _predict_source(
    model: AnyModel, path: Path, config: PredictConfig, writer: ResultWriter
) -> str:
    """Handles one file; returns what was found in words."""
    if not is_video(path):
        image = read_image(path)
        instances = _predict_image(model, image, config)
        writer.add_image(path, image, instances)
        return _in_words(_count(instances))
    video = Video(path)
    counts, num_frames = Counter[str](), 0
    with writer.video(path, video.fps) as add_frame:
        for frame in video:
            instances = _predict_image(model, frame, config)
            add_frame(frame, instances)
            counts += _count(instances)
            num_frames += 1
    if num_frames == 0:
        raise SourceError(f"{path}: a video without a frame that OpenCV can read")
    return f"{num_frames} frames, {_in_words(counts)}"


def _predict_image(model: AnyModel, image: NDArray[uint8], config: PredictConfig) -> Instances:
    imgsz = None if config.imgsz == "auto" else config.imgsz
    return model.predict([image], conf=config.conf, imgsz=imgsz, max_det=config.max_det)[0]


def _count(instances: Instances) -> Counter[str]:
    return Counter(instances.names[label] for label in instances.labels)


def _in_words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"
