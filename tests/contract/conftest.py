"""What the contract suite runs on: either task, and a fit that checks what comes out.

No tests here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Case, Fit, check_run

from dmt.api import Run, train
from trees import write_image_masks


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven labeled images, five without a mask, four of the test part, of six sizes."""
    root = tmp_path_factory.mktemp("contract") / "scenes"
    return write_image_masks(root, 7, 5, num_test=4, size=(30, 34))


@pytest.fixture(params=["classification", "segmentation"])
def case(request: pytest.FixtureRequest, scenes: Path) -> Case:
    """Either task."""
    common = {"steps": 6, "rounds": 2, "device": "cpu"}
    if request.param == "classification":
        tiny = common | {"model": "wrn_10_1", "batch_size": 16}
        return Case("classification", "digits", tiny, 1400, 10, 1400, "wrn_16_1")
    tiny = common | {
        "model": "deeplab_v2:wrn_10_1:1-3", "batch_size": 4, "data.crop": 32, "workers": 0,
        "student.lr_span": "stage",
    }  # fmt: skip
    pool = sum((30 + index % 3) * (34 - index % 2) for index in range(7, 12))
    return Case("segmentation", scenes, tiny, 5, 3, pool, "deeplab_v2:wrn_16_1:1-3")


@pytest.fixture
def fit(case: Case, tmp_path: Path) -> Fit:
    """Train with tiny settings and check what every finished run must keep to."""

    def run(**settings: Any) -> Run:
        made = train(case.data, out=tmp_path / "run", **(case.tiny | settings))
        check_run(made, case)
        return made

    return run
