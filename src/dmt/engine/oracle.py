"""The one place in training that unwraps hidden labels: full supervision, for comparison only."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dmt.data.hidden import reveal
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
