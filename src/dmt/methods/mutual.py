"""Learning from pseudo labels by weight: supervised, self-training and all forms of DMT.

They differ in the rule of weights and in the plan's teachers, not in this code.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dmt.core import (
    Weighted,
    draw_mix,
    gamma_ramp,
    mutual_cross_entropy,
    sent,
    small_mutual_cross_entropy,
    weigh,
    weighted_cross_entropy,
)
from dmt.core.weighting import Rule
from dmt.engine.step import Batch, Position, StepResult, View
from dmt.models.network import Network
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
        rest = (batch.label, batch.confidence, _given(batch), batch.valid)
        gammas = self._exponents(position)
        if isinstance(net, Network) and net.is_dense:
            small = net(batch.images, is_coarse=True)
            enlarge = partial(net.enlarge, height=batch.label.shape[1], width=batch.label.shape[2])
            sums_of_loss, weighted = small_mutual_cross_entropy(
                self._rule, small, enlarge, *rest, *gammas
            )
        else:
            sums_of_loss, weighted = mutual_cross_entropy(
                self._rule, net(batch.images), *rest, *gammas
            )
        return StepResult({_STUDENT: (sums_of_loss,)}, {_STUDENT: _sums(weighted, batch)})

    def _mixed(self, net: nn.Module, batch: Batch, position: Position) -> StepResult:
        """Mixup: mix(w) · CE on mixed images, the weights from a forward on the unmixed ones.

        That forward needs no gradient and leaves BatchNorm's running statistics alone.
        Departure: the authors' moves them, twice a step. Where every weight is one anyway it is
        not run.
        """
        # `is_labeled` is on the CPU, so to ask it waits for no device.
        is_one = self._rule == "ones" or max(self._gammas) == 0
        if is_one or bool(batch.is_labeled.all()):
            label, weight = batch.label, torch.ones_like(batch.confidence)
            sums: dict[str, Tensor] = {}
        else:
            with torch.no_grad(), frozen_batch_norm(net):
                logits = net(batch.images)
            weighted = weigh(
                self._rule, logits, batch.label, batch.confidence, *self._exponents(position)
            )
            label = torch.where(_given(batch), batch.label, weighted.label)
            weight = torch.where(_given(batch), 1.0, weighted.weight)
            sums = _sums(weighted._replace(weight=weight), batch)
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

    def _exponents(self, position: Position) -> tuple[float, float]:
        scale = self._ramp(position)
        return self._gammas[0] * scale, self._gammas[1] * scale

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


def _given(batch: Batch) -> Tensor:
    """bool (N, *1) on the labels' device: the label was given by a person."""
    given = sent(batch.is_labeled, batch.label.device)
    return given.view(-1, *[1] * (batch.label.ndim - 1))


def _sums(weighted: Weighted, batch: Batch) -> dict[str, Tensor]:
    pseudo = batch.valid & ~_given(batch)
    return {
        "num_pseudo": pseudo.sum(),
        "num_agreed": (weighted.is_agreed & pseudo).sum(),
        "weight": weighted.weight.masked_fill(~pseudo, 0).sum(),
    }


def one_hot(label: Tensor, num_classes: int) -> Tensor:
    """Labels (N, *S) as float32 probabilities (N, K, *S); what is no class becomes some class."""
    return F.one_hot(label.clamp(0, num_classes - 1), num_classes).movedim(-1, 1).float()
