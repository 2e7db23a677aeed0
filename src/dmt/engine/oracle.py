"""The one place in training that unwraps hidden labels: full supervision, for comparison only."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dmt.data.hidden import reveal, reveal_masks
from dmt.data.mask_splits import GivenMasks, MaskSplit
from dmt.data.splits import Split


def all_labels(split: Split) -> tuple[Tensor, Tensor]:
    """Ids and labels of the labeled images and of the pool images whose labels were hidden.

    What this trains is reported as `oracle` and used for nothing else.

    Returns:
        Two int64 (N,).
    """
    ids, labels = reveal(split.hidden)
    return (
        torch.from_numpy(np.concatenate([split.labeled, ids])),
        torch.from_numpy(np.concatenate([split.labels, labels])),
    )


def all_masks(split: MaskSplit) -> GivenMasks:
    """`all_labels` for scenes: the given masks and the hidden ones of the pool."""
    ids, read = reveal_masks(split.hidden)
    return GivenMasks(np.concatenate([split.labeled, ids]), read)
