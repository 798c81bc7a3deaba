"""Non-maximum suppression by class that exporters understand.

Letters: B batch, N candidates of one image.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision.ops import nms


def class_nms(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float) -> Tensor:
    """Which candidates no better one of their class covers, image by image.

    Unrolls the batch, whose size must be known, and calls `torchvision::nms`. Boxes of
    different classes are moved apart so that they cannot overlap.

    Args:
        boxes: (B, N, 4) xyxy, not negative.
        scores: (B, N); 0 is no candidate.
        labels: (B, N).
        iou: boxes of one class that overlap more are one instance.

    Returns:
        (B, N) bool.
    """
    rows = []
    for box, score, label in zip(boxes, scores, labels, strict=True):
        apart = box + label[:, None] * (box.max() + 1)
        kept = torch.zeros_like(score, dtype=torch.bool)
        kept[nms(apart, score, iou)] = True
        rows.append(kept & (score > 0))
    return torch.stack(rows)


def loop_class_nms(
    boxes: Tensor, scores: Tensor, labels: Tensor, num_classes: int, iou: float
) -> Tensor:
    """`class_nms` with the arguments of `class_nms_node`."""
    del num_classes
    return class_nms(boxes, scores, labels, iou)


@torch.library.custom_op("crispmask::class_nms", mutates_args=())
def class_nms_node(
    boxes: Tensor, scores: Tensor, labels: Tensor, num_classes: int, iou: float
) -> Tensor:
    """`class_nms` as one node of the graph, for a batch of any size; arguments as there."""
    del num_classes  # ONNX needs it
    return class_nms(boxes, scores, labels, iou)


@class_nms_node.register_fake
def _(boxes: Tensor, scores: Tensor, labels: Tensor, num_classes: int, iou: float) -> Tensor:
    del boxes, labels, num_classes, iou
    return torch.empty_like(scores, dtype=torch.bool)


def onnx_class_nms(boxes: Any, scores: Any, labels: Any, num_classes: int, iou: float) -> Any:
    """`class_nms_node` in ONNX: NonMaxSuppression, scattered into a mask.

    The operator treats each class of each image alone; a candidate has a score in its own
    class and none in the others.
    """
    from onnxscript import opset18

    op: Any = opset18  # its types do not know which constant has which

    classes = op.Constant(value_ints=list(range(num_classes)))
    classes = op.Unsqueeze(classes, [0, 2])  # (1, K, 1)
    own = op.Equal(op.Unsqueeze(labels, [1]), classes)  # (B, K, N)
    zero = op.Constant(value_float=0.0)
    by_class = op.Where(own, op.Unsqueeze(scores, [1]), zero)  # (B, K, N)
    every = op.Shape(scores, start=1, end=2)
    chosen = op.NonMaxSuppression(
        boxes, by_class, every, op.Constant(value_floats=[iou]), op.Constant(value_floats=[0.0])
    )  # (n, 3) image, class, candidate
    place = op.Gather(chosen, op.Constant(value_ints=[0, 2]), axis=1)  # (n, 2)
    one = op.Expand(op.Constant(value_float=1.0), op.Shape(chosen, start=0, end=1))
    kept = op.ScatterND(op.Mul(scores, zero), place, one)
    return op.Greater(kept, zero)
