"""How ranks find each other, notice that one is gone, and speak with one voice. No collectives.

Launchers (torchrun, accelerate, srun) tell each process its place in variables; beside `runtime`
this is the only file that talks to torch.distributed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterator
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from dmt.errors import EnvironmentFault, LeftAlone

RANK_TIMEOUT = 600.0  # seconds

_ASK_FOR = timedelta(seconds=5)  # whether another rank has said a sentence
# Launchers that start several processes and leave it to a script to tell them their place.
_SILENT_LAUNCHERS = {"SLURM_STEP_NUM_TASKS": "srun", "OMPI_COMM_WORLD_SIZE": "mpirun"}


def meet(device: torch.device, timeout: float) -> tuple[int, int]:
    """This process's rank and the number of ranks; 0 and 1 if alone.

    Messages between CPUs go through gloo even where the GPUs have nccl, so that what only the
    programs talk about never waits for a GPU.

    Args:
        device: where this rank computes.
        timeout: seconds that ranks wait for each other, now and in every message.

    Raises:
        EnvironmentFault: the launcher's variables make no sense, or the ranks did not meet in time.
    """
    world_size = num_started()
    if world_size == 1:
        _refuse_silent_launcher()
        return 0, 1
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.getenv(name)]
    if missing:
        raise EnvironmentFault(
            f"WORLD_SIZE={world_size} but {', '.join(missing)} is not set; start ranks with "
            "torchrun, or unset WORLD_SIZE for one process"
        )
    rank, port = _place("RANK", 0), _place("MASTER_PORT", 0)
    if rank >= world_size or port >= 1 << 16:
        what = f"RANK={rank} of {world_size}" if rank >= world_size else f"MASTER_PORT={port}"
        raise EnvironmentFault(f"{what} is not possible; start ranks with torchrun")
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        limit = timedelta(seconds=timeout)
        try:
            store, _, _ = next(rendezvous("env://", rank, world_size, timeout=limit))
            # A launcher that starts ranks again keeps its store, and with it the addresses of
            # those that have died: a rank would wait for one of them.
            own = dist.PrefixStore(_attempt(), store)  # type: ignore[attr-defined]
            dist.init_process_group(
                backend, store=own, rank=rank, world_size=world_size, timeout=limit
            )
        except (RuntimeError, ValueError) as error:
            raise EnvironmentFault(
                f"the {world_size} ranks did not meet at {os.environ['MASTER_ADDR']}:{port} "
                f"within {timeout:g} seconds ({str(error).splitlines()[0][:200]}); start all of "
                "them, with the same address, or give them longer with rank_timeout="
            ) from error
    return dist.get_rank(), world_size


def num_started() -> int:
    """How many processes the launcher says that there are; 1 without one.

    Raises:
        EnvironmentFault: what it says is no number.
    """
    return _place("WORLD_SIZE", 1)


@contextlib.contextmanager
def company() -> Iterator[None]:
    """Within, a rank that finds itself left by another says just that.

    Raises:
        LeftAlone: a rank has ended, or has not answered for `rank_timeout`.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        is_late = "imed out" in text or "imeout" in text
        if not (isinstance(error, dist.DistError) or "onnection" in text or is_late):
            raise
        what = "has not answered in time (rank_timeout=)" if is_late else "has ended"
        raise LeftAlone(
            f"another of the processes that train together {what}, so this one ends as well; "
            "see what that one said, then `dmt resume` goes on"
        ) from error


def is_mine_to_say(sentence: str, *, is_echo: bool) -> bool:
    """Whether this rank is the first to say a sentence, so that it is read once.

    Asked of the store where the ranks met; where there is none any more, everyone speaks.

    Args:
        sentence: what is to be said.
        is_echo: it only follows from what another rank may have said; then that is enough.
    """
    host, port = os.getenv("MASTER_ADDR"), os.getenv("MASTER_PORT", "")
    # Without torchrun the first rank keeps the store, and it may be gone before anybody met.
    is_kept = os.getenv("TORCHELASTIC_USE_AGENT_STORE") == "True" or dist.is_initialized()
    if not (host and port.isdecimal() and is_kept):
        return True
    try:
        # TCPStore fails with a page of frames on stderr; a socket just says no.
        socket.create_connection((host, int(port)), timeout=_ASK_FOR.total_seconds()).close()
        store = dist.TCPStore(  # type: ignore[attr-defined]
            host, int(port), is_master=False, timeout=_ASK_FOR, wait_for_workers=False
        )
        said = f"{_attempt()} said"
        if is_echo and store.add(said, 0):
            return False
        is_first = store.add(f"{said} {hashlib.sha256(sentence.encode()).hexdigest()}", 1) == 1
        store.add(said, 1)
        return is_first
    except (OSError, RuntimeError, ValueError):
        return True


def _attempt() -> str:
    """What keys of this start are called, and those of one before it were not."""
    return f"dmt {os.getenv('TORCHELASTIC_RESTART_COUNT', '0')}"


def _place(name: str, otherwise: int) -> int:
    """A number among the launcher's variables."""
    text = os.environ.get(name, "")
    if not text:
        return otherwise
    if not text.isdecimal() or (name == "WORLD_SIZE" and int(text) == 0):
        raise EnvironmentFault(
            f"{name}={text} is no number of a launcher; start ranks with torchrun, or unset it"
        )
    return int(text)


def _refuse_silent_launcher() -> None:
    for name, launcher in _SILENT_LAUNCHERS.items():
        if not os.environ.get("WORLD_SIZE") and os.environ.get(name, "1") not in {"", "1"}:
            raise EnvironmentFault(
                f"{launcher} started {os.environ[name]} processes but WORLD_SIZE is not set, so "
                f"each would train alone; put torchrun behind {launcher} (docs/scale.md), or unset "
                f"{name}"
            )
