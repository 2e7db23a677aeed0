"""Weights files on the hub and in its cache on this machine; what is in them is not read here."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from dmt.errors import EnvironmentFault

_CONNECT_SECONDS = 4.0  # the hub's own client goes on trying for 23 s where there is no network


class Address(NamedTuple):
    """Where a file lies on the hub."""

    repository: str
    revision: str | None
    file: str


def cached(address: Address) -> Path | None:
    """The file in the hub's cache on this machine, if it is there; no network is used."""
    repository, revision, file = address
    found = _client().try_to_load_from_cache(repository, file, revision=revision)
    return Path(found) if isinstance(found, str) else None


def fetch(address: Address, name: str) -> Path:
    """The file, from the cache or by the network.

    Args:
        address: of the file.
        name: what it belongs to, for the message.

    Raises:
        EnvironmentFault: it is not cached and cannot be fetched.
    """
    if (path := cached(address)) is not None:
        return path
    repository, revision, file = address
    client = _client()
    try:
        # One short question first: the download itself retries for longer than anyone would wait.
        url = client.hf_hub_url(repository, file, revision=revision)
        client.get_hf_file_metadata(url, timeout=_CONNECT_SECONDS)
        return Path(client.hf_hub_download(repository, file, revision=revision))
    except Exception as error:  # each version of the client raises others; the cure is the same
        raise no_weights(name, first_line(error)) from error


def no_weights(name: str, reason: str) -> EnvironmentFault:
    """The sentence for weights that cannot be had, with the cures."""
    return EnvironmentFault(
        f"the pre-trained weights of {name} cannot be had ({reason}); connect once so that the "
        "hub's cache holds them, copy that cache here from a machine that has them (HF_HOME says "
        "where it lies), or set weights=none"
    )


def first_line(error: Exception) -> str:
    """What an error says, short enough to stand in a sentence of ours."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line.rstrip(".: ") or type(error).__name__


def _client() -> ModuleType:
    return importlib.import_module("huggingface_hub")
