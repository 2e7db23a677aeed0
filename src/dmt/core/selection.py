"""Which pseudo labels are kept: cuts on the confidence from histograms that can be merged.

Global selection keeps the most confident share of all; class-balanced selection (CBST, Zou et
al., 2018) keeps the same share of every predicted class. Both read one histogram of constant
size, so a pool of any size, or spread over ranks, is labeled in one pass.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dmt.core.confidence import NUM_CODES
from dmt.core.random import bits

_ALL_TIES = torch.iinfo(torch.int64).max


class Cut(NamedTuple):
    """Where to cut, for each class: keep codes above `code`, and of the ties at it a part.

    All int64 (K,). Classes of one `group` are ranked together (one group: global selection).
    """

    code: Tensor  # NUM_CODES keeps nothing
    tie_limit: Tensor  # a tie is kept if its tie bits are below this
    num_kept_ties: Tensor  # (of the class's group) how many ties the cut means to keep
    num_ties: Tensor  # (of the class's group) how many there are
    group: Tensor


def histogram(label: Tensor, code: Tensor, num_classes: int) -> Tensor:
    """How often each class was predicted with each confidence code.

    Histograms of parts add up to the histogram of the whole.

    Args:
        label: int64, any shape, in [0, K).
        code: int32 or int64 of the same shape, in [0, NUM_CODES).

    Returns:
        int64 (K, NUM_CODES) on the same device.
    """
    flat = label.reshape(-1) * NUM_CODES + code.reshape(-1).long()
    return torch.bincount(flat, minlength=num_classes * NUM_CODES).view(num_classes, NUM_CODES)


def cut_histogram(counts: Tensor, fraction: float, *, is_class_balanced: bool) -> Cut:
    """The cut that keeps the most confident `fraction`, of all or of every predicted class.

    `tie_limit` is set so that the expected number of kept ties is right, which for pixels is
    within 0.1 %; `break_ties` makes it exact.

    Args:
        counts: int64 (K, NUM_CODES), from `histogram`.
        fraction: α in [0, 1]; round(α·N), halves up, are kept.
        is_class_balanced: rank inside each class (segmentation) instead of over all.

    Raises:
        ValueError: the fraction is outside [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"the label fraction must be in [0, 1], not {fraction}")
    num_classes = counts.shape[0]
    counts = counts.cpu()
    group = torch.arange(num_classes) if is_class_balanced else torch.zeros(num_classes).long()
    ranked = counts if is_class_balanced else counts.sum(dim=0, keepdim=True)
    num_all = ranked.sum(dim=1)
    num_keep = torch.floor(num_all.double() * fraction + 0.5).long()
    from_top = ranked.flip(1).cumsum(1).flip(1)  # how many have this code or a higher one
    # The highest code at which enough are kept is where the cut falls.
    code = (from_top >= num_keep.unsqueeze(1)).sum(dim=1) - 1
    code = torch.where(num_keep == 0, NUM_CODES, code)
    at = code.clamp(0, NUM_CODES - 1).unsqueeze(1)
    num_ties = torch.where(num_keep == 0, 0, ranked.gather(1, at).squeeze(1))
    num_above = torch.where(num_keep == 0, 0, from_top.gather(1, at).squeeze(1) - num_ties)
    num_kept_ties = num_keep - num_above
    share = num_kept_ties.double() / num_ties.clamp(min=1)
    limit = torch.where(num_kept_ties >= num_ties, _ALL_TIES, (share * 2.0**62).long() * 2)
    return Cut(code[group], limit[group], num_kept_ties[group], num_ties[group], group)


def break_ties(cut: Cut, label: Tensor, ties: Tensor) -> Cut:
    """The same cut with limits that keep exactly the number meant.

    Args:
        cut: from `cut_histogram`.
        label: int64 (T,), the labels of all samples whose code equals their class's cut.
        ties: int64 (T,), their `tie_bits`.
    """
    limit = cut.tie_limit.clone()
    for group in cut.group.unique():
        members = cut.group == group
        num_kept = int(cut.num_kept_ties[members][0])
        ordered = ties[members[label]].sort().values
        limit[members] = int(ordered[num_kept]) if num_kept < len(ordered) else _ALL_TIES
    return cut._replace(tie_limit=limit)


def tie_bits(seed: int, *where: int | str | Tensor) -> Tensor:
    """63 bits that order ties by the hash of their position, never by their index: index order
    would favour the first class folder and the top rows of an image."""
    return bits(seed, "tie", *where)


def is_selected(label: Tensor, code: Tensor, ties: Tensor, cut: Cut) -> Tensor:
    """Which samples or pixels a cut keeps.

    Args:
        label: int64 (N, *S) in [0, K).
        code: confidence codes (N, *S).
        ties: int64 (N, *S), `tie_bits` of each.
        cut: on the same device or the CPU.

    Returns:
        bool (N, *S).
    """
    threshold = cut.code.to(label.device)[label]
    limit = cut.tie_limit.to(label.device)[label]
    code = code.long()
    return (code > threshold) | ((code == threshold) & (ties < limit))
