"""Builds the forms, lets them take turns, and collects what they say."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crispmask.bench.config import FORMS, BenchmarkConfig
from crispmask.bench.forms import PARTS
from crispmask.errors import ConfigError, CrispmaskError

WARM_UP = 3
"""Images before the first one that counts."""

LOW_CONF = 0.001
"""Lowest score of an instance that mAP is computed from."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """What was measured of one form.

    Attributes:
        form: of the model.
        median_ms: of an image, from pixels to instances at its size.
        p95_ms: 95 of a hundred images take at most this long.
        per_second: images per second, one at a time.
        memory_mb: peak of the process, with everything it loads.
        parts_ms: median of each of `PARTS`.
        instances: found per image.
        mask_map: mask mAP50-95, where there is a dataset.
        box_map: the same of boxes.
        note: why it was not measured.
    """

    form: str
    median_ms: float = 0.0
    p95_ms: float = 0.0
    per_second: float = 0.0
    memory_mb: float = 0.0
    parts_ms: tuple[float, ...] = ()
    instances: float = 0.0
    mask_map: float | None = None
    box_map: float | None = None
    note: str = ""


class Worker:
    """A process of `crispmask.bench.worker`; a context manager."""

    def __init__(self, setup: dict[str, Any]) -> None:
        environment = dict(os.environ)
        if setup["threads"]:
            environment["OMP_NUM_THREADS"] = str(setup["threads"])
        self.form = str(setup["name"])
        # A file, because what nobody reads from a pipe stops the process once it is full.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", "crispmask.bench.worker", json.dumps(setup)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def answer(self, request: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer to a request; to none, that it is ready.

        Raises:
            CrispmaskError: the process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            if request is not None:
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.communicate()
            self._errors.seek(0)
            raise CrispmaskError(last_error(self._errors.read())[:200])
        return json.loads(line)


def last_error(text: str) -> str:
    """The line of a traceback that names the error, or else the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[A-Za-z_][\w.]*(Error|Exception)\b", line)]
    return (named or lines or ["it ended without a word"])[-1]


