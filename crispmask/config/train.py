"""A training run."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from crispmask.config.augment import AugmentConfig
from crispmask.config.checks import check, check_val_fraction

Architecture = Literal["solov2", "rtmdet-ins"]
SizeName = Literal["nano", "tiny", "small", "medium", "large"]
LayoutName = Literal["light-r18", "light-r34", "light-r50", "r50", "r101", "s", "m", "l", "x"]
ModelName = Literal[SizeName, LayoutName]

_NUMBERS = re.compile(r"\d+(\.\d+)?(,\d+(\.\d+)?)*")
_GRIDS = re.compile(r"[1-9]\d{0,2}(,[1-9]\d{0,2}){4}")


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    data: str = ""
    """Path to data.yaml."""
    val_fraction: float = 0.0
    """Fraction of the training images set aside to validate on, where data.yaml names none."""
    architecture: Architecture = "solov2"
    """Model family."""
    model: ModelName = "nano"
    """Model size, or a published layout such as r50 or x; nano and tiny name the same row."""
    backbone: str = "auto"
    """Feature extractor, any name of timm with maps of stride 4 to 32; auto: the model's own."""
    epochs: int = 150
    """Passes over the training images."""
    time: float = 0.0
    """Hours the training may take, in place of --epochs, which then follow; 0: no limit."""
    batch: int | Literal["auto", "probe"] = "auto"
    """Images per step, of all processes; auto: of the model table; probe, -1: all a GPU holds."""
    imgsz: int = 1280
    """Longest image side given to the network, pixels; a multiple of 32."""
    lr: float | Literal["auto"] = "auto"
    """Peak learning rate; auto: solov2 0.002 * 5 / (4 + classes), rtmdet-ins 0.004."""
    work_dir: str = "auto"
    """Folder of the results; auto: work_dirs/<architecture>_<model>, numbered if taken."""
    skip_conversion: bool = False
    """Reuse the COCO annotation files of an earlier run in the work dir."""
    list_models: bool = False
    """Print the table of models and exit."""
    weights: str = "imagenet"
    """Starting weights: imagenet (backbone), coco, none, or the path of a checkpoint."""
    offline: bool = False
    """Never use the network: weights come from caches only."""
    cache_dir: str = "auto"
    """Folder of downloaded COCO weights; auto: CRISPMASK_CACHE or ~/.cache/crispmask."""
    recipe: Literal["matched", "ultralytics", "native"] = "matched"
    """Defaults of the flags below; each can still be given."""
    optimizer: Literal["auto", "sgd", "adamw"] = "auto"
    """Optimizer; auto: sgd for solov2, adamw for rtmdet-ins."""
    weight_decay: float | Literal["auto"] = "auto"
    """Weight decay, not on norms and biases; auto: 0.0005 with sgd, 0.05 with adamw."""
    momentum: float = 0.937
    """Momentum of SGD."""
    nesterov: bool = False
    """Let SGD look ahead along its momentum."""
    warmup_epochs: float = 7.0
    """Epochs of linear warmup, per step; at most all but the last epoch."""
    warmup_min_steps: int = 0
    """Fewest steps of warmup, where the epochs are short."""
    warmup_start: float = 0.02
    """Learning rate at the first step, fraction of the peak."""
    warmup_momentum: float | Literal["auto"] = "auto"
    """Momentum of SGD at the first step, rising to the usual one; auto: no warmup of it."""
    warmup_bias_lr: float | Literal["auto"] = "auto"
    """Learning rate of biases at the first step; auto: that of everything else."""
    schedule: Literal["cosine", "linear", "flat-cosine", "steps"] = "cosine"
    """Fall of the learning rate after the warmup."""
    final_lr: float = 0.017
    """Learning rate at the last step, fraction of the peak; not of steps."""
    nominal_batch: int = 0
    """Images per step of the optimizer, gathered from several batches; 0: those of one batch."""
    slices: int = 1
    """Slices a batch is computed in, one after another; grows by itself when memory runs out."""
    freeze: int | Literal["auto"] = "auto"
    """Stages of the backbone, with its stem, that are not trained, 0 to 4; auto: 1 for solov2,
    0 otherwise."""
    norm_eval: bool | Literal["auto"] = "auto"
    """Keep the batch statistics of the backbone as they are; auto: true for solov2."""
    backbone_lr: float = 1.0
    """Learning rate of the backbone, as a factor of that of the rest."""
    layer_decay: float = 1.0
    """Factor on the learning rate from each part to the one before: head, stages 4 to 1."""
    clip_norm: float = 35.0
    """Largest gradient norm; 0 turns clipping off."""
    class_weights: str = "none"
    """Weights in the class loss, as in 1,2.5,1; auto: more for rare classes; or none."""
    ema_decay: float = 0.9999
    """Decay of the averaged weights, reached with `ema_tau`; 0 turns averaging off."""
    ema_tau: float = 2000.0
    """Steps over which the decay of the averaged weights grows."""
    close_mosaic: int | Literal["auto"] = "auto"
    """Last epochs without mosaic, mixup and copy-paste; auto: 10, at most a fifth of all."""
    mosaic_partners: Literal["dataset", "batch"] = "dataset"
    """Where mosaic and mixup find their other images; batch: each is decoded only once."""
    multi_scale: float = 0.0
    """How far the size of a training batch may be from imgsz, as a fraction of it."""
    mask_stride: Literal[1, 2, 4] = 4
    """Input pixels per pixel of the mask loss."""
    grids: str = "auto"
    """Cells per side of the five grids of solov2, as in 20,16,12,10,8; auto follows imgsz."""
    val_interval: int = 1
    """Epochs between validations; the last epoch is always validated."""
    patience: int = 100
    """Epochs without a better mask mAP50-95 after which training stops; 0 never stops early."""
    save_period: int = 0
    """Epochs between checkpoints that are kept beside best.pt and last.pt; 0 keeps none."""
    workers: int = 4
    """Processes that load training images; 0 loads in the main process."""
    cache: Literal["none", "ram", "disk"] = "none"
    """Where decoded images are kept: ram for this run, disk (the cache folder) for later ones."""
    augment_device: Literal["none", "cpu", "cuda"] = "none"
    """Where training images are kept and changed: cuda, the GPU, if it holds all; none: workers."""
    strict: bool = False
    """Stop at an image that cannot be read; otherwise it is left out, and counted."""
    device: str = "auto"
    """auto, cpu, mps, cuda, or the numbers of GPUs such as 0 or 0,1."""
    processes: int | Literal["auto"] = "auto"
    """Processes that train together on each machine; auto: one per GPU of --device."""
    num_nodes: int = 1
    """Machines that train together."""
    sync_bn: bool | Literal["auto"] = "auto"
    """Batch norms see the images of all GPUs; auto: with several GPUs."""
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    """Arithmetic; auto: bf16 on GPUs that have it, 16 on other GPUs, 32 elsewhere."""
    compile: bool = False
    """Compile the network: minutes until the first step, faster ones from then on."""
    seed: int = 0
    """Seed of weights, data order and augmentation."""
    deterministic: bool = False
    """Only operations that give the same bits each time, where a GPU has them; slower."""
    resume: str = ""
    """Path of a last.pt to continue, or its run folder."""
    logger: str = "none"
    """Programs that follow the run beside TensorBoard: wandb, mlflow, or both as wandb,mlflow."""
    quiet: bool = False
    """Print nothing but warnings and errors."""
    json_lines: bool = False
    """Print one JSON object per event in place of text, for scripts."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Data augmentation."""

    def __post_init__(self) -> None:
        check_val_fraction(self.val_fraction)
        check(self.epochs >= 1, f"--epochs must be at least 1, not {self.epochs}")
        check(self.time >= 0, f"--time is a number of hours, not {self.time}")
        check(
            isinstance(self.batch, str) or self.batch >= 1 or self.batch == -1,
            f"--batch must be at least 1, auto or probe, not {self.batch}",
        )
        check(
            self.imgsz >= 64 and self.imgsz % 32 == 0,
            f"--imgsz must be a multiple of 32 from 64 up, not {self.imgsz}: "
            f"try {max(64, round(self.imgsz / 32) * 32)}",
        )
        check(self.lr == "auto" or self.lr > 0, f"--lr must be positive or auto, not {self.lr}")
        check(
            self.weight_decay == "auto" or self.weight_decay >= 0,
            f"--weight-decay must not be negative, not {self.weight_decay}",
        )
        check(0 <= self.momentum < 1, f"--momentum is 0 to below 1, not {self.momentum}")
        check(
            self.warmup_epochs >= 0,
            f"--warmup-epochs must not be negative, not {self.warmup_epochs}",
        )
        check(
            self.warmup_momentum == "auto" or 0 <= self.warmup_momentum < 1,
            f"--warmup-momentum is auto or 0 to below 1, not {self.warmup_momentum}",
        )
        check(
            self.warmup_bias_lr == "auto" or self.warmup_bias_lr >= 0,
            f"--warmup-bias-lr is auto or not negative, not {self.warmup_bias_lr}",
        )
        for name in ("warmup_min_steps", "nominal_batch", "patience", "save_period"):
            value = getattr(self, name)
            check(value >= 0, f"--{name.replace('_', '-')} must not be negative, not {value}")
        for name in ("warmup_start", "final_lr"):
            value = getattr(self, name)
            check(0 <= value <= 1, f"--{name.replace('_', '-')} is 0 to 1, not {value}")
        check(
            self.freeze == "auto" or 0 <= self.freeze <= 4,
            f"--freeze is auto or 0 to 4, not {self.freeze}",
        )
        check(
            self.weights != "none" or self.freeze in ("auto", 0),
            f"--freeze {self.freeze} would keep random weights: leave --weights none out",
        )
        check(
            self.weights != "none" or self.norm_eval is not True,
            "--norm-eval true would keep statistics of no image: leave --weights none out",
        )
        check(
            self.backbone_lr > 0,
            f"--backbone-lr must be positive, not {self.backbone_lr}; "
            "--freeze 4 keeps the backbone as it is",
        )
        check(0 < self.layer_decay <= 1, f"--layer-decay is above 0 to 1, not {self.layer_decay}")
        check(self.clip_norm >= 0, f"--clip-norm must not be negative, not {self.clip_norm}")
        check(
            self.class_weights in ("none", "auto")
            or _NUMBERS.fullmatch(self.class_weights) is not None,
            "--class-weights is none, auto or a number for each class such as 1,2.5,1, "
            f"not {self.class_weights}",
        )
        check(
            set(self.loggers()) <= {"wandb", "mlflow"},
            f"--logger is none, wandb, mlflow or wandb,mlflow, not {self.logger}",
        )
        check(0 <= self.ema_decay < 1, f"--ema-decay is 0 to below 1, not {self.ema_decay}")
        check(self.ema_tau > 0, f"--ema-tau must be positive, not {self.ema_tau}")
        check(
            self.close_mosaic == "auto" or self.close_mosaic >= 0,
            f"--close-mosaic must not be negative, not {self.close_mosaic}",
        )
        check(0 <= self.multi_scale < 1, f"--multi-scale is 0 to below 1, not {self.multi_scale}")
        check(self.val_interval >= 1, f"--val-interval must be at least 1, not {self.val_interval}")
        check(
            self.processes == "auto" or self.processes >= 1,
            f"--processes must be at least 1 or auto, not {self.processes}",
        )
        check(self.slices >= 1, f"--slices must be at least 1, not {self.slices}")
        check(self.num_nodes >= 1, f"--num-nodes must be at least 1, not {self.num_nodes}")
        check(self.workers >= 0, f"--workers must not be negative, not {self.workers}")
        check(
            self.cache == "none" or self.multi_scale == 0,
            f"--cache {self.cache} keeps images of one size, --multi-scale {self.multi_scale} "
            "asks for others: leave one of them out",
        )
        check(
            self.augment_device == "none" or self.multi_scale == 0,
            f"--augment-device {self.augment_device} keeps images of one size, --multi-scale "
            f"{self.multi_scale} asks for others: leave one of them out",
        )
        check(
            self.augment_device != "cuda" or self.batch not in ("probe", -1),
            "--batch probe fills the GPU before --augment-device cuda does: give a number",
        )
        check(
            self.grids == "auto" or self.architecture == "solov2",
            f"--grids is for solov2; leave it out with {self.architecture}",
        )
        check(
            self.grids == "auto" or _GRIDS.fullmatch(self.grids) is not None,
            f"--grids is auto or five numbers from 1 up such as 20,16,12,10,8, not {self.grids}",
        )

    def num_cells(self) -> tuple[int, ...] | None:
        """The numbers of `grids`; None if it is auto."""
        return None if self.grids == "auto" else tuple(map(int, self.grids.split(",")))

    def train_cache(self) -> Literal["none", "ram", "disk"]:
        """Where decoded training images are kept beside `augment_device`, which has them."""
        return "none" if self.augment_device != "none" and self.cache == "ram" else self.cache

    def loggers(self) -> tuple[str, ...]:
        """The names in `logger`."""
        return () if self.logger == "none" else tuple(self.logger.split(","))

    def class_weight_values(self) -> tuple[float, ...] | None:
        """The numbers of `class_weights`; None if there are none, or not yet."""
        if self.class_weights in ("none", "auto"):
            return None
        return tuple(map(float, self.class_weights.split(",")))
