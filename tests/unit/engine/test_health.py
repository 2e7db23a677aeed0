"""The alarms of a run from made-up events: when each comes, and that it does not come again."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytest

from dmt.engine.health import Health
from dmt.records import Alarm

CLASSES = ("cat", "dog", "owl", "ant")
GUESSING = math.log(4)
OWN = {"given": [1] * 4, "predicted": [1] * 4}  # labels of a training that makes its own


def step(stage: str, number: int, num_steps: int = 40, **fields: Any) -> dict[str, Any]:
    return {"event": "step", "stage": stage, "round": 1, "peer": "a", "step": number,
            "num_steps": num_steps, "loss": 0.5, "agreement": None, "lr": 0.1} | fields  # fmt: skip


def label(number: int, teacher: str = "a", **fields: Any) -> dict[str, Any]:
    """A labeling of 400 images of four classes, 100 each, nine tenths of them right."""
    counts: dict[str, dict[str, Any]] = fields.pop("counts", {})
    student = {"a": "b", "b": "a"}[teacher]
    entries = [
        {"name": name, "predicted": 100, "selected": 50, "known": 100, "recall": 0.9}
        | counts.get(name, {})
        for name in CLASSES
    ]
    return {"event": "label", "stage": f"round{number}/label/{teacher}", "round": number,
            "teacher": teacher, "student": student, "unit": "images", "selected": 200,
            "pool_accuracy": 0.9, "peer_agreement": None, "peer_correlation": None,
            "classes": entries} | fields  # fmt: skip


def score(number: int, value: float = 10.0, peer: str = "a", **fields: Any) -> dict[str, Any]:
    return {"event": "evaluate", "stage": f"round{number}/{peer}", "round": number, "peer": peer,
            "metric": "error", "value": value, "num_images": 400, "training": None,
            "recall": [90.0] * 4, "truth": [100] * 4} | fields  # fmt: skip


def seen(*events: dict[str, Any], health: Health | None = None) -> list[Alarm]:
    health = health or Health(CLASSES)
    return [alarm for event in events for alarm in health.see(event)]


def kinds(alarms: Iterable[Alarm]) -> list[str]:
    return [alarm.kind for alarm in alarms]


def losses(stage: str, values: Iterable[float], num_steps: int = 200) -> list[dict[str, Any]]:
    return [
        step(stage, 5 * number, num_steps, loss=loss) for number, loss in enumerate(values, start=1)
    ]


# Loss --------------------------------------------------------------------------------------------


def test_two_that_are_trained_together_are_watched_apart() -> None:
    """Their lines come in turns; one diverges. Two terms may cost more than guessing does."""
    fine, bad = (
        [event | {"round": 0, "peer": peer, "agreement": 0.9, **OWN}
         for event in losses(f"round0/{peer}", [value] * 12)]
        for peer, value in (("a", 2 * GUESSING), ("b", 6 * GUESSING))
    )  # fmt: skip
    (alarm,) = seen(*(event for pair in zip(fine, bad, strict=True) for event in pair))
    assert (alarm.kind, alarm.stage) == ("diverging", "round0/b")
    assert "Lower student.lr" in alarm.remedy


def test_one_that_labels_itself_and_does_not_agree() -> None:
    lines = [step("round0/a", number, 4, round=0, agreement=0.1, **OWN) for number in range(1, 5)]
    (alarm,) = seen(*lines)
    assert alarm.kind == "no-agreement"
    assert "initial.share" not in alarm.remedy
    assert "student.labeled_share" in alarm.remedy


def test_a_loss_above_guessing_diverges_once_a_stage() -> None:
    (alarm,) = seen(*losses("round1/a", [1.0] * 10 + [3.0] * 10))
    assert (alarm.kind, alarm.stage) == ("diverging", "round1/a")
    assert "at step 60" in alarm.message, "two of the last three lines are enough here"
    assert alarm.remedy.startswith("Lower student.lr")


@pytest.mark.parametrize(
    "values",
    [
        [4.0] * 4 + [1.3] * 36,  # a wild beginning: the first twenty steps
        [1.3] * 20 + [2.5] + [1.3] * 19,  # one spike
        [GUESSING] * 40,  # learns nothing, which is another matter
        [4.0] * 6,  # too short to say
    ],
    ids=["beginning", "spike", "guessing", "short"],
)
def test_a_loss_that_does_not_diverge(values: list[float]) -> None:
    assert seen(*losses("round0/a", values)) == []


def test_round_0_and_the_baseline_name_the_first_rate() -> None:
    health = Health(CLASSES)
    for stage in ("round0/a", "baseline/a"):
        (alarm,) = seen(*(e | {"round": 0} for e in losses(stage, [9.0] * 10)), health=health)
        assert alarm.remedy.startswith("Lower initial.lr")
    assert (
        seen(*(e | {"round": 0} for e in losses("fold1/round0/a", [9.0] * 9)), health=health) == []
    )


# Agreement ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("agreement", "expected"), [(0.05, ["no-agreement"]), (0.4, [])])
def test_agreement_near_chance_at_the_end_of_a_stage(agreement: float, expected: list[str]) -> None:
    lines = [step("round1/a", n, agreement=0.9 if n < 20 else agreement) for n in range(1, 41)]
    assert kinds(seen(*lines)) == expected


def test_a_student_that_begins_by_chance_is_no_alarm() -> None:
    lines = [step("round1/a", n, agreement=0.02 if n < 20 else 0.9) for n in range(1, 41)]
    assert seen(*lines) == []
    assert seen(*(step("round0/a", n) for n in range(1, 41))) == [], "no pseudo labels yet"


def own_labels(predicted: list[list[int]], peer: str = "a", **fields: Any) -> list[dict[str, Any]]:
    """Lines of a training that labels by itself, 40 given labels in each, ten a class."""
    return [
        step(f"round0/{peer}", number, len(predicted), round=0, peer=peer, agreement=0.9,
             given=[10] * 4, predicted=counts, **fields)
        for number, counts in enumerate(predicted, start=1)
    ]  # fmt: skip


def test_a_training_that_settles_on_its_own_errors() -> None:
    """From line 18 on one class is all that it says: ten lines on, a quarter of 40, it is told."""
    lines = own_labels([[50] * 4] * 17 + [[200, 0, 0, 0]] * 23)
    assert seen(*lines[:26]) == [], "line 17 is among the last ten"
    (alarm,) = seen(*lines)
    assert (alarm.kind, alarm.stage, alarm.about) == (
        "vanished-class", "round0/a", ["dog", "owl", "ant"]
    )  # fmt: skip
    assert "Classes 'dog', 'owl', 'ant' are in next to none" in alarm.message
    assert "at step 27 of 40, though 75.0 % of the given ones are" in alarm.message
    assert "online.unlabeled_weight" in alarm.remedy
    again = Health(CLASSES)
    again.catch_up(lines[:30])
    assert seen(*lines[30:], health=again) == [], "a resumed run has said it"


def test_one_class_vanishes_after_another_and_peers_speak_with_one_voice() -> None:
    a, b = (own_labels([[100, 100, 0, 0]] * 25 + [[200, 0, 0, 0]] * 15, peer=peer) for peer in "ab")
    found = seen(*(event for pair in zip(a, b, strict=True) for event in pair))
    assert [(alarm.stage, alarm.about) for alarm in found] == [
        ("round0/a", ["owl", "ant"]), ("round0/a", ["dog", "owl", "ant"])
    ]  # fmt: skip
    fine = own_labels([[50] * 4] * 40)
    found = seen(*(event for pair in zip(fine, b, strict=True) for event in pair))
    assert {alarm.stage for alarm in found} == {"round0/b"}


@pytest.mark.parametrize(
    "predicted",
    [
        [[200, 0, 0, 0]] * 19 + [[50] * 4] * 21,  # a slow beginning
        [[197, 1, 1, 1]] * 40,  # rare, but known
        [[36, 0, 0, 0]] * 40,  # ten lines hold too few of any class
        [[0] * 4] * 40,
    ],
    ids=["beginning", "rare", "few", "none"],
)
def test_classes_that_have_not_vanished_from_own_labels(predicted: list[list[int]]) -> None:
    assert seen(*own_labels(predicted)) == []


def test_a_class_without_given_labels_is_not_expected_among_own_ones() -> None:
    lines = own_labels([[100, 100, 100, 0]] * 40)
    assert seen(*(line | {"given": [10, 10, 10, 0]} for line in lines)) == []


@pytest.mark.parametrize(
    ("share", "correlation", "expected"),
    [
        (1.0, 1.0, ["peers-alike"]),
        (1.0, 0.7, []),  # an easy data set: both are right, by their own reasons
        (1.0, None, []),  # all confidences are equal
        (0.98, 0.998, ["peers-alike"]),
        (0.9, 1.0, []),
        (0.1, 0.5, ["no-agreement"]),
        (None, None, []),  # a single model
    ],
)
def test_two_peers_before_they_learn_from_each_other(
    share: float | None, correlation: float | None, expected: list[str]
) -> None:
    event = {"peer_agreement": share, "peer_correlation": correlation}
    assert kinds(seen(label(1, **event))) == expected
    assert seen(label(2, **event)) == [], "later they may well have grown alike"


# Pseudo labels -----------------------------------------------------------------------------------


def test_a_class_that_is_never_called_vanishes_once_a_peer() -> None:
    gone = {"counts": {"owl": {"predicted": 0, "selected": 0, "recall": 0.0}}}
    health = Health(CLASSES)
    assert seen(label(1), health=health) == []
    (alarm,) = seen(label(2, **gone), health=health)
    assert (alarm.kind, alarm.about) == ("vanished-class", ["owl"])
    assert "Class 'owl' is in none of the 200 pseudo labels" in alarm.message
    assert "50 the round before" in alarm.message
    assert seen(label(3, **gone), health=health) == []
    assert kinds(seen(label(3, "b", **gone), health=health)) == ["vanished-class"]


def test_several_that_vanish_at_once_are_one_statement() -> None:
    none = {"predicted": 0, "selected": 0, "recall": 0.0}
    (alarm,) = seen(label(1, counts={"cat": none, "ant": none}))
    assert alarm.about == ["cat", "ant"]
    assert alarm.message.startswith("Classes 'cat', 'ant' are in none")


def test_a_class_that_is_called_but_not_kept_vanishes_when_it_is_twice() -> None:
    unsure = {"counts": {"owl": {"selected": 0}}}
    assert seen(label(1, **unsure), label(2)) == []
    assert kinds(seen(label(1, **unsure), label(2, **unsure))) == ["vanished-class"]


def test_nothing_is_expected_of_a_handful_or_of_a_class_without_labels() -> None:
    gone = {"counts": {"owl": {"predicted": 0, "selected": 0, "recall": 0.0}}}
    assert seen(label(1, **gone, selected=15)) == []
    assert seen(label(1, **gone), health=Health(CLASSES, ["owl"])) == []


def test_labels_that_get_worse() -> None:
    falling = [label(n, pool_accuracy=share) for n, share in enumerate((0.9, 0.88, 0.7, 0.68), 1)]
    (alarm,) = seen(*falling)
    assert (alarm.kind, alarm.stage) == ("falling-accuracy", "round3/label/a")
    assert alarm.message.startswith("70.0 % of the labels")
    again = seen(*falling, label(5, pool_accuracy=0.5))
    assert kinds(again) == ["falling-accuracy"] * 2, "said again when it is ten points worse"
    assert seen(label(1, pool_accuracy=None), label(2, pool_accuracy=None)) == []


def test_a_fall_of_pixels_is_judged_by_points_alone() -> None:
    pixels = {"unit": "pixels", "selected": 10**6}
    now = [label(1, pool_accuracy=0.9, **pixels), label(2, pool_accuracy=0.86, **pixels)]
    assert kinds(seen(*now)) == ["falling-accuracy"]
    few = {"known": 10}  # 40 images in all: 4 points are noise
    counts = dict.fromkeys(CLASSES, few)
    before, after = (label(n, pool_accuracy=v, counts=counts) for n, v in ((1, 0.9), (2, 0.86)))
    assert seen(before, after) == []


def test_a_class_whose_images_are_called_otherwise_for_a_whole_round() -> None:
    missed = {"counts": {"dog": {"recall": 0.0}}}
    assert seen(label(1, **missed), label(2)) == []
    (alarm,) = seen(label(1, **missed), label(2, **missed), label(3, **missed))
    assert (alarm.kind, alarm.about) == ("missed-class", ["dog"])
    few = {"counts": {"dog": {"recall": 0.0, "known": 4}}}
    assert seen(label(1, **few), label(2, **few)) == []


# Scores ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(10.0, 20.0, ["worse-round"]), (10.0, 13.0, []), (20.0, 10.0, [])],
)
def test_a_round_that_made_a_peer_worse(before: float, after: float, expected: list[str]) -> None:
    assert kinds(seen(score(0, before), score(1, after))) == expected
    assert seen(score(0, before), score(1, after, peer="b")) == [], "another peer"
    of_miou = {"metric": "miou", "num_images": 100}
    found = seen(score(0, 100 - before, **of_miou), score(1, 100 - after, **of_miou))
    assert kinds(found) == expected


def test_few_images_prove_no_loss() -> None:
    assert seen(score(0, 10.0, num_images=20), score(1, 25.0, num_images=20)) == []


@pytest.mark.parametrize(
    ("number", "training", "value", "metric", "expected"),
    [
        (1, 0.0, 50.0, "error", ["overfitting"]),
        (0, 0.0, 50.0, "error", []),  # round 0 has nothing but those labels
        (1, 0.0, 20.0, "error", []),
        (1, 60.0, 20.0, "error", []),  # the other way round
        (1, 95.0, 50.0, "miou", ["overfitting"]),
        (1, 50.0, 95.0, "miou", []),
        (1, None, 50.0, "error", []),
    ],
)
def test_validation_far_below_training(
    number: int, training: float | None, value: float, metric: str, expected: list[str]
) -> None:
    event = score(number, value, training=training, metric=metric)
    assert kinds(seen(event)) == expected


def test_a_class_of_which_nothing_is_recognised_for_a_whole_round() -> None:
    missed = {"recall": [90.0, 0.0, None, 90.0], "truth": [100, 100, 0, 100]}
    (alarm,) = seen(score(0, **missed), score(1, **missed), score(2, **missed))
    assert (alarm.kind, alarm.about, alarm.stage) == ("missed-class", ["dog"], "round1/a")
    assert seen(score(0, **missed), score(1)) == []
    few = missed | {"truth": [100, 4, 0, 100]}
    assert seen(score(0, **few), score(1, **few)) == []


def test_the_baseline_is_nobodys_round() -> None:
    events = (score(0, 10.0), score(0, 60.0) | {"stage": "baseline/a"})
    assert seen(*events) == []


def test_folds_are_apart_but_say_a_thing_once() -> None:
    one, two = ({"stage": f"fold{fold}/round{{}}/a"} for fold in (0, 1))
    health = Health(CLASSES)
    for fold, expected in ((one, ["worse-round"]), (two, [])):
        events = [
            score(number, value) | {"stage": fold["stage"].format(number)}
            for number, value in ((0, 10.0), (1, 25.0))
        ]
        assert kinds(seen(*events, health=health)) == expected
    assert seen(score(1, 60.0), health=health) == [], "the first score of the run itself"


# Going on ----------------------------------------------------------------------------------------


def test_a_resumed_run_says_what_is_left_to_say() -> None:
    events = [
        *losses("round0/a", [1.0] * 10),
        score(0),
        label(1, counts={"owl": {"predicted": 0, "selected": 0, "recall": 0.0}}),
        *losses("round1/a", [1.0] * 10 + [9.0] * 10),
        score(1, 40.0),
        label(2, pool_accuracy=0.5),
    ]
    whole = seen(*events)
    assert kinds(whole) == ["vanished-class", "diverging", "worse-round", "falling-accuracy"]
    for cut in range(len(events)):
        health = Health(CLASSES)
        before = seen(*events[:cut])
        health.catch_up([*events[:cut], {"event": "alarm"}, {"event": "finished"}])
        assert before + seen(*events[cut:], health=health) == whole
