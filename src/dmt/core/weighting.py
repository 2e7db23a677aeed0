"""How much a pseudo label counts: the paper's dynamic weights and the rules it is compared with."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from dmt.core.loss import flat_log_softmax

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
    log_probs_NKS = flat_log_softmax(logits)
    num_classes = log_probs_NKS.shape[1]
    label_NS = label.reshape(log_probs_NKS[:, 0].shape)
    teacher_NS = confidence.reshape(label_NS.shape).float()
    known_NS = label_NS.clamp(0, num_classes - 1)
    agreed_p_NS = log_probs_NKS.gather(1, known_NS.unsqueeze(1)).squeeze(1).exp()
    top_NS, decision_NS = log_probs_NKS.max(dim=1)
    is_agreed_NS = decision_NS == label_NS
    new_label_NS = label_NS
    if rule == "ones" or agreement_gamma == disagreement_gamma == 0:
        weight_NS = torch.ones_like(agreed_p_NS)
    elif rule == "naive":
        weight_NS = agreed_p_NS**agreement_gamma
    else:
        is_overruled_NS = ~is_agreed_NS & (top_NS.exp() > teacher_NS)
        weight_NS = torch.where(
            is_agreed_NS, agreed_p_NS**agreement_gamma, agreed_p_NS**disagreement_gamma
        )
        if rule == "flip":
            weight_NS = torch.where(
                is_overruled_NS, (1 - teacher_NS) ** disagreement_gamma, weight_NS
            )
            new_label_NS = torch.where(is_overruled_NS, decision_NS, label_NS)
        else:
            weight_NS = weight_NS.masked_fill(is_overruled_NS, 0.0)
    return Weighted(
        weight_NS.view(label.shape), new_label_NS.view(label.shape), is_agreed_NS.view(label.shape)
    )
