"""The paper as pure functions on tensors; torch and nothing of ours above this folder.

Logits are `(N, K, *S)`, labels and confidences `(N, *S)`: `S` is empty for images and `(H, W)`
for pixels, so both tasks run the same lines.
"""

from dmt.core.confidence import (
    NUM_CODES,
    Prediction,
    decode_confidence,
    encode_confidence,
    predict,
)
from dmt.core.curriculum import gamma_ramp, label_fraction
from dmt.core.error_scores import error_scores
from dmt.core.loss import IGNORE_INDEX, LossSums, flat_log_softmax, weighted_cross_entropy
from dmt.core.mixing import Mix, Paste, draw_mix, draw_paste
from dmt.core.mutual_loss import mutual_cross_entropy
from dmt.core.online import class_counts, class_thresholds, fairness, sharpen, squared_error, surest
from dmt.core.random import (
    beta_float,
    bits,
    hashed,
    permuted,
    permuted_by_blocks,
    shuffled,
    uniform,
    uniform_float,
)
from dmt.core.selection import Cut, break_ties, cut_histogram, histogram, is_selected, tie_bits
from dmt.core.sending import sent
from dmt.core.small_logits import small_mutual_cross_entropy
from dmt.core.weighting import RULES, Weighted, weigh

__all__ = [
    "IGNORE_INDEX",
    "NUM_CODES",
    "RULES",
    "Cut",
    "LossSums",
    "Mix",
    "Paste",
    "Prediction",
    "Weighted",
    "beta_float",
    "bits",
    "break_ties",
    "class_counts",
    "class_thresholds",
    "cut_histogram",
    "decode_confidence",
    "draw_mix",
    "draw_paste",
    "encode_confidence",
    "error_scores",
    "fairness",
    "flat_log_softmax",
    "gamma_ramp",
    "hashed",
    "histogram",
    "is_selected",
    "label_fraction",
    "mutual_cross_entropy",
    "permuted",
    "permuted_by_blocks",
    "predict",
    "sent",
    "sharpen",
    "shuffled",
    "small_mutual_cross_entropy",
    "squared_error",
    "surest",
    "tie_bits",
    "uniform",
    "uniform_float",
    "weigh",
    "weighted_cross_entropy",
]
