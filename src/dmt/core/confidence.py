"""What a model says and how sure it is, and the 16-bit code in which the sureness is kept."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dmt.core.loss import flat
from dmt.core.tiles import widened

NUM_CODES = 1 << 16
_LARGEST = 32.0  # −log(1−c) at the last code: c = 1 − 1.3e-14, beyond float32's own reach


class Prediction(NamedTuple):
    """A model's decision for every sample or pixel."""

    label: Tensor  # int64 (N, *S), argmax of the logits, the lower index on a tie
    confidence: Tensor  # float32 (N, *S), max of the softmax, in [1/K, 1]
    code: Tensor  # int32 (N, *S), the confidence as `encode_confidence` keeps it


def predict(logits: Tensor) -> Prediction:
    """Decision and confidence of logits, the softmax taken in float32.

    The code is made from `log(1 − c)` summed over the other classes, so it still tells two
    predictions apart where float32's `c` is 1 for both.

    Args:
        logits: (N, K, *S) in any floating type, K ≥ 2.
    """
    logits_NKS = widened(flat(logits))
    top_NKS, label_NKS = logits_NKS.max(dim=1, keepdim=True)
    powers_NKS = (logits_NKS - top_NKS).exp_()
    norm_NS = powers_NKS.sum(dim=1)
    others_NS = powers_NKS.scatter_(1, label_NKS, 0.0).sum(dim=1)
    code_NS = encode_confidence(log_error=others_NS.log_() - norm_NS.log())
    confidence_NS, label_NS = norm_NS.reciprocal_(), label_NKS.squeeze(1)
    shape = (logits.shape[0], *logits.shape[2:])
    return Prediction(label_NS.view(shape), confidence_NS.view(shape), code_NS.view(shape))


def encode_confidence(log_error: Tensor) -> Tensor:
    """`log(1 − confidence)` as one of 65 536 codes, evenly spaced in `−log(1 − c)`.

    Monotone: a higher code is a higher confidence. One code is 0.05 % of `1 − c`, so the
    resolution is finest near 1, where most confidences lie.

    Args:
        log_error: floating tensor ≤ 0 (−inf where the model is certain).

    Returns:
        int32 of the same shape, in [0, 65535].
    """
    scaled = (-log_error.float()) * ((NUM_CODES - 1) / _LARGEST)
    return scaled.round().clamp(0, NUM_CODES - 1).to(torch.int32)


def decode_confidence(code: Tensor) -> Tensor:
    """The confidence of a code, float32 in [0, 1]."""
    return -torch.expm1(code.float() * (-_LARGEST / (NUM_CODES - 1)))
