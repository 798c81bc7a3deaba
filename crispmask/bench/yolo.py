"""YOLO segmentation models as ONNX files, to compare with.

The graph takes (1, 3, H, W) RGB from 0 to 1. It returns (1, 4 + K + 32, A): of each of A places
the box as centre and size in input pixels, the score of each class and 32 coefficients; and
(1, 32, H / 4, W / 4): maps whose sum, weighted by the coefficients, is the mask logit. A mask ends
at its box.
"""

from __future__ import annotations

import ast
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.bench.forms import Form
from crispmask.errors import ConfigError
from crispmask.geometry.letterbox import fit_size, pad_image, resize_image
from crispmask.geometry.mask_runs import array_if_small, runs_of
from crispmask.sources import Image
from crispmask.types import Instances, Size

NUM_COEFFICIENTS = 32
IOU = 0.7
MAX_DET = 100


class YoloForm(Form):
    """A YOLO segmentation model in ONNX Runtime.

    Args:
        path: the .onnx file, without NMS inside.
        conf: lowest score.
        threads: of one operation; 0 takes all cores.
    """

    def __init__(self, path: Path, conf: float, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
        shape = self._session.get_inputs()[0].shape
        if len(self._session.get_outputs()) != 2 or not isinstance(shape[-1], int):
            raise ConfigError(f"{path}: not a YOLO segmentation model of a fixed size without NMS")
        self._input = self._session.get_inputs()[0].name
        self._size: Size = (int(shape[2]), int(shape[3]))
        self._conf = conf
        names = self._session.get_modelmeta().custom_metadata_map.get("names", "{}")
        self._names = tuple(str(name) for name in ast.literal_eval(names).values())

    def run(self, image: Image) -> tuple[Instances, list[float]]:
        """See `Form.run`."""
        times = [time.perf_counter()]
        size = (image.shape[0], image.shape[1])
        valid = fit_size(size, self._size)
        padded = pad_image(resize_image(image, valid), self._size, (114, 114, 114))
        x = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], dtype=np.float32) / 255
        times.append(time.perf_counter())
        rows, maps = self._session.run(None, {self._input: x})
        times.append(time.perf_counter())
        scores, labels, boxes, coefficients = self._candidates(rows[0])
        soft = _soft_masks(coefficients, maps[0], boxes, self._size)
        times.append(time.perf_counter())
        masks = array_if_small(runs_of((_paste(m, valid, size) for m in soft), size))
        scale = np.array([size[1] / valid[1], size[0] / valid[0]] * 2, dtype=np.float32)
        limit = np.array([size[1], size[0]] * 2, dtype=np.float32)
        boxes = np.clip(boxes * scale, 0, limit).astype(np.float32)
        instances = Instances(scores, labels, boxes, masks, self._names)
        times.append(time.perf_counter())
        return instances, np.diff(times).tolist()

    def _candidates(
        self, rows: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """Scores (N,), labels (N,), boxes (N, 4) and coefficients (N, 32) after NMS."""
        classes = rows[4:-NUM_COEFFICIENTS]
        best = classes.max(0)
        chosen = np.flatnonzero(best >= self._conf)
        scores, labels = best[chosen], classes[:, chosen].argmax(0)
        x, y, w, h = rows[:4, chosen]
        boxes = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1)
        apart = labels[:, None] * np.float32(2 * max(self._size))  # classes do not meet
        corners = boxes + apart
        xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        found = cv2.dnn.NMSBoxes(xywh.tolist(), scores.tolist(), self._conf, IOU)
        kept = np.asarray(found, dtype=np.int64).reshape(-1)
        kept = kept[np.argsort(-scores[kept], kind="stable")][:MAX_DET]
        return (
            scores[kept].astype(np.float32),
            labels[kept].astype(np.int64),
            boxes[kept].astype(np.float32),
            rows[-NUM_COEFFICIENTS:, chosen[kept]].T,
        )


def _soft_masks(
    coefficients: NDArray[np.float32],
    maps: NDArray[np.float32],
    boxes: NDArray[np.float32],
    size: Size,
) -> NDArray[np.float32]:
    """Mask logits (N, h, w), far below zero outside their boxes."""
    C, h, w = maps.shape
    logits = (coefficients @ maps.reshape(C, -1)).reshape(-1, h, w)
    scale = np.array([w / size[1], h / size[0]] * 2, dtype=np.float32)
    columns, rows = np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)
    for mask, (x1, y1, x2, y2) in zip(logits, boxes * scale, strict=True):
        mask[:, (columns < x1 - 0.5) | (columns > x2 - 0.5)] = -20
        mask[(rows < y1 - 0.5) | (rows > y2 - 0.5)] = -20
    return logits


def _paste(logits: NDArray[np.float32], valid: Size, size: Size) -> NDArray[np.bool_]:
    x = cv2.resize(logits, (logits.shape[1] * 4, logits.shape[0] * 4))[: valid[0], : valid[1]]
    if size != valid:
        x = cv2.resize(x, (size[1], size[0]))
    return x > 0
