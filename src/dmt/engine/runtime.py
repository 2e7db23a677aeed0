"""Where and how a run computes: device, precision, what ranks tell each other. No models, no data.

How ranks find each other is `meeting`'s; on one process every reduction is a no-op.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from dmt.core import hashed
from dmt.engine.meeting import RANK_TIMEOUT, company, meet
from dmt.engine.sharding import is_part
from dmt.errors import EnvironmentFault, SettingError

Precision = Literal["fp32", "bf16", "fp16"]
_STATISTICS = ("running_mean", "running_var")  # of BatchNorm
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Runtime:
    """The device, the precision and this process's place among the ranks."""

    device: torch.device
    precision: Precision = "fp32"
    rank: int = 0
    world_size: int = 1
    timeout: float = RANK_TIMEOUT  # seconds that ranks wait for each other
    group: dist.ProcessGroup | None = None  # that it speaks to; None: all ranks
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
            with company():
                dist.all_reduce(value, group=self.group)
        return value

    def largest(self, value: Tensor) -> Tensor:
        """The maximum over ranks, on every rank."""
        if self.world_size > 1:
            value = value.clone()
            with company():
                dist.all_reduce(value, dist.ReduceOp.MAX, group=self.group)
        return value

    def agree(self, value: float) -> float:
        """The ranks' mean of a figure that each measured for itself, the same on every rank."""
        total = self.sum(torch.tensor([value], device=self.device))
        return float(total) / self.world_size

    def sum_gradients(self, module: torch.nn.Module) -> None:
        """Replace every gradient by its sum over ranks, in one message.

        The loss was divided by the count of all ranks before, so the sum is the gradient of the
        whole batch; DDP's mean of per-rank means would not be. BatchNorm's running statistics
        travel along and become the ranks' mean: all ranks hold the same network at every step, so
        a checkpoint of one is that of all.
        """
        if self.world_size == 1:
            return
        gradients = [
            p.grad
            for p in module.parameters()
            if p.grad is not None and not is_part(p.grad)  # those are summed already
        ]
        buffers = [each for name, each in module.named_buffers() if name.endswith(_STATISTICS)]
        if not gradients and not buffers:
            return
        flat = torch.cat([each.reshape(-1).float() for each in (*gradients, *buffers)])
        with company():
            dist.all_reduce(flat, group=self.group)
        parts = flat.split([each.numel() for each in (*gradients, *buffers)])
        for gradient, part in zip(gradients, parts, strict=False):
            gradient.copy_(part.view_as(gradient))
        for buffer, part in zip(buffers, parts[len(gradients) :], strict=True):
            buffer.copy_(part.view_as(buffer) / self.world_size)

    def gather(self, value: Tensor) -> Tensor:
        """The ranks' equally long pieces, joined in rank order."""
        if self.world_size == 1:
            return value
        pieces = [torch.empty_like(value) for _ in range(self.world_size)]
        with company():
            dist.all_gather(pieces, value.contiguous(), group=self.group)
        return torch.cat(pieces)

    def join(self, value: Tensor, lengths: Sequence[int]) -> Tensor:
        """The ranks' pieces of known, different lengths, joined in rank order."""
        if self.world_size == 1:
            return value
        longest = max(lengths)
        padded = value.new_zeros(longest, *value.shape[1:])
        padded[: len(value)] = value
        pieces = self.gather(padded).split(longest) if longest else [value]
        return torch.cat([piece[:num] for piece, num in zip(pieces, lengths, strict=False)])

    def first_text(self, text: str, first: int = 0) -> str:
        """What the first rank says, or another one, on every rank."""
        if self.world_size == 1:
            return text
        own = torch.tensor(list(text.encode()), dtype=torch.uint8)
        length = self.gather(torch.tensor([len(own)]))[first]
        said = own if self.rank == first else torch.empty(int(length), dtype=torch.uint8)
        with company():
            dist.broadcast(said, group=self.group, group_src=first)
        return bytes(said.tolist()).decode()

    def digests(self, digest: bytes) -> list[bytes]:
        """Every rank's digest, all equally long, in rank order."""
        pieces = self.gather(torch.tensor(list(digest), dtype=torch.uint8))
        return [bytes(piece.tolist()) for piece in pieces.split(len(digest))]

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.world_size > 1:
            with company():
                dist.barrier(group=self.group)

    def divided(self, num_groups: int) -> Runtime:
        """This rank among those of its group, where all are dealt out to equal groups in order.

        All ranks must ask, and their number be a multiple of the number of groups.
        """
        if num_groups == 1 or self.world_size == 1:
            return self
        size = self.world_size // num_groups
        limit = timedelta(seconds=self.timeout)
        # Every rank makes all of them, as torch asks.
        groups = [
            dist.new_group(list(range(first, first + size)), timeout=limit)
            for first in range(0, self.world_size, size)
        ]
        own = groups[self.rank // size]
        assert isinstance(own, dist.ProcessGroup)
        return replace(self, rank=self.rank % size, world_size=size, group=own)

    def mesh(self) -> DeviceMesh:
        """The ranks that it speaks to, for weights that lie in parts on them."""
        group = dist.group.WORLD if self.group is None else self.group
        assert group is not None
        return DeviceMesh.from_group(group, self.device.type, mesh_dim_names=("data",))


def open_runtime(
    device: str = "auto",
    precision: str = "auto",
    rank_timeout: float = RANK_TIMEOUT,
    *,
    is_alone: bool = False,
) -> Runtime:
    """Choose device and precision, and join the other ranks if a launcher started several.

    Args:
        device: auto (CUDA, then MPS, then CPU), or a torch device such as cpu, cuda, cuda:1, mps.
        precision: auto (bf16 where the hardware has it, else fp32), fp32, bf16 or fp16.
        rank_timeout: seconds that a rank waits for another one, at the meeting and ever after.
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
    rank, world_size = (0, 1) if is_alone else meet(chosen, rank_timeout)
    return Runtime(chosen, kind, rank, world_size, rank_timeout, notes=tuple(notes))


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


def _device(name: str) -> torch.device:
    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        if torch.cuda.is_available():
            return _own_gpu(torch.cuda.device_count())
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
            device = _own_gpu(count)
    elif device.type == "mps" and not has_mps:
        raise EnvironmentFault("device=mps is not there on this machine; use device=auto")
    elif device.type not in {"cpu", "cuda", "mps"}:
        raise SettingError(f"device={name} is not supported; use auto, cpu, cuda, cuda:1 or mps")
    return device


def _own_gpu(count: int) -> torch.device:
    """The GPU of this rank; a launcher may also show each rank its own alone."""
    local_rank = os.environ.get("LOCAL_RANK", "")
    return torch.device("cuda", (int(local_rank) if local_rank.isdecimal() else 0) % count)


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 is multiplied by the hardware, so that precision=auto takes it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Emulated bf16 is slower than fp32; only AMX and AVX512-BF16 multiply it natively.
        checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        return any(bool(getattr(torch.cpu, name, bool)()) for name in checks)
    return False
