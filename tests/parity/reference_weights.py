"""Deterministic pseudo-random "official checkpoint" weights, keyed by state-dict key.

numpy only.  ``fill(key, shape, dtype)`` depends on nothing but its arguments, so mmdet
and a reimplementation both obtain bit-identical float32 parameters without shipping a
weight file.

Aliases.  RTMDet-Ins (RTMDetInsSepBNHead, share_conv=True) stores the same tensor under
several state-dict keys:
  * ``bbox_head.reg_convs`` IS ``bbox_head.cls_convs`` (mmdet appends cls_convs twice), and
  * ``bbox_head.cls_convs.{n}.{i}.conv`` is one shared module for every level n.
``canonical()`` folds those onto one key so every alias gets the same values, as in a
real checkpoint.  (``bn`` is per level, ``kernel_convs`` is NOT shared at all.)
"""

from __future__ import annotations

import json
import re
import zlib

import numpy as np

_RTM = re.compile(
    r"^(backbone\.(stem|stage\d)\.|neck\.(reduce_layers|top_down_blocks|"
    r"bottom_up_blocks|downsamples|out_convs)\.|bbox_head\.)"
)
_REG_ALIAS = re.compile(r"^bbox_head\.reg_convs\.(\d+)\.(\d+)\.")
_CLS_SHARED = re.compile(r"^bbox_head\.cls_convs\.\d+\.(\d+)\.conv\.")


def canonical(key: str) -> str:
    key = key[7:] if key.startswith("module.") else key
    key = _REG_ALIAS.sub(r"bbox_head.cls_convs.\1.\2.", key)
    key = _CLS_SHARED.sub(r"bbox_head.cls_convs.0.\1.conv.", key)
    return key


def _rng(key: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(key.encode("utf-8"))))


# Tuned constants (part of the definition: changing one changes every golden).
P = dict(
    rtm=1.85,
    rtm_res=0.5,
    stem=80.0,
    fc=1.0,
    solo_kernel=0.3,
    rtm_kernel=0.8,
    rtm_cls=1.5,
    solo_cls=8.0,
    rtm_reg=1.0,
    gn_pred_bias=-1.0,
)


# rms of the neck outputs by width, divided out at the first head convolutions
_NECK_RMS = {96: 7.5, 128: 17.0, 192: 16.0, 256: 150.0, 320: 1800.0}
_HEAD_IN = re.compile(r"^bbox_head\.((cls|kernel)_convs\.\d\.0|mask_head\.fusion_conv)\b")


# (mean, std) of the final classification biases, chosen by number of classes so that a
# few dozen detections survive the default score thresholds on the test images.
def _cls_bias(kind: str, num_classes: int):
    if kind == "solo":
        return (-10.4, 0.3) if num_classes > 20 else (-5.2, 0.3)
    return (-6.8, 0.3) if num_classes > 20 else (-5.0, 0.3)


def fill(key: str, shape, dtype="float32") -> np.ndarray:
    """Value of state-dict entry ``key`` with the given shape, as a numpy array."""
    dtype = str(dtype).replace("torch.", "")
    shape = tuple(int(s) for s in shape)
    key = canonical(key)
    r = _rng(key)
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype="int64")
    if key.endswith("running_mean"):
        out = r.normal(0.0, 0.1, shape)
    elif key.endswith("running_var"):
        out = r.uniform(0.5, 1.5, shape)
    elif key.endswith(".weight") and len(shape) >= 2:
        fan_in = int(np.prod(shape[1:]))
        gain2 = 2.0
        if _RTM.match(key):
            gain2 = P["rtm"]  # SiLU
        if key.startswith("backbone.stem.0."):
            gain2 = P["stem"]  # pushes SiLU towards its linear part
        if _HEAD_IN.match(key):
            c = shape[1] // 3 if "fusion_conv" in key else shape[1]
            gain2 = 2.2 / _NECK_RMS.get(c, 1.0) ** 2
        if ".attention.fc." in key:
            gain2 = P["fc"]
        if key.startswith("mask_head.conv_kernel"):
            gain2 = P["solo_kernel"]  # dynamic mask logits of order 1
        if key.startswith("bbox_head.rtm_kernel"):
            gain2 = P["rtm_kernel"]
        if key.startswith("mask_head.conv_cls"):
            gain2 = P["solo_cls"]
        if key.startswith("bbox_head.rtm_cls"):
            gain2 = P["rtm_cls"]
        if key.startswith("bbox_head.rtm_reg"):
            gain2 = P["rtm_reg"]
        out = r.normal(0.0, np.sqrt(gain2 / fan_in), shape)
    elif key.endswith(".weight"):
        out = r.uniform(0.5, 1.5, shape)
        if re.search(r"\.layer\d\.\d+\.bn[23]\.weight$", key):
            out *= 0.5  # damp residual branches (ResNet)
        if re.search(r"^backbone\.stage[123]\..*\.conv2\.pointwise_conv\.bn\.weight$", key):
            out *= P["rtm_res"]  # same for CSPNeXt
    elif key.endswith(".bias"):
        if key.startswith("mask_head.conv_cls"):
            m, s = _cls_bias("solo", shape[0])
            out = r.normal(m, s, shape)
        elif key.startswith("bbox_head.rtm_cls"):
            m, s = _cls_bias("rtm", shape[0])
            out = r.normal(m, s, shape)
        elif key.startswith("bbox_head.rtm_reg"):
            out = r.normal(3.0, 0.2, shape)
        elif key == "mask_head.mask_feature_head.conv_pred.gn.bias":
            out = r.normal(P["gn_pred_bias"], 0.2, shape)  # sparse, spatially varied
        else:
            out = r.normal(0.0, 0.05, shape)
    else:
        out = r.normal(0.0, 0.05, shape)
    return np.ascontiguousarray(out.astype(dtype))


def load_keys(keys_json) -> dict:
    """key -> (shape, dtype) from one of keys/*.json."""
    with open(keys_json) as f:
        d = json.load(f)
    return {k: (tuple(s), t) for k, (s, t) in d["state_dict"].items()}


def make_state(keys_json) -> dict:
    return {k: fill(k, s, t) for k, (s, t) in load_keys(keys_json).items()}


def make_checkpoint(keys_json, out_pth, ema: bool = False):
    """Write an mmdet-style checkpoint.  Needs torch, only here.

    ema=True also writes the ``ema_state_dict`` an mmengine EMAHook checkpoint carries:
    the same keys prefixed ``module.`` plus ``steps`` (values equal ``state_dict``).
    """
    import torch

    with open(keys_json) as f:
        head = json.load(f)
    sd = {
        k: torch.from_numpy(v.copy()) if v.shape else torch.tensor(v.item())
        for k, v in make_state(keys_json).items()
    }
    meta = dict(
        mmdet_version="3.3.0",
        mmengine_version="0.10.7",
        epoch=12,
        iter=1000,
        experiment_name=head["name"],
        config=head.get("config_text", ""),
        dataset_meta=dict(CLASSES=tuple("class_%02d" % i for i in range(head["num_classes"]))),
    )
    ckpt = dict(meta=meta, state_dict=sd)
    if ema:
        e = {"steps": torch.tensor(1000)}
        e.update({"module." + k: v.clone() for k, v in sd.items()})
        ckpt["ema_state_dict"] = e
    torch.save(ckpt, out_pth)
    return ckpt


if __name__ == "__main__":
    import sys

    make_checkpoint(sys.argv[1], sys.argv[2])
