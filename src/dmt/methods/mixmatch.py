"""MixMatch: guessed labels from several views, sharpened, and everything mixed with everything."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dmt.core import (
    class_counts,
    draw_mix,
    flat_log_softmax,
    sent,
    sharpen,
    squared_error,
    weighted_cross_entropy,
)
from dmt.engine.step import Batch, Position, StepResult, View, Views, picked
from dmt.methods.mutual import one_hot
from dmt.methods.online import answer_of, ramp

_LEARNER = "a"


class MixMatch:
    """One network; for images with one label each.

    The guess of an unlabeled image is the mean of the network's probabilities over `num_views`
    weak views, sharpened. Labeled and unlabeled images of the batch are mixed up with each other
    and λ ← max(λ, 1 − λ); the loss is cross-entropy where the larger part is labeled and
    `unlabeled_weight` · ramp · squared error elsewhere.

    Args:
        view: the augmented copy of labeled images.
        views: a weak and a strong copy; the strong one is not used.
        num_classes: K.
        num_views: views that are guessed on (paper: 2).
        temperature: of the sharpening (paper: 0.5).
        unlabeled_weight: of the squared error.
        ramp_share: share of the steps over which that weight rises.
        mixup: Beta's parameter (paper: 0.75); 0 for none.
        num_blocks: mixup pairs inside this many consecutive blocks of the whole batch.
        num_ranks: of which each has as much of the batch.

    Source: MixMatch (Berthelot et al., 2019), algorithm 1, eq. 2–10. Departures: the network
    learns on the first of the views, not on all, so that a step trains on as many images as that
    of any other method; λ is one for the batch, as everywhere here.
    """

    learners: tuple[str, ...] = (_LEARNER,)

    def __init__(
        self,
        view: View,
        views: Views,
        num_classes: int,
        *,
        num_views: int,
        temperature: float,
        unlabeled_weight: float,
        ramp_share: float,
        mixup: float,
        num_blocks: int = 1,
        num_ranks: int = 1,
    ) -> None:
        self._view = view
        self._views = views
        self._num_classes = num_classes
        self._num_views = num_views
        self._temperature = temperature
        self._unlabeled_weight = unlabeled_weight
        self._ramp_share = ramp_share
        self._mixup = mixup
        self._num_blocks = num_blocks
        self._num_ranks = num_ranks

    def begin(self, averages: Mapping[str, nn.Module]) -> None:
        """Nothing: the network guesses by itself."""

    def losses(self, nets: Mapping[str, nn.Module], batch: Batch, position: Position) -> StepResult:
        """Cross-entropy on given labels and squared error on guesses, all mixed."""
        net = nets[_LEARNER]
        is_given = batch.is_labeled
        of_pool = (~is_given).nonzero().squeeze(1)
        learned, guess = self._guess(net, picked(batch, of_pool), position)
        places = sent(of_pool, batch.images.device)
        images = self._view(batch, position).images.float()
        images = images.index_copy(0, places, learned.float())
        target = one_hot(batch.label, self._num_classes).index_copy(0, places, guess)
        if self._mixup:
            mix = draw_mix(
                self._num_ranks * len(batch.ids),
                self._mixup,
                position.seed,
                position.stage,
                position.step,
                num_blocks=self._num_blocks,
                slots=batch.slots,
                device=images.device,
            )
            images, target = mix(images), mix(target)
        logits = net(images)
        is_given = sent(is_given, images.device)
        weight = torch.ones_like(batch.confidence)
        unlabeled = squared_error(logits, target, ~is_given)
        scale = ramp(self._ramp_share, position)
        total = unlabeled.total * self._unlabeled_weight * scale
        decision, guessed = logits.detach().argmax(dim=1), guess.argmax(dim=1)
        label = batch.label.index_copy(0, places, guessed)
        return StepResult(
            {
                _LEARNER: (
                    weighted_cross_entropy(logits, target, weight, is_given),
                    unlabeled._replace(total=total),
                )
            },
            {
                _LEARNER: {
                    "num_pseudo": (~is_given).sum(),
                    "num_agreed": (decision[places] == guessed).sum(),
                    "weight": (~is_given).sum() * scale,
                    "given": class_counts(label, is_given, self._num_classes),
                    "predicted": class_counts(label, ~is_given, self._num_classes),
                }
            },
        )

    def _guess(self, net: nn.Module, pool: Batch, position: Position) -> tuple[Tensor, Tensor]:
        """The first weak view of unlabeled images, and the sharpened mean over all views."""
        total, first = torch.zeros((), device=pool.images.device), pool.images
        for number in range(self._num_views):
            # A stage of its own for each view, so that each is drawn anew.
            weak, _ = self._views(pool, position._replace(stage=f"{position.stage}/view{number}"))
            first = weak.images if number == 0 else first
            probs = flat_log_softmax(answer_of(net, weak)).exp().squeeze(2)
            total = total + probs
        return first, sharpen(total / self._num_views, self._temperature)

    def after_step(self, nets: Mapping[str, nn.Module], position: Position) -> None:
        """Nothing: no state is kept between steps."""

    def gamma(self, position: Position) -> float | None:
        """None: there is no γ."""
        return None

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to go on from."""
