"""ImageNet weights of timm for the backbone."""

from __future__ import annotations

import logging
import os
import ssl
import warnings
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import timm
import torch
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError

from crispmask.errors import WeightsError, reason_of
from crispmask.models.backbone import Backbone
from crispmask.models.catalogue import HUB, Source
from crispmask.models.download import Store, fetch
from crispmask.models.interface import Network

FILES = ("model.safetensors", "pytorch_model.bin")
"""Names timm's weights have on the hub, the first that is there counts."""

_REMEDY = "or start from random weights with --weights none"


def load_imagenet(network: Network[Any], store: Store) -> str:
    """Fills the backbone with timm's ImageNet weights, from a cache or downloaded.

    Raises:
        WeightsError: they cannot be had.
    """
    backbone = network.backbone
    file = find_imagenet(backbone.name, store)
    overlay = {"file": str(file)}
    try:
        _check_complete(backbone, overlay)
        source = timm.create_model(
            backbone.name,
            pretrained=True,
            features_only=True,
            pretrained_cfg_overlay=overlay,
            **backbone.options,
        )
    except Exception as error:  # timm raises many kinds, none of them its own
        raise WeightsError(
            f"{file}: not the ImageNet weights of {backbone.name} "
            f"({reason_of(error)}): delete it to download it again, {_REMEDY}"
        ) from error
    wanted = {
        key.removeprefix("body."): value
        for key, value in backbone.state_dict().items()
        if key.startswith("body.")
    }
    state = {key: value for key, value in source.state_dict().items() if key in wanted}
    if state.keys() != wanted.keys():
        raise WeightsError(
            f"ImageNet weights of {backbone.name} lack {min(wanted.keys() - state.keys())}"
        )
    backbone.load_state_dict({f"body.{key}": value for key, value in state.items()})
    return f"ImageNet weights of {backbone.name} in the backbone"


def _check_complete(backbone: Backbone, overlay: dict[str, Any]) -> None:
    """Raises RuntimeError if a file lacks tensors of a model or has others.

    Where timm returns feature maps it keeps random weights for what it does not find; for the
    whole model it insists. Without storage (the meta device) that costs next to nothing.
    """
    options = {key: value for key, value in backbone.options.items() if key != "out_indices"}
    options |= {"pretrained": True, "pretrained_cfg_overlay": overlay}
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that nothing is copied is the purpose
            timm.create_model(backbone.name, **options)
    except Exception as error:
        if "loading state_dict" in str(error):
            raise
        timm.create_model(backbone.name, **options)


def find_imagenet(name: str, store: Store) -> Path:
    """The file of timm's weights of a model.

    Looked for in the store under the last part of its name on the hub, such as
    `resnet18.a1_in1k.safetensors`, then in the cache of the hub, which downloads go to.

    Args:
        name: timm name.
        store: tells whether the network may be used.

    Raises:
        WeightsError: nobody published any, or they cannot be had.
    """
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise WeightsError(
            f"nobody published weights of {name} through timm: choose another --backbone, {_REMEDY}"
        )
    if not config.hf_hub_id:  # a few are not on the hub; their names end in digits of the hash
        url = str(config.url)
        digits = Path(url).stem.rpartition("-")[2]
        return fetch([Source(url, digits)], store, f"ImageNet weights of {name}")
    repository, _, revision = config.hf_hub_id.partition("@")
    names = (config.hf_hub_filename,) if config.hf_hub_filename else FILES
    copies = [store.folder / f"{repository.rpartition('/')[2]}{Path(n).suffix}" for n in names]
    for copy in copies:
        if copy.is_file():
            return copy
    for filename in names:
        cached = try_to_load_from_cache(repository, filename, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached)
    remedy = (
        f"connect to the internet once, save {names[0]} of {HUB}/{repository} as {copies[0]}, "
        f"{_REMEDY}"
    )
    if store.offline:
        raise WeightsError(f"ImageNet weights of {name} are in no cache (offline): {remedy}")
    try:
        _reach(f"{_endpoint()}/{repository}/resolve/main/{names[0]}", store.timeout)
        return _download(repository, names, revision or None, store)
    except Exception as error:  # the hub raises many kinds
        raise WeightsError(
            f"ImageNet weights of {name} could not be downloaded ({reason_of(error)}): {remedy}"
        ) from error


def _download(repository: str, names: tuple[str, ...], revision: str | None, store: Store) -> Path:
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)  # it warns at every retry; what counts is said once
    try:
        for filename in names[:-1]:
            try:
                return Path(_hub_file(repository, filename, revision, store))
            except EntryNotFoundError:
                continue
        return Path(_hub_file(repository, names[-1], revision, store))
    finally:
        hub.setLevel(level)


def _hub_file(repository: str, filename: str, revision: str | None, store: Store) -> str:
    return hf_hub_download(
        repository,
        filename,
        revision=revision,
        etag_timeout=store.timeout,
        endpoint=_endpoint(),
    )


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def _reach(url: str, timeout: float) -> None:
    """Raises OSError at once where there is no network; the hub itself tries for a minute."""
    try:
        with urlopen(Request(url, method="HEAD"), timeout=timeout):
            pass
    except HTTPError:
        pass  # it answers
    except URLError as error:
        # The hub has certificates of its own.
        if not isinstance(error.reason, ssl.SSLError):
            raise
