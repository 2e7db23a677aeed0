"""Whether what a stage computes are still numbers, and which images are concerned where not.

What a stopped run leaves behind is the session's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from dmt.engine.runtime import Runtime
from dmt.engine.sharding import is_part, own
from dmt.engine.step import Batch, Position
from dmt.errors import TrainingError
from dmt.models.norm import frozen_batch_norm

_NUM_NAMED = 5
MOST_NOTED = 64
"""Steps that are looked at together where to look would wait for the device."""


class NotFiniteError(TrainingError):
    """Something a stage computed is no number; nothing of it was or will be written.

    Args:
        what: that is not finite, in words: the loss, the gradient …
        ids: of the images concerned, over all ranks.
        num_images: how many there were in the batch, or in the pool.
        step: which one of `num_steps`, from 1; 0 where there are none.
        is_sure: whether the network has no finite answer to just these images; else they are the
            batch, and nothing says that one of them is to blame.
    """

    def __init__(
        self,
        what: str,
        ids: Sequence[int] = (),
        num_images: int = 0,
        *,
        step: int = 0,
        num_steps: int = 0,
        is_sure: bool = False,
    ) -> None:
        self.what = what
        self.ids = tuple(dict.fromkeys(ids))
        self.num_images = num_images
        self.step = step
        self.num_steps = num_steps
        self.is_sure = is_sure
        super().__init__(self.told("", str))

    def told(self, where: str, name_of: Callable[[int], str]) -> str:
        """The sentence.

        Args:
            where: peer and round, in words; may be empty.
            name_of: from an id to the name of its file, as it can stand in a message.
        """
        sentence = f"{self.what} is not finite"
        if self.step:
            sentence += f" at step {self.step} of {self.num_steps}"
        if where:
            sentence += f" ({where})"
        if self.ids:
            sentence += f"; {self._images(name_of)}"
        cure = "try a lower learning rate (initial.lr, student.lr) or precision=fp32"
        if self.is_sure:
            cure = "look at these images and at what the network does with them"
        return f"{sentence}; nothing that was saved is overwritten: {cure}"

    def _images(self, name_of: Callable[[int], str]) -> str:
        named = ", ".join(map(name_of, self.ids[:_NUM_NAMED]))
        rest = len(self.ids) - _NUM_NAMED
        named += f" and {rest} more" if rest > 0 else ""
        if self.is_sure:
            return f"of {self.num_images} images the network has no finite answer to {named}"
        return f"the batch held {named}"


class _Step(NamedTuple):
    """A step that was not looked at yet."""

    loss: Tensor  # this rank's part, a scalar on the device
    gradient: Tensor | None  # its norm over all ranks, likewise
    ids: Tensor
    position: Position


class FiniteCheck:
    """Looks at the loss and the gradient of every step.

    On the CPU, where nothing has to be waited for, at once: at the loss before backward, at the
    gradient before the optimizer moves. On an accelerator that would make the host wait in every
    step, so steps are noted and looked at together by `settle`, after `MOST_NOTED` of them and
    before anything is recorded or kept. The optimizer has moved by then, but nothing of it stays.

    Args:
        runtime: for what is summed over ranks.
        is_at_once: whether a step is looked at while it is taken.
    """

    def __init__(self, runtime: Runtime, *, is_at_once: bool) -> None:
        self._runtime = runtime
        self._is_at_once = is_at_once
        self._noted: list[_Step] = []

    def loss(
        self, loss: Tensor, nets: Mapping[str, nn.Module], batch: Batch, position: Position
    ) -> None:
        """Take note of this rank's part of a step's loss.

        Raises:
            NotFiniteError: on all ranks alike; if looked at once it names the images without an
                answer, as far as they can be told from the others.
        """
        if len(self._noted) >= MOST_NOTED:
            self.settle()
        self._noted.append(_Step(loss.detach(), None, batch.ids, position))
        if self._is_at_once and not bool(self._runtime.sum(loss.detach()).isfinite()):
            found = _suspects(nets, batch).to(self._runtime.device)
            ids, is_bad, is_counted = self._runtime.gather(found).cpu().unbind(1)
            is_sure = bool(is_bad.any()) and not bool(is_bad.all())
            raise NotFiniteError(
                "the loss",
                ids[(is_bad if is_sure else is_counted).bool()].tolist(),
                len(ids),
                step=position.step + 1,
                num_steps=position.num_steps,
                is_sure=is_sure,
            )

    def gradients(self, nets: Iterable[nn.Module]) -> None:
        """Take note of the gradients of the step, summed over ranks.

        Raises:
            NotFiniteError: if looked at once; else `settle` raises it.
        """
        nets = list(nets)
        gradients = [own(p.grad) for net in nets for p in net.parameters() if p.grad is not None]
        if gradients:
            norm = get_total_norm(gradients)
            if any(is_part(each) for net in nets for each in net.parameters()):  # of this part
                norm = self._runtime.sum(norm)
            self._noted[-1] = self._noted[-1]._replace(gradient=norm)
        if self._is_at_once:
            self.settle()

    def settle(self) -> None:
        """Look at all that was noted: before anything is recorded or kept.

        Raises:
            NotFiniteError: of the first step with a loss or a gradient that is not finite.
        """
        noted, self._noted = self._noted, []
        if not noted:
            return
        losses = torch.stack([each.loss for each in noted])
        if not self._is_at_once:  # else they were looked at
            losses = self._runtime.sum(losses)
        nothing = torch.zeros_like(losses[0])
        gradients = torch.stack(
            [(nothing if each.gradient is None else each.gradient).to(losses.dtype)
             for each in noted]
        )  # fmt: skip
        is_finite = torch.stack([losses, gradients], dim=1).isfinite().cpu()
        for step, (has_loss, has_gradient) in zip(noted, is_finite.tolist(), strict=True):
            if not (has_loss and has_gradient):
                self._refuse("the gradient" if has_loss else "the loss", step)

    def _refuse(self, what: str, step: _Step) -> None:
        ids = self._runtime.gather(step.ids.to(self._runtime.device)).cpu().tolist()
        position = step.position
        raise NotFiniteError(
            what, ids, len(ids), step=position.step + 1, num_steps=position.num_steps
        )


def refuse_unless_finite(
    modules: Iterable[nn.Module],
    step: int,
    num_steps: int,
    runtime: Runtime,
    losses: Tensor | None = None,
) -> None:
    """Look at all weights before they are written.

    Args:
        modules: whose weights.
        step, num_steps: where they are.
        runtime: of the ranks that hold them.
        losses: of all ranks, summed since the last record; of steps not looked at yet.

    Raises:
        NotFiniteError: one is not finite; on all ranks.
    """
    if losses is not None and not bool(losses.isfinite().all()):
        raise NotFiniteError("a loss since the last record", step=step, num_steps=num_steps)
    tensors = [
        own(tensor)
        for module in modules
        for tensor in module.state_dict().values()
        if tensor.is_floating_point()
    ]
    is_bad = ~torch.stack([each.isfinite().all() for each in tensors]).all()
    if int(runtime.largest(is_bad.long())):
        raise NotFiniteError("a weight of the network", step=step, num_steps=num_steps)


def refuse_unless_all(is_finite: Tensor, ids: Tensor) -> None:
    """Look at a network's answers before any of them is stored or judged.

    Args:
        is_finite: bool (N,), on the CPU and the same on every rank.
        ids: int64 (N,), the images that were answered.

    Raises:
        NotFiniteError: an answer is not finite.
    """
    if not bool(is_finite.all()):
        is_sure = bool(is_finite.any())
        bad = ids[~is_finite].tolist() if is_sure else ()
        raise NotFiniteError("an answer of the network", bad, len(ids), is_sure=is_sure)


def _suspects(nets: Mapping[str, nn.Module], batch: Batch) -> Tensor:
    """Of every image its id, whether a network has no finite answer to it, whether it is counted.

    Each is looked at on its own and as it is in the data set: within the batch one image without
    an answer spoils BatchNorm's statistics, and with them the answers to all.

    Returns:
        int64 (N, 3) on the CPU.
    """
    is_bad = torch.zeros(len(batch.ids), dtype=torch.bool)
    for net in nets.values():
        with torch.no_grad(), frozen_batch_norm(net):
            for index in range(len(batch.ids)):
                # Twice, as BatchNorm refuses a single value a channel.
                logits = net(batch.images[index : index + 1].expand(2, -1, -1, -1))
                is_bad[index] |= not bool(logits.isfinite().all())
    is_counted = batch.valid.reshape(len(batch.ids), -1).any(dim=1).cpu()
    return torch.stack([batch.ids.cpu(), is_bad.long(), is_counted.long()], dim=1)
