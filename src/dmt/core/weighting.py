"""How much a pseudo label counts: the paper's dynamic weights and the rules it is compared with."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from dmt.core.loss import flat
from dmt.core.tiles import Answer, answer

Rule = Literal["dmt", "naive", "flip", "ones"]
RULES: tuple[str, ...] = get_args(Rule)


class Weighted(NamedTuple):
    """What a rule makes of pseudo labels; all (N, *S), without gradient."""

    weight: Tensor  # float32 in [0, 1]
    label: Tensor  # int64: the pseudo label, or what `flip` put in its place
    is_agreed: Tensor  # bool: the student decides as the teacher did


@torch.no_grad()
def weigh(
    rule: Rule,
    logits: Tensor,
    label: Tensor,
    confidence: Tensor,
    agreement_gamma: float,
    disagreement_gamma: float,
) -> Weighted:
    """Weights of pseudo labels from the student's present prediction.

    With `p` the student's softmax, `c_S = max p` and `c_T` the teacher's confidence:

    | case | `dmt` | `flip` | `naive` | `ones` |
    |---|---|---|---|---|
    | `argmax p == y` | `p(y) ** γ1` | `p(y) ** γ1` | `p(y) ** γ1` | 1 |
    | else, `c_T >= c_S` | `p(y) ** γ2` | `p(y) ** γ2` | `p(y) ** γ1` | 1 |
    | else | 0 | `(1 − c_T) ** γ2`, label `argmax p` | `p(y) ** γ1` | 1 |

    Both γ zero give weights of one in every rule (plain self-training), as the authors run it:
    0 ** 0 is 1, and the third row of `dmt` is then not applied.

    Args:
        rule: one of `RULES`.
        logits: the student's, (N, K, *S), any floating type.
        label: the teacher's, int64 (N, *S); values outside [0, K) get some weight that
            means nothing, as the loss leaves them out.
        confidence: the teacher's, floating (N, *S) in [0, 1].
        agreement_gamma: γ1 ≥ 0.
        disagreement_gamma: γ2 ≥ 0.

    Source: paper, eq. 3–4 and its ablations (naive, flip).
    """
    logits_NKS = flat(logits)
    label_NS, confidence_NS = (
        each.reshape(len(logits_NKS), logits_NKS.shape[2]) for each in (label, confidence)
    )
    known_NS = label_NS.clamp(0, logits_NKS.shape[1] - 1)
    found = answer(logits_NKS, known_NS)
    is_agreed_NS = found.is_decision & (known_NS == label_NS)
    found = found._replace(is_decision=is_agreed_NS)
    weight_NS = weight_of(rule, found, confidence_NS, agreement_gamma, disagreement_gamma)
    if rule == "flip" and max(agreement_gamma, disagreement_gamma) > 0:
        is_flipped_NS = _is_overruled(found, confidence_NS)
        label_NS = torch.where(is_flipped_NS, logits_NKS.argmax(dim=1), label_NS)
    return Weighted(*(each.view(label.shape) for each in (weight_NS, label_NS, is_agreed_NS)))


def weight_of(
    rule: Rule,
    student: Answer,
    confidence: Tensor,
    agreement_gamma: float,
    disagreement_gamma: float,
) -> Tensor:
    """The weights that `weigh` gives, for who has the student's answer already.

    Args:
        rule: one of `RULES`.
        student: what it says of the teacher's labels.
        confidence: the teacher's, of the answer's shape, floating, in [0, 1].
        agreement_gamma, disagreement_gamma: γ1 and γ2.

    Returns:
        Of the answer's shape and type.
    """
    log_prob = student.log_prob
    if rule == "ones" or agreement_gamma == disagreement_gamma == 0:
        return torch.ones_like(log_prob)
    weight = _power(log_prob, agreement_gamma)
    if rule == "naive":
        return weight
    if agreement_gamma != disagreement_gamma:  # they are the same in all of the paper's settings
        weight = torch.where(student.is_decision, weight, _power(log_prob, disagreement_gamma))
    is_overruled = _is_overruled(student, confidence)
    if rule == "flip":
        doubt = (1 - confidence.to(log_prob.dtype)) ** disagreement_gamma
        return torch.where(is_overruled, doubt, weight)
    return weight.masked_fill_(is_overruled, 0.0)


def _power(log_prob: Tensor, gamma: float) -> Tensor:
    """p ** γ; an exponential is a fifth of the price of a power. p ** 0 is 1, also of p = 0."""
    return (log_prob * gamma).exp_() if gamma else torch.ones_like(log_prob)


def _is_overruled(student: Answer, confidence: Tensor) -> Tensor:
    """Where the student decides otherwise and is surer."""
    return ~student.is_decision & (student.confidence > confidence)
