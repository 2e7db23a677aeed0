"""The one training loop. It owns backward, optimizers, averaging, the finite check, the clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from dmt import faults
from dmt.core import LossSums
from dmt.engine.ema import Ema
from dmt.engine.finite import FiniteCheck, NotFiniteError
from dmt.engine.runtime import Runtime, seed_torch
from dmt.engine.sharding import load_optimizer, load_parts, shard, whole
from dmt.engine.step import Batch, Method, Position

_LOWEST_SCALE = 2.0**-8  # fp16's largest number over this is 2²⁴: no gradient of use is above


@dataclass(frozen=True)
class FitSpec:
    """How long and how fast one stage trains."""

    num_steps: int
    batch_size: int
    num_labeled: int  # of the batch; the rest carry pseudo labels
    lr: float
    lr_schedule: Literal["cosine", "poly", "constant"] = "cosine"
    lr_span: tuple[int, int] | None = None  # steps before this stage and in all; None: its own
    warmup: int = 0  # steps
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    ema_decay: float = 0.999  # 0: no averaging
    mixup: float = 0.0  # Beta's parameter; 0: none
    keep_max: bool = True  # λ ← max(λ, 1 − λ)
    most_blocks: int = 8  # into which a batch is cut
    shuffle_block: int | None = None  # unlabeled neighbours that a pass takes near each other

    @property
    def num_blocks(self) -> int:
        """Equal consecutive blocks of a batch, each with the same number of labeled images.

        Mixup pairs inside a block and ranks take whole blocks, so the number of ranks changes
        nothing (up to `most_blocks` of them).
        """
        return math.gcd(self.most_blocks, self.num_labeled, self.batch_size - self.num_labeled)

    def lr_at(self, step: int) -> float:
        """The learning rate of a step: linear warm-up, then cosine to 0, poly 0.9 or constant."""
        before, total = self.lr_span or (0, self.num_steps)
        step += before
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, total - self.warmup)
        if self.lr_schedule == "cosine":
            return self.lr * 0.5 * (1 + math.cos(math.pi * done))
        if self.lr_schedule == "poly":
            return float(self.lr * (1 - done) ** 0.9)
        return self.lr


class Learner:
    """A network in training: its weights, its optimizer, its average.

    Args:
        net: the same on all ranks.
        spec: of the stage.
        mesh: over which all three are to lie in parts; None: whole on every rank.
    """

    def __init__(self, net: nn.Module, spec: FitSpec, mesh: DeviceMesh | None = None) -> None:
        self.net = net
        self.spec = spec
        self.ema = Ema(net, spec.ema_decay) if spec.ema_decay else None
        if mesh is not None:
            shard(net, mesh)
            if self.ema is not None:
                shard(self.ema.module, mesh)
        # One fused kernel for all parameters: small networks spend much of a step launching.
        fused = next(net.parameters()).device.type in {"cpu", "cuda"}
        if spec.optimizer == "sgd":
            self.optimizer: torch.optim.Optimizer = torch.optim.SGD(
                net.parameters(),
                lr=spec.lr,
                momentum=spec.momentum,
                weight_decay=spec.weight_decay,
                fused=fused and mesh is None,  # torch has no fused SGD for parts
            )
            if spec.momentum:
                # Left to torch, the fused kernel takes them from uninitialised memory, and does
                # not fill them where fp16 skips the first step.
                for parameter in net.parameters():
                    self.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        else:
            self.optimizer = torch.optim.AdamW(
                net.parameters(), lr=spec.lr, weight_decay=spec.weight_decay, fused=fused
            )

    @property
    def outcome(self) -> nn.Module:
        """The network to use afterwards: the average where there is one."""
        return self.net if self.ema is None else self.ema.module

    def state_dict(self) -> dict[str, Any]:
        """Everything the next step depends on, whole; all ranks must ask."""
        return {
            "net": whole(self.net.state_dict()),
            "optimizer": whole(self.optimizer.state_dict()),
            "ema": None if self.ema is None else whole(self.ema.state_dict()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`, of one rank or of any number."""
        load_parts(self.net, state["net"])
        load_optimizer(self.optimizer, state["optimizer"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])


class Tally:
    """Running sums since the last record, kept on the device so that a step waits for nothing.

    They are this rank's own; a checkpoint keeps those of all ranks side by side.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add one step's scalars and vectors."""
        for name, value in values.items():
            # Apple's GPUs have no float64; sums of a few dozen steps do not need it there.
            value = value.detach().to(torch.float32 if value.is_mps else torch.float64)
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def take(self, runtime: Runtime) -> dict[str, Tensor]:
        """The sums over all ranks, on the CPU, and begin anew."""
        if not self.sums:
            return {}
        sums = dict(sorted(self.sums.items()))
        flat = runtime.sum(torch.cat([value.view(-1) for value in sums.values()])).cpu()
        parts = flat.split([value.numel() for value in sums.values()])
        self.sums = {}
        return {
            name: part.view(value.shape)
            for (name, value), part in zip(sums.items(), parts, strict=True)
        }

    def of_all(self, runtime: Runtime) -> dict[str, Tensor]:
        """The sums of every rank, (ranks, …) by name, on every rank."""
        return {name: runtime.gather(self.sums[name][None]) for name in sorted(self.sums)}

    def take_up(self, sums: Mapping[str, Tensor], runtime: Runtime) -> None:
        """Go on from `of_all`, of as many ranks or of another number."""
        for name, of_ranks in sums.items():
            values = of_ranks.to(runtime.device)
            if len(values) == runtime.world_size:
                self.sums[name] = values[runtime.rank]
            else:  # the records add up over ranks, so it does not matter whose they are
                self.sums[name] = values.sum(dim=0) * runtime.is_writer


