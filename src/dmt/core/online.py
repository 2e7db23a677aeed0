"""Formulas of the methods that label at every step; DMT's own weights live in `weighting`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dmt.core.confidence import NUM_CODES
from dmt.core.loss import LossSums, flat_log_softmax


def sharpen(probs: Tensor, temperature: float) -> Tensor:
    """p ** (1/T), normalised: the lower T, the nearer to a decision.

    Args:
        probs: floating (N, K, *S), summing to 1 over K.
        temperature: T in (0, 1]; 1 changes nothing.

    Source: MixMatch (Berthelot et al., 2019), eq. 7.
    """
    powers = probs ** (1 / temperature)
    return powers / powers.sum(dim=1, keepdim=True)


def class_counts(label: Tensor, valid: Tensor, num_classes: int) -> Tensor:
    """How many labels there are of each class: int64 (K,).

    Args:
        label: int64 (N, *S); anything where not valid.
        valid: bool (N, *S), what is counted.
        num_classes: K.
    """
    # Not `bincount`, which waits for an accelerator; what is not valid goes to a class of its own.
    place = torch.where(valid, label, num_classes).flatten()
    counts = torch.zeros(num_classes + 1, dtype=torch.int64, device=label.device)
    return counts.scatter_add_(0, place, torch.ones_like(place))[:num_classes]


def surest(
    label: Tensor,
    code: Tensor,
    valid: Tensor,
    fraction: float,
    num_classes: int,
    *,
    is_class_balanced: bool,
    gather: Callable[[Tensor], Tensor] = lambda own: own,
) -> Tensor:
    """The most confident `fraction` of a batch, or of every class that is called in it.

    Of n labels round(fraction · n), halves up, are kept, at least one, and with the last of them
    all that are as sure.

    Args:
        label: int64 (N, *S) in [0, K).
        code: of the confidence, as `predict` gives it, (N, *S).
        valid: bool (N, *S); others are neither ranked nor kept.
        fraction: in (0, 1].
        num_classes: K.
        is_class_balanced: rank inside each class instead of over all.
        gather: joins the pieces of all ranks, equally long, so that they rank one batch.

    Returns:
        bool (N, *S).
    """
    num_groups = num_classes if is_class_balanced else 1
    group = label if is_class_balanced else torch.zeros_like(label)
    group = torch.where(valid, group, num_groups).flatten()
    # One number sorts by group, and in it the surest first; in 32 bits where they suffice, which
    # is half to send, and what Apple's GPUs sort rightly.
    is_small = (num_groups + 2) * NUM_CODES < 2**31
    key = (group + 1) * NUM_CODES - 1 - code.flatten().long()
    key = key.int() if is_small else key
    ranked = gather(key).sort().values
    bounds = torch.arange(1, num_groups + 1, device=key.device, dtype=key.dtype) * NUM_CODES
    end = torch.searchsorted(ranked, bounds)
    begin = torch.cat([torch.zeros_like(end[:1]), end[:-1]])
    num_kept = (fraction * (end - begin) + 0.5).floor().long().clamp(min=1)
    last = ranked[(begin + num_kept - 1).clamp(max=len(ranked) - 1)]  # any, of an empty group
    limit = torch.cat([last, last.new_full((1,), -1)])[group]
    return (key <= limit).view(label.shape)


def squared_error(logits: Tensor, target: Tensor, valid: Tensor) -> LossSums:
    """Σ_k (p_k − q_k)² over the valid terms, and their number: Brier's score.

    Args:
        logits: (N, K, *S) in any floating type; p is their softmax in float32.
        target: q, floating (N, K, *S) summing to 1 over K; no gradient flows through it.
        valid: bool (N, *S).

    Source: the consistency of Mean Teacher (Tarvainen and Valpola, 2017) and MixMatch (2019).
    Departure: they divide by K as well, so a weight of 75 on ten classes is 7.5 here.
    """
    probs_NKS = flat_log_softmax(logits).exp()
    valid_NS = valid.reshape(probs_NKS[:, 0].shape)
    error_NS = (probs_NKS - target.detach().float().reshape(probs_NKS.shape)).square().sum(dim=1)
    return LossSums(torch.where(valid_NS, error_NS, 0.0).sum(), valid_NS.sum())


def class_thresholds(threshold: Tensor, class_probs: Tensor) -> Tensor:
    """The confidence from which a label of each class counts: τ · p̃_k / max p̃.

    Args:
        threshold: τ, scalar: how sure the model is on average.
        class_probs: p̃, (K,): how often it expects each class.

    Returns:
        (K,): τ for the class that is expected most, less for the others.

    Source: FreeMatch (Wang et al., 2023), eq. 8.
    """
    return threshold * class_probs / class_probs.max()


def fairness(expected: Tensor, expected_share: Tensor, mean_probs: Tensor, share: Tensor) -> Tensor:
    """FreeMatch's last term: minus a cross-entropy of expected and batch mean predictions.

    Both are divided by how often each class is called, so that a class that is called often by
    the one and rarely by the other is not held against it.

    Args:
        expected: p̃, (K,), mean probabilities over many steps.
        expected_share: h̃, (K,), the share of labels of each class over many steps.
        mean_probs: p̄, (K,), of the batch; the gradient flows through it.
        share: h̄, (K,), of the batch; classes that are not called in it are left out.

    Returns:
        Scalar Σ_k a_k log b_k with a = norm(p̃ / h̃), b = norm(p̄ / h̄); 0 at the most.

    Source: FreeMatch, eq. 10–11, with the sign of the paper and of its code: minimised, it drives
    the two apart, though the text speaks of the opposite.
    """
    is_called = share > 0
    aim = expected / expected_share.clamp(min=1e-6)
    mean = torch.where(is_called, mean_probs / share.clamp(min=1e-6), 0.0)
    aim, mean = aim / aim.sum(), mean / mean.sum().clamp(min=1e-12)
    return torch.where(is_called, aim.detach() * mean.clamp(min=1e-12).log(), 0.0).sum()
