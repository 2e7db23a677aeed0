"""Methods that label the unlabeled images of every batch while they learn from them.

Who labels and what of it counts is data in the stage (`engine.stage.Online`). FreeMatch's
thresholds are in `adaptive`, MixMatch in `mixmatch`, learning from labels on disk in `mutual`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dmt.core import (
    LossSums,
    class_counts,
    draw_paste,
    flat_log_softmax,
    gamma_ramp,
    predict,
    squared_error,
    surest,
    weigh,
    weighted_cross_entropy,
)
from dmt.engine.runtime import Runtime
from dmt.engine.stage import Online, Weights
from dmt.engine.step import Batch, Position, StepResult, View, Views, picked
from dmt.methods.adaptive import AdaptiveThresholds
from dmt.models.norm import frozen_batch_norm


class Found(NamedTuple):
    """What is said of unlabeled samples, without gradient; all but `probs` are (N, *S)."""

    label: Tensor  # int64
    weight: Tensor  # float32 in [0, 1]
    is_agreed: Tensor | None  # bool; None: known when the student has answered
    probs: Tensor | None  # (N, K, *S), what a consistency aims at


class OnlinePseudoLabels:
    """One or two networks that learn from given labels, and from each other or themselves.

    In every step a teacher looks at the weak view of each unlabeled sample: the network itself,
    its average, its peer or the peer's average. Its answer, weighted, is what the network learns
    on the strong view. Given labels are learned on the view of every other stage, with weight one.

    | kind | learns | weight |
    |---|---|---|
    | `confident` | the label | 1 from `threshold` on, else 0 |
    | `adaptive` | the label, and FreeMatch's fairness | 1 from the class's threshold on, else 0 |
    | `rule` | the label | `Weights`: ones, or DMT's, from the student's answer to the weak view |
    | `consistency` | the probabilities, by squared error | 1 |

    Where there are `fractions`, a weight of `rule` is 0 but for the surest of a batch's labels.

    Loss of a network: mean over given labels + `unlabeled_weight` · ramp · mean over unlabeled
    ones; without an `unlabeled_weight`, one mean over given labels and over those that count.

    Args:
        view: the augmented copy of labeled samples.
        views: a weak and a strong copy of unlabeled samples.
        num_classes: K.
        online: who labels, what counts.
        weighting: the rule of weights and its γ, for `rule`.
        runtime: for what is summed over ranks.
        num_peers: 1 or 2.
    """

    def __init__(
        self,
        view: View,
        views: Views,
        num_classes: int,
        online: Online,
        weighting: Weights,
        runtime: Runtime,
        num_peers: int,
    ) -> None:
        self.learners: tuple[str, ...] = ("a", "b")[:num_peers]
        self._view = view
        self._views = views
        self._num_classes = num_classes
        self._online = online
        self._weighting = weighting
        self._runtime = runtime
        self._averages: Mapping[str, nn.Module] = {}
        self._thresholds: AdaptiveThresholds | None = None
        if online.kind == "adaptive":
            assert online.momentum is not None
            self._thresholds = AdaptiveThresholds(num_classes, online.momentum, runtime)

    def begin(self, averages: Mapping[str, nn.Module]) -> None:
        """Keep the averaged networks, should they teach."""
        self._averages = averages

    def losses(self, nets: Mapping[str, nn.Module], batch: Batch, position: Position) -> StepResult:
        """The terms of every network's loss; see the class."""
        given = self._view(picked(batch, batch.is_labeled.nonzero().squeeze(1)), position)
        pool = picked(batch, (~batch.is_labeled).nonzero().squeeze(1))
        if self._online.is_same_view:
            pool = self._view(pool, position)
            answers = {
                name: net(torch.cat([given.images, pool.images])) for name, net in nets.items()
            }
            said = {name: answer[len(given.ids) :].detach() for name, answer in answers.items()}
            found = {name: self._found(name, said, pool, position) for name in nets}
        else:
            weak, pool = self._views(pool, position)
            said = {name: self._say(name, net, weak) for name, net in nets.items()}
            found = {name: self._found(name, said, weak, position) for name in nets}
            pool, found = self._pasted(pool, found, position)
            answers = {
                name: net(torch.cat([given.images, pool.images])) for name, net in nets.items()
            }
        losses, sums = {}, {}
        num_given = class_counts(given.label, given.valid, self._num_classes)
        for name, answer in answers.items():
            known, new = answer.split([len(given.ids), len(pool.ids)])
            losses[name] = self._terms(known, given, new, pool, found[name], position)
            sums[name] = self._sums(new.detach(), pool, found[name], position)
            sums[name]["given"] = num_given
        return StepResult(losses, sums)

    def _say(self, name: str, net: nn.Module, weak: Batch) -> Tensor:
        """What a network, or its average, answers to the weak view."""
        is_average = self._online.teacher in {"average", "peer-average"}
        return answer_of(self._averages[name] if is_average else net, weak)

    def _found(
        self, name: str, said: Mapping[str, Tensor], pool: Batch, position: Position
    ) -> Found:
        """What a network learns of the unlabeled samples."""
        teacher = name
        if self._online.teacher in {"peer", "peer-average"}:
            (teacher,) = set(self.learners) - {name}
        label, confidence, code = predict(said[teacher])
        if self._online.kind == "rule":
            # The student's own answer to the same view: the weight then says whether the label
            # is doubtful, not whether the strong view is hard.
            scale = self._ramp_of_gamma(position)
            found = weigh(
                self._weighting.rule,
                said[name],
                label,
                confidence,
                self._weighting.agreement_gamma * scale,
                self._weighting.disagreement_gamma * scale,
            )
            weight = found.weight
            if self._online.fractions is not None:
                weight = weight * self._kept(label, code, pool.valid, position)
            return Found(found.label, weight, found.is_agreed, None)
        if self._online.kind == "consistency":
            probs = flat_log_softmax(said[teacher]).exp().view(said[teacher].shape)
            return Found(label, torch.ones_like(confidence), None, probs)
        if self._thresholds is not None:
            is_sure = self._thresholds.see(said[teacher], label, confidence, pool.valid)
        else:
            assert self._online.threshold is not None
            is_sure = confidence >= self._online.threshold
        return Found(label, is_sure.float(), None, None)

    def _kept(self, label: Tensor, code: Tensor, valid: Tensor, position: Position) -> Tensor:
        """Which labels are among the surest of the whole batch, as rounds keep them of the pool."""
        fractions = self._online.fractions
        assert fractions is not None
        fraction = fractions[position.step * len(fractions) // position.num_steps]
        if fraction == 1:
            return valid
        return surest(
            label,
            code,
            valid,
            fraction,
            self._num_classes,
            is_class_balanced=self._online.is_class_balanced,
            gather=self._runtime.gather,
        )

    def _pasted(
        self, pool: Batch, found: dict[str, Found], position: Position
    ) -> tuple[Batch, dict[str, Found]]:
        """CutMix of strong views, and what is known of their pixels."""
        if not self._online.cutmix:
            return pool, found
        seed, stage, step, _ = position
        size = (pool.images.shape[2], pool.images.shape[3])
        paste = draw_paste(
            pool.slots, size, self._online.cutmix, seed, stage, step, device=pool.images.device
        )
        mixed = pool._replace(images=paste(pool.images), valid=paste(pool.valid))
        return mixed, {
            name: Found(*(None if plane is None else paste(plane) for plane in each))  # type: ignore[arg-type]
            for name, each in found.items()
        }

    def _terms(
        self, known: Tensor, given: Batch, new: Tensor, pool: Batch, found: Found,
        position: Position,
    ) -> tuple[LossSums, ...]:  # fmt: skip
        one = torch.ones_like(given.confidence)
        if self._online.unlabeled_weight is None:
            return (
                weighted_cross_entropy(
                    torch.cat([known, new]),
                    torch.cat([given.label, found.label]),
                    torch.cat([one, found.weight]),
                    torch.cat([given.valid, pool.valid & (found.weight > 0)]),
                ),
            )
        if found.probs is None:
            unlabeled = weighted_cross_entropy(new, found.label, found.weight, pool.valid)
        else:
            unlabeled = squared_error(new, found.probs, pool.valid)
        scale = self._online.unlabeled_weight * self._ramp(position)
        terms = [
            weighted_cross_entropy(known, given.label, one, given.valid),
            unlabeled._replace(total=unlabeled.total * scale),
        ]
        if self._thresholds is not None and self._online.fairness:
            fair = self._thresholds.fairness(new, pool.valid & (found.weight > 0))
            terms.append(fair._replace(total=fair.total * self._online.fairness))
        return tuple(terms)

    def _sums(
        self, new: Tensor, pool: Batch, found: Found, position: Position
    ) -> dict[str, Tensor]:
        is_agreed = new.argmax(dim=1) == found.label if found.is_agreed is None else found.is_agreed
        weight = found.weight.masked_fill(~pool.valid, 0).sum()
        return {
            "num_pseudo": pool.valid.sum(),
            "num_agreed": (is_agreed & pool.valid).sum(),
            "weight": weight * self._ramp(position),
            "predicted": class_counts(found.label, pool.valid, self._num_classes),
        }

    def _ramp(self, position: Position) -> float:
        return ramp(self._online.ramp, position)

    def _ramp_of_gamma(self, position: Position) -> float:
        has_ramp = self._weighting.has_ramp
        return gamma_ramp(position.step, position.num_steps) if has_ramp else 1.0

    def after_step(self, nets: Mapping[str, nn.Module], position: Position) -> None:
        """Nothing."""

    def gamma(self, position: Position) -> float | None:
        """γ1 in force."""
        weighting = self._weighting
        if weighting.rule == "ones":
            return None
        return weighting.agreement_gamma * self._ramp_of_gamma(position)

    def state_dict(self) -> dict[str, Tensor]:
        """FreeMatch's thresholds; the others keep nothing."""
        return {} if self._thresholds is None else self._thresholds.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state_dict()`."""
        if self._thresholds is not None:
            self._thresholds.load_state_dict(state)


@torch.no_grad()
def answer_of(net: nn.Module, batch: Batch) -> Tensor:
    """Logits of a batch without gradient.

    In train mode by the statistics of these images, as they are learned, and leaving no trace in
    the running ones. A single image is shown twice: BatchNorm refuses one value a channel.
    """
    images, num = batch.images, len(batch.ids)
    with frozen_batch_norm(net):
        logits: Tensor = net(images if num > 1 else images.expand(2, -1, -1, -1))
    return logits[:num]


def ramp(share: float | None, position: Position) -> float:
    """Factor on the weight of the unlabeled term: exp(−5 (1 − t)²) over a share of the steps.

    Source: Laine and Aila (2017), as Mean Teacher has it.
    """
    num_steps = (share or 0.0) * position.num_steps
    if position.step + 1 >= num_steps:
        return 1.0
    return gamma_ramp(position.step, max(1, round(num_steps)))
