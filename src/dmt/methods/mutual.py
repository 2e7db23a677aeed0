"""Learning from pseudo labels by weight: supervised, self-training and all forms of DMT.

They differ in the rule of weights and in the plan's teachers, not in this code.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dmt.core import draw_mix, gamma_ramp, weigh, weighted_cross_entropy
from dmt.core.weighting import Rule
from dmt.engine.step import Batch, Position, StepResult, View
from dmt.models.norm import frozen_batch_norm

_STUDENT = "student"


class WeightedPseudoLabels:
    """One student on given and pseudo labels, the latter weighted by a rule.

    Args:
        view: the augmented copy a student trains on.
        num_classes: K.
        rule: how pseudo labels are weighted; `ones` for plain self-training.
        agreement_gamma: γ1.
        disagreement_gamma: γ2.
        has_ramp: γ · exp(−5 (1 − t/T)²) over the stage instead of constant γ.
        mixup: Beta's parameter, 0 for none.
        keep_max: λ ← max(λ, 1 − λ).
        num_blocks: mixup pairs inside this many consecutive blocks of the whole batch.
        num_ranks: of which each has as much of the batch.
    """

    learners: tuple[str, ...] = (_STUDENT,)

    def __init__(
        self,
        view: View,
        num_classes: int,
        *,
        rule: Rule,
        agreement_gamma: float,
        disagreement_gamma: float,
        has_ramp: bool,
        mixup: float,
        keep_max: bool,
        num_blocks: int = 1,
        num_ranks: int = 1,
    ) -> None:
        self._view = view
        self._num_classes = num_classes
        self._rule = rule
        self._gammas = agreement_gamma, disagreement_gamma
        self._has_ramp = has_ramp
        self._mixup = mixup
        self._keep_max = keep_max
        self._num_blocks = num_blocks
        self._num_ranks = num_ranks

    def begin(self, averages: Mapping[str, nn.Module]) -> None:
        """Nothing: the teacher has labeled before."""

    def losses(self, nets: Mapping[str, nn.Module], batch: Batch, position: Position) -> StepResult:
        """Σ w·CE over the batch; see `_mixed` for mixup."""
        net = nets[_STUDENT]
        batch = self._view(batch, position)
        if self._mixup:
            return self._mixed(net, batch, position)
        logits = net(batch.images)
        label, weight, sums = self._weights(logits.detach(), batch, position)
        sums_of_loss = weighted_cross_entropy(logits, label, weight, batch.valid)
        return StepResult({_STUDENT: (sums_of_loss,)}, {_STUDENT: sums})

    def _mixed(self, net: nn.Module, batch: Batch, position: Position) -> StepResult:
        """Mixup: mix(w) · CE on mixed images, the weights from a forward on the unmixed ones.

        That forward needs no gradient and leaves BatchNorm's running statistics alone.
        Departure: the authors' moves them, twice a step. Where every weight is one anyway it is
        not run.
        """
        is_one = self._rule == "ones" or max(self._gammas) == 0
        if is_one or bool(batch.is_labeled.all()):
            label, weight = batch.label, torch.ones_like(batch.confidence)
            sums: dict[str, Tensor] = {}
        else:
            with torch.no_grad(), frozen_batch_norm(net):
                logits = net(batch.images)
            label, weight, sums = self._weights(logits, batch, position)
        mix = draw_mix(
            self._num_ranks * len(batch.ids),
            self._mixup,
            position.seed,
            position.stage,
            position.step,
            keep_max=self._keep_max,
            num_blocks=self._num_blocks,
            slots=batch.slots,
            device=batch.images.device,
        )
        sums_of_loss = weighted_cross_entropy(
            net(mix(batch.images.float())),
            mix(one_hot(label, self._num_classes)),
            mix(weight),
            batch.valid & batch.valid[mix.partner],
        )
        return StepResult({_STUDENT: (sums_of_loss,)}, {_STUDENT: sums})

    def _weights(
        self, logits: Tensor, batch: Batch, position: Position
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Labels and weights of a batch: 1 where the label was given, the rule's elsewhere."""
        scale = self._ramp(position)
        weighted = weigh(
            self._rule,
            logits,
            batch.label,
            batch.confidence,
            self._gammas[0] * scale,
            self._gammas[1] * scale,
        )
        given = batch.is_labeled.to(batch.label.device)
        given = given.view(-1, *[1] * (batch.label.ndim - 1)).expand_as(batch.label)
        weight = torch.where(given, 1.0, weighted.weight)
        label = torch.where(given, batch.label, weighted.label)
        pseudo = batch.valid & ~given
        return (
            label,
            weight,
            {
                "num_pseudo": pseudo.sum(),
                "num_agreed": (weighted.is_agreed & pseudo).sum(),
                "weight": weight.masked_fill(~pseudo, 0).sum(),
            },
        )

    def _ramp(self, position: Position) -> float:
        return gamma_ramp(position.step, position.num_steps) if self._has_ramp else 1.0

    def after_step(self, nets: Mapping[str, nn.Module], position: Position) -> None:
        """Nothing: no state is kept between steps."""

    def gamma(self, position: Position) -> float | None:
        """γ1 in force."""
        return None if self._rule == "ones" else self._gammas[0] * self._ramp(position)

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to go on from."""


def one_hot(label: Tensor, num_classes: int) -> Tensor:
    """Labels (N, *S) as float32 probabilities (N, K, *S); what is no class becomes some class."""
    return F.one_hot(label.clamp(0, num_classes - 1), num_classes).movedim(-1, 1).float()
