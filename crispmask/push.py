"""A trained model as a repository of the Hugging Face Hub."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

from crispmask.models.hub import CARD, CONFIG, SCHEME, WEIGHTS, check_repository, upload
from crispmask.models.locate import local_path
from crispmask.predict import Model, load
from crispmask.version import __version__

log = logging.getLogger(__name__)


def push(
    weights: str | Path,
    to: str,
    private: bool = False,
    licence: str = "",
    message: str = "Upload a crispmask model",
) -> str:
    """Pushes a checkpoint, its description and a model card.

    Args:
        weights: a checkpoint; of the best one of a run, its metrics.json goes into the card.
        to: user/name.
        private: of a repository that is made; one that exists stays as it is.
        licence: as the Hub names it, such as apache-2.0; empty: none is stated.
        message: of the commit.

    Returns:
        The address of the repository for people.

    Raises:
        WeightsError: a checkpoint that cannot be read, or a repository that cannot be written.
    """
    name = check_repository(to)
    model = load(weights)
    metrics = metrics_beside(weights)
    with tempfile.TemporaryDirectory() as folder:
        write_repository(model, name, Path(folder), licence, metrics)
        return upload(Path(folder), name, private, message)


def write_repository(
    model: Model, name: str, folder: Path, licence: str = "", metrics: dict[str, Any] | None = None
) -> None:
    """The files of the repository.

    Args:
        model: to be published.
        name: user/name.
        folder: they are written to.
        licence: as the Hub names it.
        metrics: content of a metrics.json.
    """
    model.save(folder / WEIGHTS)
    config = {
        "crispmask": __version__,
        "architecture": model.spec.architecture,
        "model": model.spec.model,
        "names": list(model.names),
        "imgsz": model.imgsz,
        "network": model.spec.to_dict(),
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False), "utf-8")
    (folder / CARD).write_text(model_card(model, name, licence, metrics or {}), "utf-8")


def model_card(model: Model, name: str, licence: str, metrics: dict[str, Any]) -> str:
    """The README.md of a repository: what the model is, how to use it, what was measured."""
    spec = model.spec
    header = ["library_name: crispmask", "pipeline_tag: image-segmentation"]
    header += ["tags:", "- instance-segmentation", f"- {spec.architecture}"]
    if licence:
        header.insert(0, f"license: {licence}")
    parameters = sum(p.numel() for p in model.network.parameters())
    lines = [
        *("---", *header, "---", ""),
        f"# {name.split('/')[1]}",
        "",
        f"{spec.architecture} {spec.model} for instance segmentation, "
        f"{parameters / 1e6:.1f} M parameters, trained at {model.imgsz} px with crispmask "
        f"{__version__}.",
        "",
        f"Classes: {', '.join(model.names)}",
        "",
        *("```python", "import crispmask", ""),
        f'model = crispmask.load("hf://{name}")',
        'instances = model.predict("image.jpg")[0]',
        "print(instances.scores, instances.labels, instances.masks.shape)",
        *("```", ""),
    ]
    rows = [(key, value) for key, value in metrics.items() if isinstance(value, float)]
    rows = [(key, value) for key, value in rows if key.startswith(("mask/", "box/"))]
    if rows:
        lines += ["## Validation", "", "COCO metrics at native resolution.", ""]
        lines += ["| metric | value |", "|---|---|"]
        lines += [f"| {key} | {value:.3f} |" for key, value in rows if value >= 0]
        lines.append("")
    return "\n".join(lines)


def metrics_beside(weights: str | Path) -> dict[str, Any]:
    """metrics.json of RUN, which are those of RUN/weights/best.pt, if there is one."""
    if str(weights).startswith(SCHEME):
        return {}
    path = local_path(weights)
    file = path.parent.parent / "metrics.json"
    if path.parent.name != "weights" or path.stem != "best" or not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        log.warning("%s: damaged (%s), the model card is written without metrics", file, error)
        return {}
    return content if isinstance(content, dict) else {}
