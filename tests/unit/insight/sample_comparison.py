"""A comparison's record with made-up figures, for the tests of its page. No tests here."""

from __future__ import annotations

import numpy as np

from dmt.metrics.over_seeds import Entry, compare_methods
from dmt.records.comparison import Asked, ComparisonRecord, Seen

EVIL = '"><img src=x onerror=alert(1)>'
MEANS = {"supervised": 9.3, "self-training": 5.2, "dmt": 3.4, "oracle": 0.5}
SECONDS = {"supervised": 21.0, "self-training": 30.0, "dmt": 62.0, "oracle": 22.0}


def sample_comparison(
    *, dataset: str = "digits", is_swept: bool = False, others: int = 0
) -> ComparisonRecord:
    """Three seeds of four methods and some `others`; with `is_swept` at 40, 80 and 200 labels."""
    means = MEANS | {f"method-{i}": 4.0 + 0.9 * i for i in range(others)}
    draw = np.random.default_rng(0)
    labels = [40.0, 80.0, 200.0] if is_swept else [None]
    alone = {at: [9.3 / (at or 40) * 40 + draw.normal(0, 0.3) for _ in range(3)] for at in labels}
    entries = {
        (name, at): {
            seed: Entry(
                value=alone[at][seed] + (mean - 9.3) * 40 / (at or 40) + draw.normal(0, 0.2),
                supervised=alone[at][seed],
                oracle=0.5,
                seconds=SECONDS.get(name, 40.0 + mean),
                seen=Seen(trained=153_600, per_model=76_800, forward_only=140_000),
            )
            for seed in range(3)
        }
        for at in labels
        for name, mean in means.items()
    }
    result = compare_methods(
        entries, range(3), dataset=dataset, task="classification", metric="error"
    )
    asked = Asked(
        methods=list(means),
        seeds=[0, 1, 2],
        labels=[at for at in labels if at is not None] or None,
        settings={"dataset": dataset, "steps": 1200, "student": {"lr": 0.1}},
        data="0" * 64,
    )
    return ComparisonRecord(
        command=f"dmt compare {dataset} methods={','.join(means)} seeds=0,1,2",
        asked=asked,
        result=result,
        notes=["Error in % on the 357 images held out; one model against one model."],
        hardware="a machine",
        versions={"dmt": "0.1.0", "torch": "2.15"},
    )
