"""Settings that mean the same from any folder. What a session does with them is not here."""

from __future__ import annotations

import os
import re

from dmt.config import Settings
from dmt.data.pools.places import is_remote


def portable(settings: Settings) -> Settings:
    """The same settings with whole paths, and without what is for one session alone."""
    data, peers = settings.data, settings.peers
    named = {"a": peers.a, "b": peers.b}
    return settings.model_copy(
        update={
            "out": None,
            "trust_code": False,
            "go_on": False,
            "dataset": _absolute(settings.dataset),
            "init_from": settings.init_from and _whole_path(settings.init_from),
            "weights": _absolute_file(settings.weights),
            "peers": peers.model_copy(
                update={
                    name: peer.model_copy(update={"weights": _absolute_file(peer.weights)})
                    for name, peer in named.items()
                }
            ),
            "data": data.model_copy(
                update={
                    "follow_links": False,
                    "labeled_list": _absolute_file(data.labeled_list),
                    "unlabeled": _whole_address(data.unlabeled),
                }
            ),
        }
    )


def _absolute(dataset: str | None) -> str | None:
    """DATA so that it is found from any folder; the name of a built-in stays a name."""
    if dataset is None or re.fullmatch(r"digits|cifar10|shapes(:.*)?", dataset):
        return dataset
    if dataset.startswith("cifar10:"):
        return f"cifar10:{_whole_path(dataset.removeprefix('cifar10:'))}"
    return _whole_path(dataset)


def _whole_address(address: str | None) -> str | None:
    """A pool's path as a whole one; an address elsewhere is whole."""
    return address if not address or is_remote(address) else _whole_path(address)


def _whole_path(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _absolute_file(named: str | None) -> str | None:
    """A file by its whole path; a word that is none stays a word."""
    return os.path.abspath(named) if named and os.path.isfile(named) else named
