"""How wrong a pseudo label looks, by every score that is compared. No truth is read here."""

from __future__ import annotations

import torch
from torch import Tensor

from dmt.core.weighting import weigh

ONE_NETWORK = ("confidence", "margin", "entropy")
TWO_NETWORKS = (
    "other_probability",
    "dmt_weight",
    "disagreement",
    "ensemble_confidence",
    "ensemble_probability",
)


@torch.no_grad()
def error_scores(
    teacher: Tensor,
    other: Tensor | None,
    label: Tensor,
    agreement_gamma: float,
    disagreement_gamma: float,
) -> dict[str, Tensor]:
    """Scores of pseudo labels, each larger the likelier the label is wrong.

    With `p` the teacher's softmax, `q` the other network's, `m = (p + q) / 2` and `y` the label:

    | score | what |
    |---|---|
    | `confidence` | 1 − max p |
    | `margin` | 1 − (largest of p − second largest) |
    | `entropy` | −Σ p log p |
    | `other_probability` | 1 − q(y) |
    | `dmt_weight` | 1 − the weight that DMT gives, the other network being the student |
    | `disagreement` | 1 − Σ min(p, q), the total variation distance |
    | `ensemble_confidence` | 1 − max m |
    | `ensemble_probability` | 1 − m(y) |

    Probabilities are float64, and 1 − a probability is the sum of the others: no two labels are
    tied because the confidence of both is 1 in float32.

    Args:
        teacher: its logits, (N, K, *S), any floating type, K ≥ 2.
        other: the other network's, of the same shape; None gives the first three scores.
        label: what the teacher called, int64 (N, *S) in [0, K).
        agreement_gamma, disagreement_gamma: γ1 and γ2 of the weight, as in `weigh`.

    Returns:
        By name, in the order above, float64 (N, *S).
    """
    p = teacher.double().softmax(dim=1)
    y = label.unsqueeze(1)
    first, second = p.topk(2, dim=1).values.unbind(1)
    unsure = _rest(p, p.argmax(dim=1, keepdim=True))
    scores = {
        "confidence": unsure,
        "margin": unsure + second,
        "entropy": torch.special.entr(p).sum(dim=1),
    }
    if other is None:
        return scores
    q = other.double().softmax(dim=1)
    mean = (p + q) / 2
    found = weigh("dmt", other, label, first, agreement_gamma, disagreement_gamma)
    return scores | {
        "other_probability": _rest(q, y),
        "dmt_weight": 1 - found.weight.double(),
        "disagreement": (p - q).abs().sum(dim=1) / 2,
        "ensemble_confidence": _rest(mean, mean.argmax(dim=1, keepdim=True)),
        "ensemble_probability": _rest(mean, y),
    }


def _rest(probs: Tensor, index: Tensor) -> Tensor:
    """1 − probs[index], as the sum over the other classes."""
    return probs.scatter(1, index, 0.0).sum(dim=1)
