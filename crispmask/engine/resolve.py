"""Turns every `auto` of a configuration into a value, once, before training."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import yaml

from crispmask.atomic import replacing
from crispmask.cache import default_folder
from crispmask.config import AugmentConfig, ModelName, TrainConfig
from crispmask.engine.class_weights import check_class_weights
from crispmask.engine.device import Precision, resolve_device, resolve_precision
from crispmask.engine.learning_rate import choose_rate
from crispmask.engine.optim import OptimizerName
from crispmask.engine.ranks import Ranks, rank_batch, resolve_ranks
from crispmask.engine.workdir import WorkDir
from crispmask.errors import ConfigError
from crispmask.models.solov2.config import grids_for
from crispmask.models.table import canonical_model, find_model
from crispmask.models.timm_features import full_name

WEIGHT_DECAY = {"sgd": 0.0005, "adamw": 0.05}
"""Weight decay by optimizer."""

_NOT_SAVED = ("list_models", "resume", "quiet", "json_lines")
"""Fields that say what to do, not how to train."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration without any `auto`.

    Attributes:
        config: every field resolved; as saved in config.yaml.
        work_dir: where the run writes.
        batch: images per step.
        lr: peak learning rate.
        lr_reason: where it comes from, in words.
        lr_warning: what speaks against it; empty if nothing does.
        optimizer: what turns gradients into steps.
        weight_decay: of weights that are decayed.
        freeze: stages of the backbone that are not trained.
        norm_eval: whether the batch statistics of the backbone stay.
        close_mosaic: last epochs without mosaic and mixup.
        device: cpu, mps, cuda or a GPU number.
        precision: arithmetic of the forward pass.
        ranks: the processes that train together.
        sync_bn: whether batch norms see the images of all of them.
    """

    config: TrainConfig
    work_dir: WorkDir
    batch: int
    lr: float
    lr_reason: str
    lr_warning: str
    optimizer: OptimizerName
    weight_decay: float
    freeze: int
    norm_eval: bool
    close_mosaic: int
    device: str
    precision: Precision
    ranks: Ranks
    sync_bn: bool


def resolve(
    config: TrainConfig, work_dir: WorkDir, data: Path, num_classes: int, num_images: int
) -> Settings:
    """Decides what was left to us.

    Args:
        config: what the user asked for.
        work_dir: where the run writes.
        data: the data.yaml that was read.
        num_classes: K.
        num_images: of the training split.

    Raises:
        ConfigError: weights for another number of classes, no such model, backbone or device,
            a precision the device has not, or processes that cannot be.
    """
    check_class_weights(config, num_classes)
    architecture = config.architecture
    row = find_model(architecture, config.model)
    usual = config.backbone in ("auto", row.backbone)
    backbone = row.backbone if usual else full_name(config.backbone)
    # One to be probed stands for that of the table until it is known.
    batch = config.batch if isinstance(config.batch, int) and config.batch > 0 else row.batch
    optimizer, momentum, rate = choose_rate(config, batch, num_classes, num_images)
    weight_decay = WEIGHT_DECAY[optimizer] if config.weight_decay == "auto" else config.weight_decay
    close_mosaic = epochs_without_mosaic(config)
    # As SOLOv2's published models were trained: a ResNet keeps the statistics and the first
    # layers it learnt from ImageNet, which a few images per batch would only blur.
    keep = architecture == "solov2" and config.weights != "none"
    freeze = int(keep) if config.freeze == "auto" else config.freeze
    norm_eval = keep if config.norm_eval == "auto" else config.norm_eval
    device = resolve_device(config.device)
    precision = resolve_precision(config.precision, device)
    ranks = resolve_ranks(config, device)
    if batch != config.batch:  # a batch of the table may be smaller than the number of GPUs
        batch = -(-batch // ranks.world_size) * ranks.world_size
    rank_batch(batch, ranks.world_size)
    if num_images < ranks.world_size:
        raise ConfigError(f"{data}: {num_images} training images for {ranks.world_size} processes")
    several_gpus = ranks.kind == "cuda" and ranks.world_size > 1
    if config.sync_bn is True and ranks.kind != "cuda":
        raise ConfigError(f"--sync-bn true needs CUDA GPUs, not {ranks.kind}: leave it out")
    sync_bn = several_gpus and config.sync_bn is not False
    grids = config.grids
    if architecture == "solov2" and grids == "auto":
        grids = ",".join(map(str, grids_for(config.imgsz)))
    cache = default_folder() if config.cache_dir == "auto" else Path(config.cache_dir)
    resolved = replace(
        config,
        cache_dir=os.path.expanduser(cache),
        data=str(data.resolve()),
        model=cast(ModelName, canonical_model(architecture, config.model)),
        backbone=backbone,
        batch=batch,
        lr=rate.lr,
        optimizer=optimizer,
        momentum=momentum,
        warmup_momentum=momentum if config.warmup_momentum == "auto" else config.warmup_momentum,
        warmup_bias_lr=rate.lr * config.warmup_start
        if config.warmup_bias_lr == "auto"
        else config.warmup_bias_lr,
        weight_decay=weight_decay,
        freeze=freeze,
        norm_eval=norm_eval,
        close_mosaic=close_mosaic,
        grids=grids,
        work_dir=str(work_dir.path),
        device=device,
        processes=ranks.per_node,
        num_nodes=ranks.nodes,
        sync_bn=sync_bn,
        precision=precision,
        list_models=False,
        resume="",
    )
    return Settings(
        resolved,
        work_dir,
        batch,
        rate.lr,
        rate.reason,
        rate.warning,
        optimizer,
        weight_decay,
        freeze,
        norm_eval,
        close_mosaic,
        device,
        precision,
        ranks,
        sync_bn,
    )


def epochs_without_mosaic(config: TrainConfig) -> int:
    """The last epochs of a run, which have no mosaic and mixup."""
    if config.close_mosaic == "auto":
        return min(10, config.epochs // 5)
    return config.close_mosaic


def to_plain(config: TrainConfig) -> dict[str, Any]:
    """A configuration as nested dicts of builtin values."""
    return {key: value for key, value in asdict(config).items() if key not in _NOT_SAVED}


def from_plain(values: Mapping[str, Any], source: str) -> TrainConfig:
    """The inverse of `to_plain`; fields that are missing take their default.

    Args:
        values: nested dicts.
        source: the file they come from, for messages.

    Raises:
        ConfigError: an unknown field or a value that cannot be.
    """
    known = {field.name for field in fields(TrainConfig)}
    if unknown := sorted(set(values) - known):
        raise ConfigError(f"{source}: unknown setting {unknown[0]}; remove it")
    augment = values.get("augment") or {}
    if not isinstance(augment, Mapping):
        raise ConfigError(f"{source}: augment must hold one setting per line")
    if unknown := sorted(set(augment) - {field.name for field in fields(AugmentConfig)}):
        raise ConfigError(f"{source}: unknown setting augment.{unknown[0]}; remove it")
    try:
        return TrainConfig(**{**values, "augment": AugmentConfig(**augment)})
    except (TypeError, AttributeError) as error:  # a text where a number belongs, or the like
        name = _wrong_kind(TrainConfig, values) or _wrong_kind(AugmentConfig, augment)
        raise ConfigError(
            f"{source}: {name or 'a setting'} has a value of the wrong kind ({error})"
        ) from error


def _wrong_kind(kind: type[Any], values: Mapping[str, Any]) -> str:
    """The first setting whose value is refused also without the others; empty if none is."""
    for name, value in values.items():
        try:
            kind(**{name: value})
        except ConfigError:
            continue
        except (TypeError, AttributeError):
            return name
    return ""


def save_train_config(config: TrainConfig, path: Path) -> None:
    """Writes config.yaml."""
    with replacing(path) as partial:
        partial.write_text(yaml.safe_dump(to_plain(config), sort_keys=False), encoding="utf-8")
