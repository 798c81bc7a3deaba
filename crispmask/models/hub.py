"""Models on the Hugging Face Hub: `hf://user/name`. No torch here.

A repository holds `model.safetensors`, which describes itself, the same description as
`config.json` for people and programs, and a model card. Who may read and write is settled by
huggingface_hub: its login, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from crispmask.errors import WeightsError, reason_of
from crispmask.models.download import offline_by_default

SCHEME = "hf://"
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
CARD = "README.md"

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def check_repository(name: str) -> str:
    """The name without `hf://`.

    Raises:
        WeightsError: not of the form user/name.
    """
    name = name.removeprefix(SCHEME).strip("/")
    if not _REPOSITORY.fullmatch(name):
        raise WeightsError(f"{name}: a repository of the Hugging Face Hub is written user/name")
    return name


def pull(address: str, offline: bool = False) -> Path:
    """The checkpoint of a repository, from the cache of huggingface_hub or downloaded into it.

    Args:
        address: `hf://user/name`, or `hf://user/name@revision` for a branch, tag or commit.
        offline: take what the cache has; the environment may say so, too.

    Raises:
        WeightsError: no such repository or no checkpoint of this package in it, no network.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, _, revision = address.removeprefix(SCHEME).partition("@")
    name = check_repository(name)
    try:
        path = hf_hub_download(
            name,
            WEIGHTS,
            revision=revision or None,
            endpoint=endpoint(),
            local_files_only=offline or offline_by_default(),
        )
    except RevisionNotFoundError as error:
        raise WeightsError(f"{address}: the repository has no revision {revision}") from error
    except RepositoryNotFoundError as error:
        raise WeightsError(
            f"{address}: no such repository; if it is private, log in with: hf auth login"
        ) from error
    except LocalEntryNotFoundError as error:
        raise WeightsError(f"{address}: not in the cache, and the Hub cannot be reached") from error
    except EntryNotFoundError as error:
        raise WeightsError(
            f"{address}: the repository has no {WEIGHTS}; push a model with crispmask push"
        ) from error
    except Exception as error:  # of the library below, which changes between releases
        raise WeightsError(f"{address}: {reason_of(error)}") from error
    return Path(path)


def upload(folder: Path, name: str, private: bool, message: str) -> str:
    """Puts the files of a folder into a repository, which is made if it is missing.

    Returns:
        The address of the repository for people.

    Raises:
        WeightsError: not allowed, or no network.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint())
    try:
        url = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message=message)
    except Exception as error:  # as above
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise WeightsError(
                f"{name}: the Hub does not let you write there; log in with: hf auth login"
            ) from error
        raise WeightsError(f"{name}: not pushed ({reason_of(error)})") from error
    return str(url)


def endpoint() -> str | None:
    """Another server than the Hub itself, if one is named."""
    return os.environ.get("HF_ENDPOINT") or None
