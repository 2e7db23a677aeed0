"""Where and how a run computes: device, precision, ranks. Nothing about models or data.

The only file that talks to torch.distributed; on one process every reduction is a no-op.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from dmt.core import hashed
from dmt.errors import EnvironmentFault, SettingError

Precision = Literal["fp32", "bf16", "fp16"]
_RENDEZVOUS_LIMIT = timedelta(minutes=5)
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Runtime:
    """The device, the precision and this process's place among the ranks."""

    device: torch.device
    precision: Precision = "fp32"
    rank: int = 0
    world_size: int = 1
    mesh: DeviceMesh | None = None  # dimensions (peer, data); None on one process
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def is_writer(self) -> bool:
        """Exactly one rank writes records, checkpoints and pages."""
        return self.rank == 0

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """The mixed precision of a forward pass; nothing for fp32."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=_DTYPES[self.precision])

    def grad_scaler(self) -> torch.amp.GradScaler:
        """Scales the loss for fp16 so that small gradients survive; passes all else through."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

    def sum(self, value: Tensor) -> Tensor:
        """The sum over ranks, the same bits on every rank."""
        if self.world_size > 1:
            value = value.clone()
            with _company():
                dist.all_reduce(value)
        return value

    def largest(self, value: Tensor) -> Tensor:
        """The maximum over ranks, on every rank."""
        if self.world_size > 1:
            value = value.clone()
            with _company():
                dist.all_reduce(value, dist.ReduceOp.MAX)
        return value

    def agree(self, value: float) -> float:
        """The ranks' mean of a figure that each measured for itself, the same on every rank."""
        total = self.sum(torch.tensor([value], device=self.device))
        return float(total) / self.world_size

    def sum_gradients(self, module: torch.nn.Module) -> None:
        """Replace every gradient by its sum over ranks, in one message.

        The loss was divided by the count of all ranks before, so the sum is the gradient of the
        whole batch; DDP's mean of per-rank means would not be.
        """
        if self.world_size == 1:
            return
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        with _company():
            dist.all_reduce(flat)
        for gradient, part in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))

    def gather(self, value: Tensor) -> Tensor:
        """The ranks' equally long pieces, joined in rank order."""
        if self.world_size == 1:
            return value
        pieces = [torch.empty_like(value) for _ in range(self.world_size)]
        with _company():
            dist.all_gather(pieces, value.contiguous())
        return torch.cat(pieces)

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.world_size > 1:
            with _company():
                dist.barrier()


def open_runtime(
    device: str = "auto", precision: str = "auto", *, is_alone: bool = False
) -> Runtime:
    """Choose device and precision, and join the other ranks if a launcher started several.

    Args:
        device: auto (CUDA, then MPS, then CPU), or a torch device such as cpu, cuda, cuda:1, mps.
        precision: auto (bf16 where the hardware has it, else fp32), fp32, bf16 or fp16.
        is_alone: whether to leave the other ranks alone, where each does work of its own.

    Raises:
        EnvironmentFault: the device is not there, or the ranks did not meet in time.
        SettingError: the device has no such name, or does not do this precision.
    """
    chosen = _device(device)
    notes = []
    if precision == "auto":
        kind: Precision = "bf16" if has_fast_bf16(chosen) else "fp32"
    elif precision == "fp16" and chosen.type == "cpu":
        raise SettingError("precision=fp16 is not for the CPU; use bf16 or fp32 there")
    elif precision in _DTYPES:
        kind = precision  # type: ignore[assignment]
        if precision == "bf16" and not has_fast_bf16(chosen):
            notes.append(
                f"precision=bf16 was asked for, but this {chosen.type} computes it slowly; "
                "fp32 would be faster"
            )
    else:
        raise SettingError(f"precision={precision} is unknown; use auto, fp32, bf16 or fp16")
    if chosen.type == "cpu" and device == "auto":
        notes.append("no GPU was found: training on the CPU")
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)  # what is seeded and waited for is the current device
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
    rank, world_size, mesh = (0, 1, None) if is_alone else _join_ranks(chosen)
    return Runtime(chosen, kind, rank, world_size, mesh, tuple(notes))


def seed_torch(device: torch.device, seed: int, *where: int | str) -> None:
    """Seed torch's own generators from a place, for what draws from them (dropout).

    `torch.manual_seed` would queue a seed for every kind of device, which costs a stack trace a
    call; a step needs the CPU's generator and its own device's.
    """
    number = hashed(seed, *where) >> 1
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)
    elif device.type == "mps":
        torch.mps.manual_seed(number)


def hardware(runtime: Runtime) -> str:
    """The machine in words, for the records: kinds and counts, no names."""
    if runtime.device.type == "cuda":
        return f"{runtime.world_size} × {torch.cuda.get_device_name(runtime.device)}"
    features = torch.backends.cpu.get_cpu_capability()
    where = "Apple GPU (MPS)" if runtime.device.type == "mps" else f"CPU ({features})"
    return (
        f"{where}, {platform.machine()}, {torch.get_num_threads()} threads a process, "
        f"{runtime.world_size} process{'es' if runtime.world_size > 1 else ''}"
    )


@contextlib.contextmanager
def _company() -> Iterator[None]:
    """Within, a rank that finds itself left by another says just that.

    Raises:
        EnvironmentFault: a rank has ended, or cannot be reached any more.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "onnection" not in str(error):
            raise
        raise EnvironmentFault(
            "another of the processes that train together has ended, so this one ends as well; "
            "see what that one said, then `dmt resume` goes on"
        ) from error


def _device(name: str) -> torch.device:
    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        return torch.device("mps" if has_mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingError(
            f"device={name} is no device; use auto, cpu, cuda, cuda:1 or mps"
        ) from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            found = f"{count} CUDA device{'s' if count > 1 else ''}" if count else "no CUDA device"
            raise EnvironmentFault(
                f"device={name} is not there: this machine shows {found}; use device=auto"
            )
        if device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % count)
    elif device.type == "mps" and not has_mps:
        raise EnvironmentFault("device=mps is not there on this machine; use device=auto")
    elif device.type not in {"cpu", "cuda", "mps"}:
        raise SettingError(f"device={name} is not supported; use auto, cpu, cuda, cuda:1 or mps")
    return device


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 is multiplied by the hardware, so that precision=auto takes it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Emulated bf16 is slower than fp32; only AMX and AVX512-BF16 multiply it natively.
        checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        return any(bool(getattr(torch.cpu, name, bool)()) for name in checks)
    return False


def _join_ranks(device: torch.device) -> tuple[int, int, DeviceMesh | None]:
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        return 0, 1, None
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise EnvironmentFault(
            f"WORLD_SIZE={world_size} but {', '.join(missing)} is not set; start ranks with "
            "torchrun, or unset WORLD_SIZE for one process"
        )
    if not dist.is_initialized():
        try:
            dist.init_process_group(
                "nccl" if device.type == "cuda" else "gloo", timeout=_RENDEZVOUS_LIMIT
            )
        except (RuntimeError, ValueError) as error:
            raise EnvironmentFault(f"the {world_size} ranks did not meet: {error}") from error
    mesh = init_device_mesh(device.type, (1, world_size), mesh_dim_names=("peer", "data"))
    return dist.get_rank(), world_size, mesh
