"""A process that runs one form of a model and answers requests, one JSON per line.

    python -m crispmask.bench.worker '{"form": "onnx", "path": "best.onnx", ...}'

{"do": "time", "images": [...]} runs them and answers the milliseconds of the parts of each;
{"do": "find", "images": [...]} answers COCO results, images numbered from `first`;
{"do": "memory"} answers the peak of the process in MB.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from crispmask.bench.forms import Form, GraphForm, TorchForm
from crispmask.sources import Image


def main() -> None:
    """Reads requests until there are none."""
    setup = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    threads = setup["threads"]
    if threads and hasattr(os, "sched_setaffinity"):  # for every library at once
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    form = _form(setup)
    images: dict[str, Image] = {}
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(form, json.loads(line), images)), file=answers, flush=True)


def _form(setup: dict[str, Any]) -> Form:
    path, conf, threads = setup["path"], setup["conf"], setup["threads"]
    match setup["form"]:
        case "pytorch" | "compiled" as form:
            import torch

            if threads:
                torch.set_num_threads(threads)
            return TorchForm(path, setup["imgsz"], conf, form == "compiled")
        case "onnx":
            from crispmask.runtime import OnnxModel

            return GraphForm(OnnxModel(path, "cpu", threads))
        case "openvino":
            from crispmask.runtime import OpenVinoModel

            return GraphForm(OpenVinoModel(path, "cpu"))
        case "yolo":
            from crispmask.bench.yolo import YoloForm

            return YoloForm(Path(path), conf, threads)
    raise ValueError(setup["form"])


def _answer(form: Form, request: dict[str, Any], images: dict[str, Image]) -> dict[str, Any]:
    from crispmask.data.images import read_image

    if request["do"] == "memory":
        return {"mb": _peak_mb()}
    if request["do"] == "find":
        rows = []
        for number, path in enumerate(request["images"], request["first"]):
            rows += form.run(read_image(path))[0].to_coco(number)
        return {"rows": rows}
    for path in request["images"]:
        if path not in images:
            images[path] = read_image(path)
    found = [form.run(images[path]) for path in request["images"]]
    return {
        "ms": [[second * 1000 for second in seconds] for _, seconds in found],
        "instances": sum(len(instances) for instances, _ in found),
    }


def _peak_mb() -> float:
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


if __name__ == "__main__":
    main()
