"""Where a dataset is described: data.yaml, or what exports without one hold in its place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from crispmask.data.places import as_path
from crispmask.data.spec_problems import Reporter
from crispmask.errors import DatasetError

_NAMES_FILES = ("classes.txt", "obj.names")
"""Files with a class name per line, beside a folder `images`; Label Studio writes the first."""

_COCO_FILES = (
    *("annotations/instances_train*.json", "annotations/instances_default.json"),
    *("train/_annotations.coco.json", "result.json"),
)
"""Where COCO, CVAT, Roboflow and Label Studio put a COCO file."""

VAL_KEYS = ("val", "validation", "valid")
"""How the images for validation are called."""


def find_source(data: str | Path) -> Path:
    """The file that describes a dataset.

    Args:
        data: that file, which may be a COCO file, or its folder. In a folder data.yaml counts;
            else the only YAML file; else obj.data of Darknet and CVAT; else a list of class names;
            else a COCO file.
    """
    path = Path(os.path.expanduser(data))
    if not path.is_dir():
        return path
    if (path / "data.yaml").exists():
        return path / "data.yaml"
    written = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
    others = [path / name for name in ("obj.data", *_NAMES_FILES)]
    if len(written) == 1:
        return written[0]
    others += [file for pattern in _COCO_FILES for file in sorted(path.glob(pattern))]
    return next((file for file in others if file.is_file()), path / "data.yaml")


def read_source(reporter: Reporter) -> dict[str, Any]:
    """The keys of the file of `reporter`, whose lines it is told.

    Values are texts, lists and mappings of texts.

    Raises:
        DatasetError: missing, no text or no YAML.
    """
    file = reporter.file
    if file.name in _NAMES_FILES:
        return {"names": _lines(file), **_splits_beside(file.parent)}
    if file.suffix == ".data":
        return _read_obj_data(reporter)
    if file.suffix.lower() == ".json":
        return {"train": file.name, **_coco_files_beside(file)}
    return _read_yaml(reporter)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DatasetError(
            f"{file}: no such file; give the path of a data.yaml or of its folder"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{file}: cannot be read as text ({error}); give the path of a data.yaml"
        ) from error


def _lines(file: Path) -> list[str]:
    return [line.strip() for line in _text(file).splitlines() if line.strip()]


def _splits_beside(folder: Path) -> dict[str, str]:
    """The folders of images of an export that names none."""
    names = [name for name in ("train", *VAL_KEYS) if (folder / "images" / name).is_dir()]
    if len(names) > 1 and names[0] == "train":
        return {"train": "images/train", "val": f"images/{names[1]}"}
    return {"train": "images"}


def _coco_files_beside(file: Path) -> dict[str, str]:
    """The COCO file for validation that belongs to one for training."""
    for key in VAL_KEYS:
        for other in (
            file.with_name(file.name.replace("train", key)),
            file.parent.with_name(file.parent.name.replace("train", key)) / file.name,
        ):
            if other != file and other.is_file():
                return {"val": os.path.relpath(other, file.parent)}
    return {}


def _read_obj_data(reporter: Reporter) -> dict[str, Any]:
    """Rows such as `names = obj.names`, as Darknet has them."""
    values: dict[str, Any] = {}
    for number, line in enumerate(_text(reporter.file).splitlines(), start=1):
        key, equals, value = (part.strip() for part in line.partition("="))
        if equals and key in ("train", "names", *VAL_KEYS):
            values[key] = value
            reporter.lines[key] = number
    folder = reporter.file.parent
    if "names" in values:
        name = as_path(values["names"])
        # Paths begin with a folder data/ that exports of CVAT do not have.
        places = [folder / name, folder / name.name]
        values["names"] = _lines(next((p for p in places if p.is_file()), places[0]))
    for key in ("train", *VAL_KEYS):
        if key in values and not (folder / as_path(values[key])).exists():
            values[key] = values[key].removeprefix("data/")
    return values


def _read_yaml(reporter: Reporter) -> dict[str, Any]:
    file = reporter.file
    text = _text(file)
    # The base loader makes no object, and takes every value as the text that is written: a
    # class named `no` or `1e3` stays one.
    try:
        loader = yaml.BaseLoader(text)
        node = loader.get_single_node()
        keys = [key for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        values = loader.construct_document(node) if keys else {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DatasetError(
            f"{file}:{line}: not YAML, {error.problem}; check colons, indents and quotes"
        ) from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise DatasetError(f"{file}: not YAML, {reason}; save it as text") from error
    if not keys:
        raise DatasetError(f"{file}: no keys; it needs train, val and names")
    for key in keys:
        line = key.start_mark.line + 1
        first = reporter.lines.get(key.value)
        reporter.lines[key.value] = line
        if first is not None:
            reporter.report(
                "key", f"'{key.value}' is there twice, first in line {first}; remove one", key.value
            )
    return values


def is_none(value: Any) -> bool:
    """Whether a key has no value."""
    return value is None or (isinstance(value, str) and value.strip() in ("", "~", "null", "None"))