def fit(
    learners: Mapping[str, Learner],
    method: Method,
    batches: Iterable[tuple[Position, Batch]],
    runtime: Runtime,
    *,
    tally: Tally,
    scaler: torch.amp.GradScaler,
    after_step: Callable[[Position, Mapping[str, Tensor] | None], None],
) -> None:
    """Train `learners` on `batches` by `method`, until the batches end.

    Args:
        learners: by the names in `method.learners`.
        batches: this rank's share of every step's batch, with its position.
        tally: sums since the last record (carried over by a resumed run).
        scaler: of the runtime.
        after_step: called after every step with the position and, every `record_every` steps
            and at the end, the sums since the last time (else None): `loss`, `num_steps`, and
            what is one learner's behind its name and a dot. It records, saves and stops.

    Raises:
        NotFiniteError: a loss or a gradient is not finite. On the CPU the optimizers have not
            moved; elsewhere `after_step` has not been told of that step with sums. A step that
            fp16 skips to lower its scale is neither.

    On an accelerator nothing in a step waits for the device but fp16's scaler
    (`tests/unit/engine/test_no_waiting.py`).
    """
    finite = FiniteCheck(runtime, is_at_once=runtime.device.type == "cpu")
    nets = {name: learner.net for name, learner in learners.items()}
    for net in nets.values():
        net.train()
    method.begin({name: learner.outcome for name, learner in learners.items()})
    for position, batch in batches:
        seed_torch(runtime.device, position.seed, position.stage, position.step, runtime.rank)
        with runtime.autocast():
            result = method.losses(nets, batch, position)
        losses = {
            name: torch.stack([_mean(sums, runtime) for sums in terms]).sum()
            for name, terms in result.losses.items()
        }
        loss = torch.stack(list(losses.values())).sum()
        finite.loss(loss, nets, batch, position)
        for learner in learners.values():
            learner.optimizer.zero_grad(set_to_none=True)
            for group in learner.optimizer.param_groups:
                group["lr"] = learner.spec.lr_at(position.step)
        scaler.scale(loss).backward()
        for net in nets.values():
            runtime.sum_gradients(net)
        faults.reached("step gradients")
        if not scaler.is_enabled():
            finite.gradients(nets.values())
        if _move(learners, scaler):
            for learner in learners.values():
                if learner.ema is not None:
                    learner.ema.update(learner.net)
        method.after_step(nets, position)
        tally.add(
            {
                "loss": loss,
                "num_steps": torch.ones_like(loss) / runtime.world_size,
                **{f"{name}.loss": own for name, own in losses.items()},
                **{
                    f"{name}.{key}": value
                    for name, sums in result.sums.items()
                    for key, value in sums.items()
                },
            }
        )
        is_due = (position.step + 1) % record_every(position.num_steps) == 0
        is_last = position.step + 1 == position.num_steps
        if is_due or is_last:
            finite.settle()
        try:
            after_step(position, tally.take(runtime) if is_due or is_last else None)
        except NotFiniteError:
            finite.settle()  # which may know the step and its images
            raise


def record_every(num_steps: int) -> int:
    """Steps between two lines of a stage's curve: about 40 lines a stage, whatever the clock."""
    return max(1, num_steps // 40)


def _mean(sums: LossSums, runtime: Runtime) -> Tensor:
    """This rank's part of the mean over all ranks: its total over everyone's count."""
    return sums.total / runtime.sum(sums.num_valid).clamp(min=1)


def _move(learners: Mapping[str, Learner], scaler: torch.amp.GradScaler) -> bool:
    """Let the optimizers take their step; False where fp16's scale was too high for it.

    Raises:
        NotFiniteError: no scale is low enough.
    """
    scale = scaler.get_scale()
    for learner in learners.values():
        scaler.step(learner.optimizer)
    scaler.update()
    if not scaler.is_enabled():
        return True
    lowered = scaler.get_scale()  # only fp16 waits for the device here
    if lowered < _LOWEST_SCALE:
        raise NotFiniteError("the gradient")
    return lowered >= scale


class ClockedRate:
    """Images a second since it was last read."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self._images = 0

    def add(self, num_images: int) -> None:
        """Count a step's images."""
        self._images += num_images

    def read(self) -> float:
        """The rate, and begin anew."""
        now = time.perf_counter()
        rate = self._images / max(now - self._since, 1e-9)
        self._since, self._images = now, 0
        return rate
