"""FreeMatch's running state: how sure the model is, and how often it calls each class.

The formulas are in `core.online`; who asks for them is `online`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dmt.core import LossSums, class_counts, class_thresholds, fairness, flat_log_softmax
from dmt.engine.runtime import Runtime


class AdaptiveThresholds:
    """Confidence thresholds that rise with the model's own sureness, class by class.

    Kept over steps: the mean confidence τ, the mean probabilities p̃ and the share of labels h̃ of
    each class. All begin at 1/K. What a step adds is summed over ranks, so every rank keeps the
    same.

    Args:
        num_classes: K.
        momentum: share of history kept (paper: 0.999).
        runtime: for what is summed over ranks.

    Source: FreeMatch (Wang et al., 2023), eq. 5–11. Departure: early on the momentum is
    min(momentum, (1 + t) / (10 + t)), as for averaged weights, or a run of a thousand steps would
    keep its first guess.
    """

    def __init__(self, num_classes: int, momentum: float, runtime: Runtime) -> None:
        self._num_classes = num_classes
        self._momentum = momentum
        self._runtime = runtime
        # τ, p̃ and h̃ one behind the other: one message for the ranks, one tensor to keep.
        self._kept = torch.full((1 + 2 * num_classes,), 1 / num_classes, device=runtime.device)
        self._num_seen = 0

    @torch.no_grad()
    def see(self, logits: Tensor, label: Tensor, confidence: Tensor, valid: Tensor) -> Tensor:
        """Take a step's answers to weak views; bool (N, *S), whose labels count.

        Args:
            logits: (N, K, *S).
            label: int64 (N, *S), their decisions.
            confidence: float32 (N, *S).
            valid: bool (N, *S); what is not valid is not looked at.
        """
        probs, share, num = self._sums(logits, label, valid)
        sure = confidence.masked_fill(~valid, 0).sum()
        total = self._runtime.sum(torch.cat([sure.view(1), probs, share, num.view(1)]))
        momentum = min(self._momentum, (1 + self._num_seen) / (10 + self._num_seen))
        moved = torch.lerp(total[:-1] / total[-1].clamp(min=1), self._kept, momentum)
        self._kept = torch.where(total[-1] > 0, moved, self._kept)
        self._num_seen += 1
        threshold, expected, _ = self._parts()
        return confidence >= class_thresholds(threshold, expected)[label]

    def fairness(self, logits: Tensor, is_sure: Tensor) -> LossSums:
        """The fairness of a step's answers to strong views, as a term of the loss.

        Args:
            logits: (N, K, *S), with gradient.
            is_sure: bool (N, *S), of those whose labels count.
        """
        own, share, num = self._sums(logits, logits.detach().argmax(dim=1), is_sure)
        others = self._runtime.sum(torch.cat([own.detach(), share, num.view(1)]))
        total = others[-1].clamp(min=1)
        # The sum over all ranks, with the gradient of what is ours.
        probs = own + others[: self._num_classes] - own.detach()
        _, expected, expected_share = self._parts()
        loss = fairness(
            expected, expected_share, probs / total, others[self._num_classes : -1] / total
        )
        # Each rank has the whole value and its part of the gradient. `fit` divides by the number
        # of ranks and adds: that must leave the value, and the sum of the gradients.
        num_ranks = self._runtime.world_size
        value = num_ranks * loss - ((num_ranks - 1) * loss).detach()
        return LossSums(value, torch.ones((), dtype=torch.int64, device=logits.device))

    def _sums(self, logits: Tensor, label: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Σ of the probabilities (K,), decisions by class (K,), and how many."""
        probs_NKS = flat_log_softmax(logits).exp()
        valid_NS = valid.reshape(probs_NKS[:, 0].shape)
        probs = probs_NKS.masked_fill(~valid_NS.unsqueeze(1), 0).sum(dim=(0, 2))
        share = class_counts(label, valid, self._num_classes).float()
        return probs, share, valid.sum().float()

    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        threshold, expected, share = self._kept.split([1, self._num_classes, self._num_classes])
        return threshold.squeeze(0), expected, share

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {"kept": self._kept, "num_seen": torch.tensor(self._num_seen)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state_dict()`."""
        self._kept = state["kept"].to(self._runtime.device)
        self._num_seen = int(state["num_seen"])
