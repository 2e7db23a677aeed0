"""What ranks must have in common before they train together. How they talk: `engine.runtime`."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dmt.config import Settings, settings_hash
from dmt.engine.folder import PROGRESS
from dmt.engine.runtime import Runtime
from dmt.engine.stage import Stage, TrainStage
from dmt.errors import DataError, RunError, SettingError
from dmt.records import DATA

_NUM_BYTES = 8  # of a count beside a hash


def refuse_other_settings(settings: Settings, runtime: Runtime) -> None:
    """Check that all ranks were asked for the same.

    Raises:
        SettingError: one was not; on all ranks.
    """
    odd = _odd(runtime.digests(settings_hash(settings)))
    if odd:
        raise SettingError(
            f"{_named(odd)} given other settings than the other ranks; start all of them with "
            "the same command"
        )
    if settings.sync_batch_norm and runtime.device.type != "cuda":
        raise SettingError(
            f"sync_batch_norm=true is for CUDA, and this is {runtime.device.type}; leave it out, "
            "or take a model with GroupNorm or LayerNorm"
        )


def in_groups(settings: Settings, runtime: Runtime, *, is_sharing: bool = False) -> Runtime:
    """The ranks that train the same network as this one: all, or with `parallel_peers` half.

    Args:
        settings: of the run, the same on all ranks.
        runtime: of all ranks.
        is_sharing: whether other runs share what this one trains.

    Raises:
        SettingError: they cannot be halved, or a comparison cannot.
    """
    if not settings.parallel_peers:
        return runtime
    if is_sharing:
        raise SettingError(
            "parallel_peers=true is not for a comparison, whose runs share what they train; leave "
            "it out"
        )
    if runtime.world_size > 1 and runtime.world_size % 2:
        raise SettingError(
            f"parallel_peers=true gives each peer half of the ranks, and there are "
            f"{runtime.world_size}; start one more or one fewer, or leave it out"
        )
    return runtime.divided(2)


def refuse_unspreadable(
    stages: Sequence[Stage], num_images: int, runtime: Runtime, crew: Runtime
) -> None:
    """Check that every rank has a share of the images and of every batch.

    Args:
        stages: of the run.
        num_images: to learn from.
        runtime: of all ranks, who label.
        crew: of those that share a batch.

    Raises:
        SettingError: one would have none, or another one than the others.
    """
    if num_images < runtime.world_size:
        raise SettingError(
            f"there are {num_images} images to learn from, and {runtime.world_size} ranks to share "
            "them; start fewer"
        )
    num_ranks = crew.world_size
    for each in stages:
        if isinstance(each, TrainStage) and each.fit.num_blocks % num_ranks:
            fit = each.fit
            if fit.most_blocks % num_ranks:
                cure = f"start fewer, or give batch_blocks={num_ranks}"
            else:
                cure = "make both numbers multiples of it (student.labeled_share)"
            raise SettingError(
                f"batch_size={fit.batch_size} with {fit.num_labeled} labeled images in "
                f"{fit.most_blocks} blocks cannot be spread over {num_ranks} ranks; {cure}"
            )


def refuse_other_data(data: Mapping[str, Any], runtime: Runtime) -> None:
    """Check that all ranks see the same images and labels.

    Args:
        data: `data.fingerprint.fingerprint` of what this rank sees.

    Raises:
        DataError: one sees others; on all ranks.
    """
    count = int(data["num"]).to_bytes(_NUM_BYTES)
    seen = runtime.digests(hashlib.sha256(data["sha256"].encode()).digest() + count)
    odd = _odd(seen)
    if odd:
        own, other = (
            int.from_bytes(seen[rank][-_NUM_BYTES:])
            for rank in (odd[0], next(rank for rank in range(len(seen)) if rank not in odd))
        )
        raise DataError(
            f"{_named(odd)} shown other data than the other ranks ({own:,} files against "
            f"{other:,}, or other contents); give all of them the same"
        )


def refuse_other_paths(paths: Sequence[str], runtime: Runtime) -> None:
    """Check that all ranks see the same names, before anything is measured or read.

    What ranks measure together depends on how many images there are; contents are compared by
    `refuse_other_data`, once they have been read.

    Raises:
        DataError: one sees others; on all ranks.
    """
    if runtime.world_size > 1:
        seen = hashlib.sha256()
        for path in paths:
            seen.update(path.encode(errors="surrogateescape") + b"\0")
        refuse_other_data({"num": len(paths), "sha256": seen.hexdigest()}, runtime)


def refuse_other_folder(path: Path, runtime: Runtime) -> None:
    """Check that all ranks see the run's folder, as the first one has written it.

    Raises:
        RunError: one does not; on all ranks.
    """
    runtime.barrier()
    seen = hashlib.sha256()
    for file in (path / DATA, path / PROGRESS):
        seen.update(file.read_bytes() if file.is_file() else b"nothing")
    views = runtime.digests(seen.digest())
    odd = [rank for rank, view in enumerate(views) if view != views[0]]
    if odd:
        raise RunError(
            f"{_named(odd)} shown another {path} than rank 0; give a folder with out= that all "
            "of them share"
        )


def _odd(seen: Sequence[bytes]) -> list[int]:
    """Ranks that differ from most, or from the first where there is no most."""
    counts = Counter(seen)
    most = max(counts, key=lambda each: (counts[each], each == seen[0]))
    return [rank for rank, each in enumerate(seen) if each != most]


def _named(ranks: Sequence[int]) -> str:
    shown = ", ".join(map(str, ranks[:5])) + (", …" if len(ranks) > 5 else "")
    return f"rank{'s' * (len(ranks) > 1)} {shown} {'were' if len(ranks) > 1 else 'was'}"
