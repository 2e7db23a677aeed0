"""Made-up figures of what found wrong pseudo labels, for the tests of pages. Holds no tests."""

from __future__ import annotations

import random

from dmt.records import ErrorDetection

_ONE = {"confidence": 0.50, "margin": 0.51, "entropy": 0.48}
_TWO = {"other_probability": 0.58, "dmt_weight": 0.59, "disagreement": 0.62,
        "ensemble_confidence": 0.57, "ensemble_probability": 0.60}  # fmt: skip


def sample_detection(
    number: int, teacher: str, num_labels: int, *, gain: float = 0.12, is_pair: bool = True
) -> ErrorDetection:
    """What a teacher's labels of a round came to; disagreement is `gain` above confidence."""
    chance = random.Random(f"{number}{teacher}")
    centre = {**_ONE, **(_TWO if is_pair else {}), "disagreement": _ONE["confidence"] + gain}
    if not is_pair:
        del centre["disagreement"]
    scores = {
        name: {"ap": ap - 0.03 * number, "auroc": 0.97 - 0.01 * number - chance.random() / 50,
               "ap_selected": ap / 2, "auroc_selected": 0.9}
        for name, ap in centre.items()
    }  # fmt: skip
    num_wrong = round(num_labels * (0.14 - 0.016 * number))
    return ErrorDetection.model_validate({
        "num_images": 40 if num_labels > 2000 else num_labels,
        "num_blocks": 20,
        "num_labels": num_labels,
        "num_wrong": num_wrong,
        "num_selected": num_labels // 2,
        "num_selected_wrong": num_wrong // 4,
        "scores": scores,
        "gains": {
            "disagreement": {"value": gain, "low": gain - 0.07, "high": gain + 0.06},
            "dmt_weight": {"value": 0.09, "low": -0.01, "high": 0.19},
        } if is_pair else {},
    })  # fmt: skip
