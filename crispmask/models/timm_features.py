"""What timm knows of a model before its weights take memory: strides, options, stages.

Everything here is asked of models without storage (torch's meta device): no weights are made
and no random numbers drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import timm
import torch
from timm.models import FeatureInfo
from torch import Tensor, nn

from crispmask.errors import ConfigError, reason_of
from crispmask.models.layers import IMAGENET_MEAN, IMAGENET_STD
from crispmask.suggest import did_you_mean

STAGE_STRIDES = (4, 8, 16, 32)
"""Stage k of a backbone ends with its map of the k-th of these strides, whatever timm calls it.

The stem belongs to stage 1. For ResNet, ConvNeXt, CSPNeXt and Swin these are the four stages
of the papers; EfficientNet and MobileNet count more and smaller ones.
"""

_PROBES = ((64, 96), (160, 128))
"""Input sizes a backbone must handle: multiples of 32, neither square nor of one window."""

_ANY_SIZE: tuple[dict[str, Any], ...] = (
    # The first as detectors use Swin: windows shift in every stage, whatever the image size.
    {"strict_img_size": False, "always_partition": True},
    {"strict_img_size": False},
)
"""Options that let timm's models of a fixed input size take others, tried in this order."""

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Extractor:
    """How timm turns a model into one that returns feature maps.

    Attributes:
        indices: timm's index of the map of each stride it has.
        options: what `timm.create_model` needs beside the name.
    """

    indices: Mapping[int, int]
    options: Mapping[str, Any]


def full_name(name: str) -> str:
    """The timm name with the tag of its weights: `convnext_tiny.in12k_ft_in1k`.

    The tag decides how images are normalised, and which one is the default may change with
    timm: what a checkpoint was trained with is settled only by the name in full.

    Raises:
        ConfigError: timm has no such model, or no such tag of it.
    """
    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        raise ConfigError(
            f"--backbone {name}: timm {timm.__version__} has no such model"
            f"{did_you_mean(base, timm.list_models())}"
        )
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # what timm raises for a tag it does not know
        tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{base}.*")]
        raise ConfigError(
            f"--backbone {name}: timm has no weights {tag!r} of {base}, "
            f"but {', '.join(tags) or 'none at all'}"
        ) from None
    return f"{base}.{config.tag}" if config is not None and config.tag else base


def normalisation(name: str) -> tuple[Colour, Colour]:
    """Mean and std of the images a model was trained on, RGB in [0, 255]."""
    config = timm.get_pretrained_cfg(name)
    if config is None:  # a model nobody published weights of
        return IMAGENET_MEAN, IMAGENET_STD
    return _to_bytes(config.mean), _to_bytes(config.std)


@cache
def describe(name: str) -> Extractor:
    """How the maps of a model are had.

    Raises:
        ConfigError: timm cannot take feature maps out of it.
    """
    config = timm.get_pretrained_cfg(name)
    tries = (*_ANY_SIZE, {}) if config is not None and config.fixed_input_size else ({},)
    for options in tries:
        try:
            with torch.device("meta"):
                info = feature_info(timm.create_model(name, features_only=True, **options))
        except TypeError as error:
            if options:  # this model has no such option
                continue
            raise _no_maps(name, error) from error
        except Exception as error:  # RuntimeError, AttributeError, AssertionError: as timm pleases
            raise _no_maps(name, error) from error
        # Where several maps have one stride the last has seen most of the network.
        indices = {level["reduction"]: i for i, level in enumerate(info.info)}
        return Extractor(MappingProxyType(indices), MappingProxyType(options))
    raise AssertionError("the last of the tries returns or raises")


def check_usable(name: str, strides: tuple[int, ...], architecture: str) -> None:
    """Makes sure that a model gives maps of these strides for images of any size.

    Raises:
        ConfigError: saying why not.
    """
    extractor = describe(name)
    if missing := [s for s in strides if s not in extractor.indices]:
        raise ConfigError(
            f"--backbone {name}: has no map of stride {_listed(missing)}, and {architecture} "
            f"needs {_listed(strides)}; it has {_listed(sorted(extractor.indices))}"
        )
    body = _meta_body(name, strides)
    for height, width in _PROBES:
        try:
            maps = body(torch.empty(1, 3, height, width, device="meta"))
        except Exception as error:  # whatever a model raises for a size it was not made for
            raise ConfigError(
                f"--backbone {name}: cannot take an image of {height} x {width} "
                f"({_why(name, error)}); choose one that takes all multiples of 32"
            ) from error
        for stride, found in zip(strides, as_channels_first(body, maps), strict=True):
            h, w = found.shape[-2:]
            if (h, w) != (height // stride, width // stride):
                raise ConfigError(
                    f"--backbone {name}: its map of stride {stride} is {h} x {w} for an image "
                    f"of {height} x {width}, not {height // stride} x {width // stride}"
                )


@cache
def parameter_stages(name: str) -> Mapping[str, int]:
    """The stage each parameter belongs to, from 1, by its name in the feature extractor.

    A parameter belongs to the first map that depends on it. The graph that autograd records
    says which those are, so no naming scheme has to be known; in HRNet, whose branches feed
    each other to the end, nearly all parameters belong to the finest map.
    """
    strides = [s for s in STAGE_STRIDES if s in describe(name).indices]
    body = _meta_body(name, strides)
    names = {id(parameter): key for key, parameter in body.named_parameters()}
    # What no map depends on, should a model have it, is last in line to be frozen.
    stages = dict.fromkeys(names.values(), len(STAGE_STRIDES))
    with torch.enable_grad():
        maps = body(torch.empty(1, 3, *_PROBES[0], device="meta"))
    for stride, found in reversed(list(zip(strides, maps, strict=True))):
        for parameter in _leaves(found):
            stages[names[id(parameter)]] = STAGE_STRIDES.index(stride) + 1
    return MappingProxyType(stages)


def feature_info(body: nn.Module) -> FeatureInfo:
    """What timm says about the maps of a feature extractor."""
    info = body.feature_info
    assert isinstance(info, FeatureInfo)  # every features_only model of timm has one
    return info


def as_channels_first(body: nn.Module, maps: Iterable[Tensor]) -> list[Tensor]:
    """The maps as (B, C, h, w); some transformers return (B, h, w, C)."""
    if getattr(body, "output_fmt", "NCHW") == "NHWC":
        return [x.permute(0, 3, 1, 2) for x in maps]
    return list(maps)


def _meta_body(name: str, strides: Iterable[int]) -> nn.Module:
    extractor = describe(name)
    with torch.device("meta"):
        body = timm.create_model(
            name,
            features_only=True,
            out_indices=[extractor.indices[s] for s in strides],
            **extractor.options,
        )
    assert isinstance(body, nn.Module)  # timm is untyped
    return body.eval()


def _leaves(tensor: Tensor) -> Iterator[Tensor]:
    """The parameters a tensor was computed from."""
    seen: set[Any] = set()
    todo: list[Any] = [tensor.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):  # autograd's node of a leaf
            yield node.variable
        todo.extend(other for other, _ in node.next_functions)


def _to_bytes(colour: tuple[float, ...]) -> Colour:
    r, g, b = (255 * value for value in colour)
    return r, g, b


def _no_maps(name: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"--backbone {name}: timm takes no feature maps out of it ({reason_of(error)})"
    )


def _why(name: str, error: Exception) -> str:
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        return "it is made for {1} x {2}".format(*config.input_size)
    return reason_of(error)


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
