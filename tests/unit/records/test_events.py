"""Lines of `metrics.jsonl` that can be used, and the words for those that cannot."""

from __future__ import annotations

from typing import Any

import pytest

from dmt.records.events import fault_in

STEP = {"event": "step", "time": 1.5, "stage": "round0/a", "round": 0, "peer": "a", "step": 1,
        "num_steps": 2, "images_seen": 8, "loss": 0.6, "agreement": None}  # fmt: skip
OF_CLASS = {"name": "blue", "predicted": 4, "selected": 4, "accuracy": None, "known": 0}
LABEL = {"event": "label", "stage": "round1/label/b", "round": 1, "teacher": "b", "student": "a",
         "label_fraction": 1.0, "unit": "images", "pool": 8, "selected": 8, "threshold": 0.5,
         "pseudo_label_accuracy": None, "classes": [OF_CLASS]}  # fmt: skip
EVALUATE = {"event": "evaluate", "stage": "round1/a", "round": 1, "peer": "a", "split": "val",
            "metric": "miou", "value": 40.5, "classes": [50.0, None]}  # fmt: skip
DETECTION = {"event": "error_detection", "stage": "round1/label/b", "round": 1, "teacher": "b",
             "num_images": 8, "num_blocks": 8, "num_labels": 8, "num_wrong": 2, "num_selected": 4,
             "num_selected_wrong": 0, "scores": {"entropy": {"ap": 0.5, "auroc_selected": None}},
             "gains": {"disagreement": {"value": 0.1, "low": -0.1, "high": 0.2}}}  # fmt: skip
ALARM = {"event": "alarm", "stage": "round1/a", "kind": "x", "message": "m", "remedy": "r",
         "about": ["blue"]}  # fmt: skip


@pytest.mark.parametrize(
    "event",
    [STEP, LABEL, EVALUATE, ALARM, DETECTION, DETECTION | {"gains": {}},
     {"event": "finished", "seconds": 3},
     {"event": "of a later version", "anything": [1]}, STEP | {"images_seen": 8.0},
     LABEL | {"threshold": [0.5, None]}, LABEL | {"label_fraction": None},
     EVALUATE | {"value": None, "classes": None}],
)  # fmt: skip
def test_it_can_be_used(event: dict[str, Any]) -> None:
    assert fault_in(event) == ""


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ([1], "it is no event"),
        ({"a": 1}, "it is no event"),
        ({"event": 3}, "it is no event"),
        (STEP | {"images_seen": None}, "step without images_seen"),
        (
            {name: LABEL[name] for name in LABEL if name != "label_fraction"},
            "label without label_fraction",
        ),
        (STEP | {"step": 1.5}, "step is no whole number"),
        (STEP | {"step": True}, "step is no whole number"),
        (STEP | {"step": -1}, "step is no whole number"),
        (STEP | {"step": 10**400}, "step is no whole number"),
        (STEP | {"loss": "0.5"}, "loss is no number"),
        (STEP | {"loss": float("nan")}, "loss is no number"),
        (STEP | {"loss": float("-inf")}, "loss is no number"),
        (STEP | {"time": -(10**400)}, "time is no number"),
        (STEP | {"stage": ["round0/a"]}, "stage is no text"),
        (STEP | {"peer": "\ud800"}, "peer is no text"),
        (LABEL | {"threshold": ["x"]}, "threshold is no number"),
        (LABEL | {"classes": 3}, "classes is no list"),
        (LABEL | {"classes": ["blue"]}, "classes is no number"),
        (LABEL | {"classes": [{"name": "blue"}]}, "classes is not what a labeling says"),
        (LABEL | {"classes": [OF_CLASS | {"accuracy": "good"}]}, "classes is no number"),
        (DETECTION | {"scores": None}, "error_detection without scores"),
        (DETECTION | {"num_wrong": 0.5}, "num_wrong is no whole number"),
        (DETECTION | {"scores": [1]}, "scores is not what says how errors were found"),
        (DETECTION | {"scores": {"entropy": 1}}, "scores is not what says"),
        (DETECTION | {"scores": {"entropy": {"f1": 0.5}}}, "scores is not what says"),
        (DETECTION | {"scores": {"entropy": {"ap": "0.5"}}}, "scores is no number"),
        (DETECTION | {"gains": {"entropy": {"value": 1, "low": 0}}}, "gains is no interval"),
        (ALARM | {"about": "blue"}, "about is no list"),
        (ALARM | {"about": [1]}, "about is no text"),
    ],
)
def test_what_is_wrong_is_said(event: Any, why: str) -> None:
    assert fault_in(event).startswith(why)