def benchmark(config: BenchmarkConfig, images: Sequence[Path], tell: Tell) -> list[Row]:
    """One row per form, in their order, the one of `versus` last.

    Args:
        config: settings.
        images: files the times are of; with `data` all its validation images.
        tell: told what happens.

    Raises:
        WeightsError: a checkpoint that cannot be used.
        ConfigError: a model to compare with that cannot be used.
    """
    from crispmask.predict import load

    model = load(config.weights)
    imgsz = model.imgsz if config.imgsz == "auto" else config.imgsz
    imgsz = -(-imgsz // 32) * 32
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.pt"
        model.save(weights)
        setups, rows = _setups(config, weights, imgsz, config.conf, tell)
        timed = [str(p) for p in images[:: max(1, len(images) // config.images)]][: config.images]
        rows |= _time(setups, timed, config.rounds, tell)
        if config.data:
            low, _ = _setups(config, weights, imgsz, LOW_CONF, tell)
            _add_map(rows, low, config.data, tell)
    return list(rows.values())


def _setups(
    config: BenchmarkConfig, weights: Path, imgsz: int, conf: float, tell: Tell
) -> tuple[list[dict[str, Any]], dict[str, Row]]:
    """What each worker needs to know, and rows of the forms that cannot be run."""
    setups, rows = [], {}
    for form in config.chosen():
        packages, extra = FORMS[form]
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        rows[form] = Row(form)
        if missing:
            rows[form] = Row(form, note=f"needs {', '.join(missing)}: pip install '{extra}'")
            continue
        path = weights
        if form in ("onnx", "openvino"):
            tell(f"exporting {form}")
            try:
                path = _export(form, weights, imgsz, conf)
            except CrispmaskError as error:
                rows[form] = Row(form, note=str(error))
                continue
        setups.append(_setup(form, form, path, imgsz, conf, config.threads))
    if config.versus:
        path = _versus_graph(config, imgsz, weights.parent, tell)
        name = Path(config.versus).stem
        rows[name] = Row(name)
        setups.append(_setup(name, "yolo", path, imgsz, conf, config.threads))
    return setups, rows


def _setup(
    name: str, form: str, path: Path, imgsz: int, conf: float, threads: int
) -> dict[str, Any]:
    return {
        "name": name,
        "form": form,
        "path": str(path),
        "imgsz": imgsz,
        "conf": conf,
        "threads": threads,
    }


def _export(form: str, weights: Path, imgsz: int, conf: float) -> Path:
    from crispmask.export.config import SUFFIXES, ExportConfig
    from crispmask.export.run import export

    path = weights.with_name(f"{form}_{conf:g}{SUFFIXES[form]}")
    kind: Any = form
    settings = ExportConfig(str(weights), kind, str(imgsz), conf=conf, out=str(path), images=1)
    return export(settings).path


def _versus_graph(config: BenchmarkConfig, imgsz: int, folder: Path, tell: Tell) -> Path:
    """The ONNX file of the model to compare with; .pt and .yaml are exported by its own package."""
    path = Path(config.versus)
    if path.suffix == ".onnx":
        if not path.is_file():
            raise ConfigError(f"--versus {path}: no such file")
        return path
    if path.suffix not in (".pt", ".yaml"):
        raise ConfigError(f"--versus {path}: a .onnx, .pt or .yaml file is wanted")
    target = (folder / path.name).with_suffix(".onnx")
    if target.is_file():
        return target
    python = config.versus_python or sys.executable
    command = Path(python).with_name("yolo")
    if not command.is_file():
        raise ConfigError(
            f"--versus {path}: {command} is missing; pip install 'crispmask[yolo]', or name the "
            "Python of an environment that has it by --versus-python"
        )
    tell(f"exporting {path.name}")
    source = folder / path.name
    if path.is_file():
        source.write_bytes(path.read_bytes())  # it writes beside the file
    words = [str(command), "export", f"model={source if path.is_file() else path.name}"]
    words += ["format=onnx", f"imgsz={imgsz}", "simplify=False", "dynamic=False"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder)
    if not target.is_file():
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["nothing was written"]
        raise ConfigError(f"--versus {path}: the export failed ({last[0][:200]})")
    return target


def _time(
    setups: Sequence[dict[str, Any]], images: list[str], rounds: int, tell: Tell
) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    times: dict[str, list[list[float]]] = {}
    found: dict[str, int] = {}
    with ExitStack() as stack:
        workers = []
        for setup in setups:
            worker = stack.enter_context(Worker(setup))
            try:
                worker.answer()
                warm = (images * WARM_UP)[: max(WARM_UP, 1)]
                worker.answer({"do": "time", "images": warm})
            except CrispmaskError as error:
                rows[worker.form] = Row(worker.form, note=str(error))
                continue
            workers.append(worker)
            times[worker.form] = []
        for turn in range(rounds):
            tell(f"turn {turn + 1} of {rounds}")
            for worker in tuple(workers):
                try:
                    answer = worker.answer({"do": "time", "images": images})
                except CrispmaskError as error:
                    rows[worker.form] = Row(worker.form, note=str(error))
                    workers.remove(worker)
                    continue
                times[worker.form] += answer["ms"]
                found[worker.form] = answer["instances"]
        for worker in workers:
            ms = np.array(times[worker.form])  # (runs, parts)
            total = ms.sum(1)
            rows[worker.form] = Row(
                worker.form,
                float(np.median(total)),
                float(np.percentile(total, 95)),
                float(1000 / total.mean()),
                float(worker.answer({"do": "memory"})["mb"]),
                tuple(np.median(ms, axis=0).tolist()),
                found[worker.form] / len(images),
            )
    return rows


def _add_map(rows: dict[str, Row], setups: Sequence[dict[str, Any]], data: str, tell: Tell) -> None:
    """Measures each form on the validation images with one evaluator."""
    from crispmask.data.coco import coco_ground_truth
    from crispmask.data.scan import build_index
    from crispmask.data.spec import read_spec
    from crispmask.metrics.coco import evaluate_coco

    spec = read_spec(data)
    index = build_index(spec.val, len(spec.names), workers=0)
    truth = coco_ground_truth(index, spec.names)
    for setup in setups:
        row = rows[setup["name"]]
        if row.note:
            continue
        tell(f"mAP of {row.form}")
        predictions: list[dict[str, Any]] = []
        with Worker(setup) as worker:
            worker.answer()
            for i in range(len(index)):
                request = {"do": "find", "images": [str(index.path(i))], "first": i + 1}
                predictions += worker.answer(request)["rows"]
        metrics = evaluate_coco(truth, predictions, spec.names).to_json()
        rows[row.form] = Row(
            **{
                **asdict(row),
                "mask_map": metrics["mask/mAP50-95"],
                "box_map": metrics["box/mAP50-95"],
            }
        )


def to_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows for programs; the parts by name."""
    return [
        {**asdict(row), "parts_ms": dict(zip(PARTS, row.parts_ms, strict=False))} for row in rows
    ]
