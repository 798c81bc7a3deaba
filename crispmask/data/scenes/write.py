"""Writes the sample dataset: images, labels and data.yaml."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.atomic import replacing_folder
from crispmask.data.rings import format_label_line
from crispmask.data.scenes.layout import draw_layout, fine_masks, visible_instances
from crispmask.data.scenes.render import render
from crispmask.data.scenes.shapes import CLASS_NAMES
from crispmask.errors import ConfigError, DatasetError
from crispmask.types import Sample

GENERATOR_VERSION = 2
"""Goes up whenever the same arguments give other labels or images."""

_RECORD = "sample.json"
_JPEG_QUALITY = 92
_SPLITS = ("train", "val")
_README = """\
Sample dataset of crispmask: generated scenes, no photographs.

Made by:   crispmask sample --images {num_images} --imgsz {imgsz} --seed {seed}
Seed:      {seed}
Generator: version {generator}
Images:    {num_train} for training, {num_val} for validation
Classes:   {classes}

Labels describe what can be seen of each object. An object may have several parts and
holes: the parts of one row are filled together by the even-odd rule.
Twigs, ribbons and crumbs are not labelled.
"""


@dataclass(frozen=True)
class _Recipe:
    """Everything that decides about the content of the dataset."""

    num_images: int
    imgsz: int
    seed: int
    val_fraction: float
    generator: int = GENERATOR_VERSION

    def __post_init__(self) -> None:
        for message, wrong in (
            (f"--images must be at least 2, not {self.num_images}", self.num_images < 2),
            (f"--imgsz must be 64 to 4096, not {self.imgsz}", not 64 <= self.imgsz <= 4096),
            (f"--seed must not be negative, not {self.seed}", self.seed < 0),
            (
                f"val_fraction is a fraction from 0 to 1, not {self.val_fraction}",
                not 0 <= self.val_fraction <= 1,
            ),
        ):
            if wrong:
                raise ConfigError(f"cannot make the sample dataset: {message}")

    @property
    def counts(self) -> tuple[int, int]:
        """Images for training and for validation, at least one each."""
        num_val = int(self.num_images * self.val_fraction + 0.5)
        num_val = min(max(num_val, 1), self.num_images - 1)
        return self.num_images - num_val, num_val


def write_sample_dataset(
    out: Path,
    num_images: int = 160,
    imgsz: int = 320,
    seed: int = 0,
    val_fraction: float = 0.25,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes generated, photograph-like scenes as a YOLO dataset.

    The same arguments give the same labels and images, and image number i of a split does not
    depend on how many there are. Nothing is overwritten: a folder that holds this very dataset
    already is used again, any other that is not empty is an error. An interrupted call leaves
    nothing at `out`.

    Args:
        out: the folder to write.
        num_images: of both splits together, at least 2.
        imgsz: longest side of each image, pixels.
        seed: chooses the scenes.
        val_fraction: of the images, for validation.
        progress: called with the number of images written and of all images.

    Returns:
        The path of data.yaml.
    """
    recipe = _Recipe(num_images, imgsz, seed, val_fraction)
    out = Path(out)
    try:
        if not _is_free(out, recipe):
            return out / "data.yaml"
        with replacing_folder(out) as partial:
            _write(partial, recipe, progress)
    except OSError as error:
        reason = error.strerror or error
        raise DatasetError(f"{out}: cannot write the sample dataset: {reason}") from error
    return out / "data.yaml"


def draw_sample(imgsz: int, seed: int, split: str, index: int) -> Sample:
    """Image `index` of a split with what can be seen of its objects."""
    # The outlines have a generator of their own: a change of paint leaves the labels as they are.
    key = (seed, _SPLITS.index(split), index)
    layout = draw_layout(np.random.default_rng((*key, 0)), imgsz, index)
    masks = fine_masks(layout)
    polygons, labels = visible_instances(layout, masks)
    image = render(layout, masks, np.random.default_rng((*key, 1)))
    return Sample(image, polygons, labels, index)


def _write(folder: Path, recipe: _Recipe, progress: Callable[[int, int], None] | None) -> None:
    num_done = 0
    for split, count in zip(_SPLITS, recipe.counts, strict=True):
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for index in range(count):
            sample = draw_sample(recipe.imgsz, recipe.seed, split, index)
            name = f"scene_{index:04d}"
            (images / f"{name}.jpg").write_bytes(_jpeg(sample.image))
            size = (sample.image.shape[0], sample.image.shape[1])
            lines = [
                format_label_line(int(label), parts, size)
                for label, parts in zip(sample.labels, sample.polygons, strict=True)
            ]
            _write_text(labels / f"{name}.txt", "".join(f"{line.rstrip()}\n" for line in lines))
            num_done += 1
            if progress is not None:
                progress(num_done, recipe.num_images)
    num_train, num_val = recipe.counts
    readme = _README.format(
        **asdict(recipe), num_train=num_train, num_val=num_val, classes=", ".join(CLASS_NAMES)
    )
    _write_text(folder / "README.txt", readme)
    names = "".join(f"  {label}: {name}\n" for label, name in enumerate(CLASS_NAMES))
    _write_text(folder / "data.yaml", f"train: images/train\nval: images/val\nnames:\n{names}")
    record = {**asdict(recipe), "files": _checksums(folder)}
    _write_text(folder / _RECORD, json.dumps(record, indent=1) + "\n")


def _write_text(file: Path, text: str) -> None:
    file.write_bytes(text.encode())  # the same bytes on every system


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    settings = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return cv2.imencode(".jpg", image[..., ::-1], settings)[1].tobytes()


def _is_free(out: Path, recipe: _Recipe) -> bool:
    """True if the dataset can be written to `out`, False if it is there already."""
    if not out.exists():
        return True
    if not out.is_dir():
        raise DatasetError(f"{out}: is a file; name a new folder with --out")
    if not any(out.iterdir()):
        return True
    try:
        record = json.loads((out / _RECORD).read_text(encoding="utf-8"))
        files = record.pop("files")
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise DatasetError(
            f"{out}: is not empty and nothing is overwritten; name a new folder with --out"
        ) from None
    if record != asdict(recipe):
        raise DatasetError(
            f"{out}: holds a sample dataset of other arguments; name a new folder with --out"
        )
    if files != _checksums(out):
        raise DatasetError(
            f"{out}: its files were changed since they were generated; delete the folder or "
            "name a new one with --out"
        )
    return False


def _checksums(folder: Path) -> dict[str, int]:
    """CRC-32 of data.yaml and of all images and labels, by relative path."""
    files = [folder / "data.yaml"]
    for pattern in ("images/*/*", "labels/*/*.txt"):
        files += folder.glob(pattern)
    return {
        file.relative_to(folder).as_posix(): zlib.crc32(file.read_bytes())
        for file in sorted(files)
        if file.is_file()
    }
