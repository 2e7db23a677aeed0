"""The loss of a batch with given and pseudo labels: weights and cross-entropy in one go."""

from __future__ import annotations

import torch
from torch import Tensor

from dmt.core.loss import LossSums, flat, weighted_cross_entropy
from dmt.core.tiles import Answer, Place, tiled_cross_entropy
from dmt.core.weighting import Rule, Weighted, weigh, weight_of


def mutual_cross_entropy(
    rule: Rule,
    logits: Tensor,
    label: Tensor,
    confidence: Tensor,
    is_given: Tensor,
    valid: Tensor,
    agreement_gamma: float,
    disagreement_gamma: float,
) -> tuple[LossSums, Weighted]:
    """Σ w·CE of labels, weighted 1 where they were given and by `weigh` where they are pseudo.

    The same as `weigh` and `weighted_cross_entropy` one after the other, but the log-probabilities
    are taken once, and a tile at a time: nothing of the logits' size is made but their gradient.

    Args:
        rule: one of `RULES`.
        logits: the student's, (N, K, *S), any floating type.
        label: given, or the teacher's, int64 (N, *S); any value where not valid.
        confidence: the teacher's, floating (N, *S) in [0, 1].
        is_given: bool (N, *S) or (N, 1, …): the label was given by a person.
        valid: bool (N, *S); what is not valid adds neither to the total nor to the count.
        agreement_gamma, disagreement_gamma: γ1 and γ2, as of `weigh`.

    Returns:
        The sums, and what the rule made of the labels with weights of 1 where they were given.

    Source: paper, eq. 1–4.
    """
    if rule == "flip":  # its labels are other ones than the student was asked about
        found = weigh(rule, logits.detach(), label, confidence, agreement_gamma, disagreement_gamma)
        found = found._replace(
            weight=torch.where(is_given, 1.0, found.weight),
            label=torch.where(is_given, label, found.label),
        )
        return weighted_cross_entropy(logits, found.label, found.weight, valid), found
    logits_NKS = flat(logits)
    shape = len(logits_NKS), logits_NKS.shape[2]
    label_NS, confidence_NS, valid_NS, given_NS = (
        each.expand(label.shape).reshape(shape) for each in (label, confidence, valid, is_given)
    )
    weight_NS = torch.empty(shape, device=label.device)
    is_agreed_NS = torch.empty(shape, dtype=torch.bool, device=label.device)

    def weighed(place: Place, student: Answer) -> Tensor:
        weight = weight_of(
            rule, student, confidence_NS[place], agreement_gamma, disagreement_gamma
        ).masked_fill_(given_NS[place], 1.0)
        weight_NS[place], is_agreed_NS[place] = weight, student.is_decision
        return weight

    total = tiled_cross_entropy(logits_NKS, label_NS, valid_NS, weighed)
    found = Weighted(weight_NS.view(label.shape), label, is_agreed_NS.view(label.shape))
    return LossSums(total, valid_NS.sum()), found
