"""Measures a checkpoint, or the predictions of any program, on a dataset."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

from crispmask.data.coco import coco_ground_truth, write_json_atomic
from crispmask.data.coco_results import read_results
from crispmask.data.dataset import ValDataset
from crispmask.data.index import DatasetIndex
from crispmask.data.loader import val_loader
from crispmask.data.paths import ImagePaths
from crispmask.data.scan import build_index
from crispmask.data.set_aside import with_val
from crispmask.data.spec import DatasetSpec, read_spec
from crispmask.engine.device import usable_workers
from crispmask.engine.evaluate import Evaluation, evaluate_fully, predict_batches
from crispmask.engine.page.run import write_val_page
from crispmask.engine.predictions import ImagePredictions
from crispmask.errors import DatasetError
from crispmask.loading import is_graph, load
from crispmask.metrics.coco import CocoMetrics, measure_fully
from crispmask.metrics.comparison import by_image
from crispmask.models.download import Store
from crispmask.models.files import read_file
from crispmask.models.locate import local_path
from crispmask.predict import DEFAULT_IMGSZ, Model
from crispmask.runtime.model import GraphModel

log = logging.getLogger(__name__)

Split = Literal["train", "val", "test"]

LOW_CONF = 0.001
"""Lowest score of an instance that metrics are computed from."""


def validate(
    weights: str | Path,
    data: str | Path,
    imgsz: int | None = None,
    split: Split = "val",
    out: str | Path | None = None,
    batch: int = 8,
    workers: int = 4,
    device: str = "cpu",
    architecture: str | None = None,
    model: str | None = None,
    store: Store | None = None,
    val_fraction: float = 0.0,
    on_batch: Callable[[int, int], None] = lambda num_images, total: None,
) -> CocoMetrics:
    """COCO mask and box metrics at the size of the image files.

    Args:
        weights: a checkpoint, an exported .onnx or .xml, or `coco`.
        data: path to data.yaml; its class names must be those of the checkpoint.
        imgsz: longest side of the input, pixels; None takes what the model was trained with.
        split: which images of the dataset.
        out: folder for metrics.json and predictions.json; None writes nothing.
        batch: images per step.
        workers: processes that load images.
        device: as torch names it.
        architecture: of an MMDetection checkpoint.
        model: its size or official layout.
        store: where downloads are kept; None takes the user's cache folder.
        val_fraction: of the training images that are validated on, where the dataset names none;
            0 takes what the checkpoint was trained with.
        on_batch: called with the images of each batch and of the whole split.

    Raises:
        WeightsError: a checkpoint that cannot be used.
        DatasetError: a dataset that cannot be read, or of other classes.
    """
    store = store or Store()
    spec, paths = _read_split(data, split, val_fraction, weights, store.offline)
    loaded = load(weights, architecture, model, device, store)
    if len(loaded.names) != len(spec.names):
        raise DatasetError(
            f"{spec.file}: {len(spec.names)} classes, but {weights} was trained on "
            f"{len(loaded.names)}: {', '.join(loaded.names)}"
        )
    check_names(weights, loaded.names, spec)
    index = build_index(paths, len(spec.names), workers=None if workers else 0)
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)  # now: a wrong folder is told before the work
    truth = coco_ground_truth(index, spec.names)
    start = time.perf_counter()
    asked, imgsz = imgsz, imgsz or loaded.imgsz  # a graph may have two sides
    found: Iterator[ImagePredictions]
    if isinstance(loaded, Model):
        batches = val_loader(
            ValDataset(index, imgsz),
            batch=batch,
            workers=usable_workers(workers),
            mask_stride=loaded.spec.mask_stride,
            pad_value=loaded.network.pad_value,
        )
        found = chain.from_iterable(
            predict_batches(
                loaded.network,
                batches,
                loaded.network.presets["val"],
                on_batch=lambda num_images: on_batch(num_images, len(index)),
            )
        )
    else:
        found = _predict_graph(loaded, index, asked, lambda: on_batch(1, len(index)))
    if out is None:
        return measure_fully(truth, found, spec.names, imgsz)[0]
    evaluation = evaluate_fully(found, spec.names, truth, imgsz, Path(out))
    write_results(Path(out), evaluation)
    settings = {
        "weights": weights,
        "data": spec.file,
        "architecture": architecture,
        "model": model,
        "imgsz": imgsz if isinstance(loaded, Model) else asked,  # one number is no graph's two
        "split": split,
        "val_fraction": val_fraction or None,
    }
    seconds = time.perf_counter() - start
    facts = {
        "validation": f"{seconds:.1f} s, {len(index) / seconds:.2f} images/s, metrics included",
        "device": device,
    }
    write_val_page(Path(out), evaluation, index, _title(Path(weights)), settings, facts)
    return evaluation.metrics


def validate_predictions(
    predictions: str | Path,
    data: str | Path,
    imgsz: int | None = None,
    split: Split = "val",
    out: str | Path | None = None,
    ids_of: str | Path | None = None,
    image_ids: Literal["auto", "ids", "names"] = "auto",
    val_fraction: float = 0.0,
    workers: int = 4,
) -> CocoMetrics:
    """COCO metrics of a results file of any program, on the same ground truth as `validate`.

    Args:
        predictions: a COCO results file; what its ids may be is told by `read_results`.
        data: path to data.yaml.
        imgsz: longest side of the input of that program, only for the figure in the manner of
            Ultralytics; None takes 640.
        split: which images of the dataset.
        out: folder for metrics.json and predictions.json, the latter with the ids of
            `crispmask convert`; None writes nothing.
        ids_of: a COCO annotation file whose image and category ids the results have.
        image_ids: what numbers mean that can be both ids and file names.
        val_fraction: as of `validate`.
        workers: processes that read the dataset; 0 reads it in the main process.

    Raises:
        DatasetError: a dataset that cannot be read, or a row that cannot be used.
    """
    spec, paths = _read_split(data, split, val_fraction)
    index = build_index(paths, len(spec.names), workers=None if workers else 0)
    truth = coco_ground_truth(index, spec.names)
    results = read_results(Path(predictions), truth, Path(ids_of) if ids_of else None, image_ids)
    found = by_image(sorted(results.rows, key=lambda row: row["image_id"]))  # stable
    imgsz = imgsz or DEFAULT_IMGSZ
    if out is None:
        return measure_fully(truth, found, spec.names, imgsz, results.has_boxes)[0]
    Path(out).mkdir(parents=True, exist_ok=True)
    evaluation = evaluate_fully(found, spec.names, truth, imgsz, Path(out), results.has_boxes)
    write_results(Path(out), evaluation)
    settings = {
        "predictions": predictions,
        "data": spec.file,
        "imgsz": imgsz,
        "split": split,
        "val_fraction": val_fraction or None,
        "ids_of": ids_of,
        "image_ids": image_ids,
    }
    write_val_page(Path(out), evaluation, index, Path(predictions).name, settings, {})
    return evaluation.metrics


def check_names(weights: str | Path, names: Sequence[str], spec: DatasetSpec) -> None:
    """Compares the class names of a model with as many of a dataset; warns of unknown ones.

    Raises:
        DatasetError: the same names in another order: each class would be taken for another.
    """
    different = [i for i, (a, b) in enumerate(zip(names, spec.names, strict=True)) if a != b]
    if not different:
        return
    i = different[0]
    what = f"class {i} is {spec.names[i]}, but {names[i]} in {weights}"
    if sorted(names) == sorted(spec.names):
        raise DatasetError(
            f"{spec.file}: {what}; order the names as {', '.join(names)}, and the labels with them"
        )
    log.warning(
        "%s: %s (%d of %d names differ); right only if both mean the same",
        *(spec.file, what, len(different), len(names)),
    )


def write_results(out: Path, evaluation: Evaluation) -> None:
    """Writes metrics.json and predictions.json into a folder that is there."""
    write_json_atomic(out / "metrics.json", evaluation.metrics.to_json())
    evaluation.predictions.save(out / "predictions.json")


def _title(weights: Path) -> str:
    """Names a checkpoint: that of a run by its run, for all runs call it best.pt."""
    folder = weights.resolve().parent
    return f"{folder.parent.name}, {weights.name}" if folder.name == "weights" else weights.name


def trained_val_fraction(weights: str | Path, offline: bool = False) -> float:
    """The fraction set aside when a checkpoint of ours was trained; 0 if the file does not say."""
    if is_graph(weights) or weights == "coco":
        return 0.0
    config = read_file(local_path(weights, offline)).get("config")
    fraction = config.get("val_fraction", 0.0) if isinstance(config, dict) else 0.0
    return float(fraction) if isinstance(fraction, float | int) else 0.0


def _read_split(
    data: str | Path,
    split: Split,
    val_fraction: float,
    weights: str | Path | None = None,
    offline: bool = False,
) -> tuple[DatasetSpec, ImagePaths]:
    spec = read_spec(data)
    if weights is not None and split != "test" and not spec.val:
        val_fraction = val_fraction or trained_val_fraction(weights, offline)
    if split == "val" or val_fraction > 0:
        spec = with_val(spec, val_fraction)
    paths = {"train": spec.train, "val": spec.val, "test": spec.test}[split]
    if not paths:
        raise DatasetError(f"{spec.file}: no images for --split {split}; name them under {split}:")
    return spec, paths


def _predict_graph(
    model: GraphModel, index: DatasetIndex, imgsz: int | None, on_image: Callable[[], None]
) -> Iterator[ImagePredictions]:
    """Yields id and predictions of each image, as an exported model finds them."""
    if model.info.conf > LOW_CONF:
        log.warning(
            "%s finds only scores from %g: for the metrics of the checkpoint export it with "
            "--conf %g",
            model.path,
            model.info.conf,
            LOW_CONF,
        )
    for i in range(len(index)):
        yield i + 1, model.predict(index.path(i), imgsz=imgsz)[0].to_coco(i + 1)
        on_image()
