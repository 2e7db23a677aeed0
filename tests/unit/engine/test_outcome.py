"""From stages, events and the last table to the summary. Judging is tested with `metrics`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from toys import CPU

from dmt.config import Settings
from dmt.engine.outcome import (
    RunFacts,
    final_models,
    images_seen,
    previous_generation,
    summarize,
)
from dmt.engine.plan import Sizes, plan
from dmt.engine.stage import LabelStage, Stage, TrainStage
from dmt.engine.task import FinalTable, Task
from dmt.records import Confusion, Difference, Summary, write_json

SIZES = Sizes(num_labeled=40, num_pool=1000, num_hidden=1000)
FACTS = RunFacts(
    dataset="digits",
    method="dmt",
    schedule="pair",
    baseline="equal",
    seed=3,
    num_labeled=40,
    num_unlabeled=1000,
    held_out="300 images of test/",
    command="dmt train digits",
    notes=("a note",),
)
BETTER = Difference(value=-2.0, low=-3.0, high=-1.0, p_value=0.001, num_images=300)
TABLE = FinalTable(
    values={"a": 5.0, "b": 6.0, "ensemble": 4.5, "supervised": 7.0, "oracle": 3.0},
    difference=BETTER,
    oracle_difference=BETTER.model_copy(update={"value": -4.0}),
    confusion=[],
    num_images=300,
)


def stages_of(**given: Any) -> tuple[Stage, ...]:
    settings = Settings.model_validate(
        {"steps": 60, "batch_size": 32, "rounds": 2, "student": {"mixup": 0}, **given}
    )
    return plan(settings, SIZES)


def make_task(metric: str = "error", num_checked: int = 0) -> Task:
    """1000 images to label, 25 to validate on."""

    def num_forward(stage: TrainStage | LabelStage) -> int:
        return 1000 if isinstance(stage, LabelStage) else 25

    return cast(
        "Task",
        SimpleNamespace(
            name="classification" if metric == "error" else "segmentation",
            metric=metric,
            classes=("x", "y") if metric == "error" else ("road", "car", "animal"),
            num_forward=num_forward,
            num_checked=lambda stage: num_checked,
        ),
    )


def summary_of(
    facts: RunFacts = FACTS,
    table: FinalTable | None = TABLE,
    stages: tuple[Stage, ...] | None = None,
    events: tuple[dict[str, Any], ...] = (),
    metric: str = "error",
) -> Summary:
    stages = stages_of() if stages is None else stages
    return summarize(facts, make_task(metric), stages, table, events, CPU, seconds=12.5)


@pytest.mark.parametrize(
    ("given", "baseline", "names"),
    [
        ({}, "equal", {"a": "round2/a", "b": "round2/b", "supervised": "baseline/a"}),
        (
            {"baseline": "pair"},
            "pair",
            {
                "a": "round2/a",
                "b": "round2/b",
                "supervised": "baseline/a",
                "supervised_b": "baseline/b",
            },
        ),
        (
            {"baseline": "round0"},
            "round0",
            {
                "a": "round2/a",
                "b": "round2/b",
                "supervised": "round0/a",
                "supervised_b": "round0/b",
            },
        ),
        ({"baseline": "none"}, "none", {"a": "round2/a", "b": "round2/b"}),
        (
            {"schedule": "chain", "oracle": True},
            "equal",
            {"a": "round2/a", "supervised": "baseline/a", "oracle": "oracle/a"},
        ),
        ({"method": "supervised", "baseline": "round0"}, "round0", {"a": "round0/a"}),
    ],
)
def test_which_models_are_compared(
    given: dict[str, Any], baseline: str, names: dict[str, str]
) -> None:
    found = final_models(stages_of(**given), None, baseline)
    assert {name: stage.name for name, stage in found.items()} == names


def test_a_fold_compares_its_own_models() -> None:
    found = final_models(stages_of(folds=2), 1, "equal")
    assert {stage.name for stage in found.values()} == {
        "fold1/round2/a",
        "fold1/round2/b",
        "fold1/baseline/a",
    }


def test_the_generation_before_the_last_of_a_chain() -> None:
    stage = previous_generation(stages_of(schedule="chain", folds=2))
    assert stage is not None
    assert stage.name == "round1/a"
    assert previous_generation(stages_of()) is None
    assert previous_generation(stages_of(method="supervised")) is None


def test_images_are_counted_by_what_they_were_for() -> None:
    # 60 steps of 32 for each peer, in three parts; four labelings; seven trainings validated
    seen = images_seen(stages_of(), make_task(), 75)
    assert seen.trained == 2 * 60 * 32
    assert seen.baseline == 60 * 32
    assert seen.oracle == 0
    assert seen.forward_only == 4 * 1000 + 7 * 25 + 75


def test_what_looks_for_wrong_labels_is_counted_apart() -> None:
    for given, num in (({}, 4 * 2), ({"method": "dst"}, 2), ({"schedule": "chain"}, 1 + 2)):
        stages = stages_of(**given)
        with_, without = (images_seen(stages, make_task("error", each), 0) for each in (100, 0))
        assert with_.forward_only - without.forward_only == num * 100
        assert with_.trained == without.trained


def test_mixups_extra_forward_is_counted_apart() -> None:
    plain = images_seen(stages_of(), make_task(), 0)
    mixed = images_seen(stages_of(student={"mixup": 0.75}), make_task(), 0)
    assert mixed.trained == plain.trained
    assert mixed.forward_only - plain.forward_only == 2 * 40 * 32  # two rounds of 20 steps each


def test_the_summary_of_a_pair() -> None:
    found = summary_of(stages=stages_of(oracle=True))
    assert (found.supervised, found.ensemble, found.oracle) == (7.0, 4.5, 3.0)
    assert found.peers == {"a": 5.0, "b": 6.0}
    assert found.headline == "ensemble"
    assert found.verdict == "helped"
    assert found.interval == BETTER
    assert found.gap_closed == pytest.approx(0.5)
    assert (found.labeled, found.unlabeled, found.seed, found.seconds) == (40, 1000, 3, 12.5)
    assert found.num_held_out == 300
    assert found.notes == ["a note"]
    assert set(found.versions) >= {"dmt", "python", "torch"}


def test_the_summary_of_a_chain_has_one_model() -> None:
    table = TABLE._replace(values={"a": 5.0, "supervised": 7.0})
    facts = replace(FACTS, schedule="chain")
    found = summary_of(facts, table, stages_of(schedule="chain"))
    assert found.peers == {"a": 5.0, "b": None}
    assert found.headline == "a"
    assert found.ensemble is None


def test_a_supervised_run_compares_nothing() -> None:
    table = FinalTable({"a": 7.0}, None, None, [], 300)
    facts = replace(FACTS, method="supervised", baseline="none")
    found = summary_of(facts, table, stages_of(method="supervised"))
    assert found.supervised == 7.0
    assert found.verdict == "none"
    assert found.interval is None
    assert found.rounds == []


def test_without_a_pool_nothing_is_compared() -> None:
    settings = Settings.model_validate({"steps": 60, "rounds": 2})
    stages = plan(settings, Sizes(40, 0, 0))
    table = FinalTable({"a": 7.0, "b": 8.0, "ensemble": 6.5}, None, None, [], 300)
    found = summary_of(replace(FACTS, num_unlabeled=0), table, stages)
    assert (found.verdict, found.interval, found.supervised) == ("none", None, None)


@pytest.mark.parametrize("method", ["dmt", "supervised"])
def test_without_held_out_labels_figures_are_null_and_can_be_written(
    method: str, tmp_path: Path
) -> None:
    found = summary_of(replace(FACTS, method=method), None, stages_of(method=method))
    write_json(tmp_path / "summary.json", found)
    assert found.verdict == "none"
    assert found.num_held_out == 0
    assert found.supervised is None
    assert found.peers == {"a": None, "b": None}


def test_a_cheaper_baseline_says_so() -> None:
    stages = stages_of(baseline="round0")
    cheap = summary_of(replace(FACTS, baseline="round0"), stages=stages)
    equal = summary_of()
    assert cheap.images_seen.baseline == 0
    assert cheap.sentence != equal.sentence
    assert "baseline=equal" in cheap.sentence


def test_images_a_second_is_over_training_time_alone() -> None:
    events = (
        {"event": "finished", "stage": "round0/a", "seconds": 2.0},
        {"event": "finished", "stage": "round1/label/a", "seconds": 100.0},
        {"event": "finished", "stage": "baseline/a", "seconds": 1.0},
    )
    assert summary_of(events=events).images_per_second == pytest.approx(3 * 60 * 32 / 3.0)


# Of 10 pixels of road 8 are right and 2 called car; of 4 of car 3 are right.
ROADS = [[8, 2, 0], [1, 3, 0], [0, 0, 0]]
SCENES = FinalTable(
    values={"a": 61.4, "supervised": 57.1},
    difference=Difference(value=4.3, low=1.0, high=7.0, p_value=None, num_images=62, num_blocks=8),
    oracle_difference=None,
    confusion=[
        Confusion(model="a", split="test", counts=ROADS),
        Confusion(model="supervised", split="test", counts=[[7, 3, 0], [1, 3, 0], [0, 0, 0]]),
    ],
    num_images=62,
)


def test_a_segmentation_has_scores_by_class() -> None:
    found = summary_of(table=SCENES, metric="miou")
    first, second = found.scores
    assert (first.model, second.model) == ("a", "supervised")
    assert first.iou == [pytest.approx(100 * 8 / 11), pytest.approx(100 * 3 / 6), None]
    assert first.pixel_accuracy == pytest.approx(100 * 11 / 14)
    assert second.iou[:2] == pytest.approx([100 * 7 / 11, 100 * 3 / 7])
    assert found.notes == [
        "a note",
        "class animal is in no held-out mask and was never predicted: left out of the mean IoU",
    ]
    assert found.verdict == "helped"
    assert "mean IoU rose from 57.1 % to 61.4 % on 62 held-out images in 8 blocks" in found.sentence


def test_a_class_that_one_model_invents_is_told_apart() -> None:
    invented = Confusion(model="a", split="test", counts=[[8, 1, 1], [1, 3, 0], [0, 0, 0]])
    table = SCENES._replace(confusion=[invented, SCENES.confusion[1]])
    found = summary_of(table=table, metric="miou")
    assert [scores.iou[2] for scores in found.scores] == [0.0, None]
    assert found.notes[1] == (
        "class animal is in no held-out mask, but was predicted: its IoU is 0 for a and is left "
        "out of the others' mean"
    )


def test_a_classification_has_no_scores_by_class() -> None:
    table = TABLE._replace(confusion=[Confusion(model="a", split="test", counts=[[3, 0], [0, 0]])])
    found = summary_of(table=table)
    assert found.scores == []
    assert found.notes == ["a note"]


def test_classes_without_a_label_are_kept_in_the_record(tmp_path: Path) -> None:
    found = summary_of(replace(FACTS, unlabeled_classes=("car",)), SCENES, metric="miou")
    write_json(tmp_path / "summary.json", found)
    assert found.unlabeled_classes == ["car"]


@pytest.mark.parametrize(("metric", "name"), [("error", "error"), ("miou", "mean IoU")])
def test_a_supervised_run_names_its_own_metric(metric: str, name: str) -> None:
    table = FinalTable({"a": 57.1}, None, None, [], 300)
    facts = replace(FACTS, method="supervised", baseline="none")
    found = summary_of(facts, table, stages_of(method="supervised"), metric=metric)
    assert found.sentence == (
        f"method=supervised does not use the 1000 unlabeled images: its {name} is 57.1 %; "
        "method=dmt does."
    )
