"""A coarse scale of confidence that keeps a cut exact. The cut itself: `selection`."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dmt.core.confidence import NUM_CODES, decode_confidence
from dmt.core.selection import Cut


class Levels(NamedTuple):
    """A coarse scale of confidence for every class; levels from `num_below` on are kept."""

    of_code: Tensor  # uint8 (K, NUM_CODES), of codes that occur; at the cut, that of ties kept
    confidence: Tensor  # float32 (K, num_below + num_above), the median of each level
    num_below: int


def make_levels(counts: Tensor, cut: Cut, num_below: int, num_above: int) -> Levels:
    """Levels of confidence that hold equally many pixels, apart below and above each class's cut.

    Equal shares make the fewest mistakes in "is the teacher surer than the student" for a given
    number of levels, if students are about as sure as teachers.

    Args:
        counts: int64 (K, NUM_CODES), the histogram of the whole pool.
        cut: of these counts.
        num_below: levels for pixels that are not kept, ≥ 1.
        num_above: levels for pixels that are kept, ≥ 1; at most 256 in all.
    """
    counts = counts.cpu()
    num_classes = counts.shape[0]
    of_code = torch.zeros(num_classes, NUM_CODES, dtype=torch.uint8)
    confidence = torch.zeros(num_classes, num_below + num_above)
    for each in range(num_classes):
        code = counts[each].nonzero().squeeze(1)  # most classes use few of the codes
        if not len(code):
            continue
        mass, is_above = counts[each, code], code >= cut.code[each]
        share = int(cut.num_kept_ties[each]) / max(1, int(cut.num_ties[each]))
        kept = torch.where(
            code == cut.code[each], (mass.double() * share).round().long(), mass * is_above
        )
        below, of_below = _equal_shares(code, mass - kept, num_below)
        above, of_above = _equal_shares(code, kept, num_above)
        of_code[each, code] = torch.where(is_above, num_below + above, below).to(torch.uint8)
        confidence[each] = decode_confidence(torch.cat([of_below, of_above]))
    return Levels(of_code, confidence, num_below)


def _equal_shares(code: Tensor, mass: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """The level of each code, and the median code of each level (of an empty one, one nearby)."""
    upto = mass.cumsum(0)
    level = ((2 * upto - mass) * num // (2 * upto[-1]).clamp(min=1)).clamp(max=num - 1)
    in_level = torch.zeros(num, dtype=torch.int64).scatter_add_(0, level, mass)
    middle = in_level.cumsum(0) - in_level // 2
    return level, code[torch.searchsorted(upto, middle).clamp(max=len(code) - 1)]
