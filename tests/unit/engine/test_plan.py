"""Who teaches whom and in what order, read off the stages."""

from __future__ import annotations

from typing import Any

import pytest

from dmt.config import Settings
from dmt.engine.plan import PRESETS, Sizes, num_peer_steps, peer_names, plan
from dmt.engine.stage import LabelStage, Online, Stage, TrainStage, Weights

SIZES = Sizes(num_labeled=40, num_pool=1000, num_hidden=1000)


def settings_of(**given: Any) -> Settings:
    return Settings.model_validate({"steps": 120, "batch_size": 32, **given})


def stages_of(sizes: Sizes = SIZES, **given: Any) -> dict[str, Stage]:
    stages = plan(settings_of(**given), sizes)
    by_name = {stage.name: stage for stage in stages}
    assert len(by_name) == len(stages), "a name is used twice"
    return by_name


def trained(stages: dict[str, Stage], name: str) -> TrainStage:
    stage = stages[name]
    assert isinstance(stage, TrainStage)
    return stage


def label(stages: dict[str, Stage], name: str) -> LabelStage:
    stage = stages[name]
    assert isinstance(stage, LabelStage)
    return stage


def test_a_pair_in_full() -> None:
    assert list(stages_of(rounds=2)) == [
        "round0/a",
        "round0/b",
        "round1/label/b",
        "round1/label/a",
        "round1/a",
        "round1/b",
        "round2/label/b",
        "round2/label/a",
        "round2/a",
        "round2/b",
        "baseline/a",
    ]


def test_a_pair_is_a_jacobi_update() -> None:
    """Both halves of a round use the models of the round before and do not need each other."""
    stages = stages_of(rounds=3)
    names = list(stages)
    for round_ in (1, 2, 3):
        for student, teacher in (("a", "b"), ("b", "a")):
            labels = label(stages, f"round{round_}/label/{teacher}")
            assert labels.teacher == f"round{round_ - 1}/{teacher}"
            assert labels.student == student
            # What finds wrong labels is asked of both networks of the round before.
            assert labels.other == f"round{round_ - 1}/{student}"
            assert labels.needs == (labels.teacher, labels.other)
            half = trained(stages, f"round{round_}/{student}")
            assert half.pseudo == labels.name
            assert half.start == f"round{round_ - 1}/{student}"
            assert set(half.needs) == {half.pseudo, half.start}
            for each in ("a", "b"):
                assert names.index(labels.name) < names.index(f"round{round_}/{each}")


def test_a_fresh_student_of_a_pair_begins_anew() -> None:
    stage = trained(stages_of(student={"start": "fresh"}), "round2/b")
    assert stage.start is None
    assert stage.needs == ("round2/label/a",)


def test_a_chain_is_taught_by_its_last_generation_and_is_fresh() -> None:
    stages = stages_of(schedule="chain", rounds=3)
    assert {stage.peer for stage in stages.values()} == {"a"}
    for round_ in (1, 2, 3):
        labels = label(stages, f"round{round_}/label/a")
        assert labels.teacher == f"round{round_ - 1}/a"
        assert labels.other == (f"round{round_ - 2}/a" if round_ > 1 else None)
        stage = trained(stages, f"round{round_}/a")
        assert stage.start is None
        assert stage.needs == (f"round{round_}/label/a",)


@pytest.mark.parametrize("method", ["self-training", "dst"])
def test_a_single_model_teaches_itself_and_continues(method: str) -> None:
    stages = stages_of(method=method)
    assert label(stages, "round3/label/a").teacher == "round2/a"
    assert label(stages, "round3/label/a").other is None
    stage = trained(stages, "round3/a")
    assert (stage.pseudo, stage.start) == ("round3/label/a", "round2/a")
    assert not any(name.endswith("/b") for name in stages)


@pytest.mark.parametrize(
    ("method", "rule", "num_peers"),
    [
        ("self-training", "ones", 1),
        ("dst", "dmt", 1),
        ("mutual", "ones", 2),
        ("naive", "naive", 2),
        ("flip", "flip", 2),
        ("dmt", "dmt", 2),
    ],
)
def test_a_method_is_its_peers_and_its_rule(method: str, rule: str, num_peers: int) -> None:
    settings = settings_of(
        method=method, weighting={"agreement_gamma": 3, "disagreement_gamma": 5, "ramp": False}
    )
    assert len(peer_names(settings)) == num_peers
    stages = {stage.name: stage for stage in plan(settings, SIZES)}
    weighting = trained(stages, "round1/a").weighting
    assert (weighting.rule, weighting.has_ramp) == (rule, False)
    assert (weighting.agreement_gamma, weighting.disagreement_gamma) == (3, 5)
    assert trained(stages, "round0/a").weighting.rule == "ones"
    assert {each.gammas for each in stages.values() if isinstance(each, LabelStage)} == {(3, 5)}


ONLINE = [name for name, preset in PRESETS.items() if preset.online is not None]
IN_ONE_STAGE = [name for name in ONLINE if not PRESETS[name].has_first_round]


@pytest.mark.parametrize("method", IN_ONE_STAGE)
@pytest.mark.parametrize("schedule", ["pair", "chain"])
def test_what_learns_online_is_one_stage_of_all_steps(method: str, schedule: str) -> None:
    stages = stages_of(method=method, schedule=schedule, student={"lr": 0.3})
    peers = "ab"[: PRESETS[method].num_peers]
    assert list(stages) == [*(f"round0/{peer}" for peer in peers), "baseline/a"]
    for peer in peers:
        stage = trained(stages, f"round0/{peer}")
        assert stage.together == tuple(f"round0/{each}" for each in peers)
        assert (stage.fit.num_steps, stage.fit.lr, stage.fit.num_labeled) == (120, 0.3, 4)
        assert (stage.pseudo, stage.start, stage.needs, stage.sees) == (None, None, (), "labeled")
        assert stage.fit.lr_span is None
    assert trained(stages, "baseline/a").online is None
    assert trained(stages, "baseline/a").num_images == trained(stages, "round0/a").num_images


@pytest.mark.parametrize("method", ONLINE)
def test_what_learns_online_is_supervised_where_there_is_no_pool(method: str) -> None:
    stages = stages_of(Sizes(40, 0, 0), method=method)
    assert set(stages) == {f"round0/{peer}" for peer in "ab"[: PRESETS[method].num_peers]}
    for name in stages:
        stage = trained(stages, name)
        assert (stage.online, stage.together) == (None, ())
        assert stage.fit.num_labeled == stage.fit.batch_size


def test_what_learns_online_takes_as_many_steps_as_the_rounds_of_dmt() -> None:
    given = {"initial": {"epochs": 3}, "student": {"epochs": 2}, "rounds": 3}
    rounds = [s for s in stages_of(**given).values() if isinstance(s, TrainStage) and s.peer == "a"]
    steps = sum(stage.fit.num_steps for stage in rounds if stage.role == "round")
    assert trained(stages_of(method="cps", **given), "round0/b").fit.num_steps == steps


def test_folds_of_what_learns_online() -> None:
    stages = stages_of(method="cps", folds=2)
    assert trained(stages, "fold1/round0/b").together == ("fold1/round0/a", "fold1/round0/b")
    assert "fold1/baseline/a" in stages
    assert "baseline/a" not in stages


def test_settings_of_what_learns_online() -> None:
    """Those that are set count, for the methods that have them; the others keep their own."""
    online = {"threshold": 0.5, "momentum": 0.9, "cutmix": 0.25}

    def online_of(method: str, sizes: Sizes = SIZES) -> Online:
        found = trained(stages_of(sizes, method=method, online=online), "round0/a").online
        assert found is not None
        return found

    assert online_of("fixmatch") == Online("confident", threshold=0.5, unlabeled_weight=1.0)
    assert online_of("freematch").momentum == 0.9
    assert online_of("cps").threshold is None
    scenes = Sizes(40, 1000, 1000, is_dense=True)
    assert online_of("cps", scenes).cutmix == 0.25


def test_dmt_online_has_the_gammas_of_dmt_and_no_ramp() -> None:
    weighting = {"agreement_gamma": 3, "disagreement_gamma": 5, "ramp": True}
    for is_ramped in (False, True):
        given = {"weighting": weighting, "online": {"gamma_ramp": is_ramped}}
        stage = trained(stages_of(method="dmt-online", **given), "round1/b")
        assert stage.weighting == Weights("dmt", 3, 5, is_ramped)


@pytest.mark.parametrize("span", ["stage", "run"])
def test_dmt_online_has_the_first_round_of_dmt_and_then_all_others_in_one(span: str) -> None:
    given = {"initial": {"share": 0.25, "mixup": 0.5}, "student": {"lr_span": span}, "rounds": 3}
    stages, of_dmt = stages_of(method="dmt-online", **given), stages_of(**given)
    assert list(stages) == ["round0/a", "round0/b", "round1/a", "round1/b", "baseline/a"]
    for peer in "ab":
        first, second = (trained(stages, f"round{number}/{peer}") for number in (0, 1))
        assert first == trained(of_dmt, f"round0/{peer}"), "trained once for both, in a comparison"
        assert (first.fit.num_steps, second.fit.num_steps) == (30, 90)
        assert second.together == ("round1/a", "round1/b")
        assert (second.start, second.needs) == (first.name, (first.name,))
        assert (second.round, second.fit.mixup, second.pseudo) == (1, 0, None)
        assert second.fit.lr_span == ((30, 120) if span == "run" else None)
    assert trained(stages, "baseline/a").num_images == 120 * 32
    epochs = {"initial": {"epochs": 3}, "student": {"epochs": 2}, "rounds": 3}
    steps = [trained(stages_of(**epochs), f"round{number}/a").fit.num_steps for number in range(4)]
    online = stages_of(method="dmt-online", **epochs)
    assert trained(online, "round0/a").fit.num_steps == steps[0]
    assert trained(online, "round1/a").fit.num_steps == sum(steps[1:])


def test_dmt_online_has_the_dms_of_dmt() -> None:
    given = {"peers": {"labeled_subset": "dms"}}
    stages, of_dmt = stages_of(method="dmt-online", **given), stages_of(**given)
    for name in ("round0/a", "round0/b"):
        assert trained(stages, name) == trained(of_dmt, name)
        assert trained(stages, name).sees == "dms"
    assert trained(stages, "round1/b").sees == "labeled"


def test_averages_label_scenes_only_where_there_are_some() -> None:
    scenes = Sizes(40, 1000, 1000, is_dense=True)
    online = trained(
        stages_of(scenes, method="dmt-online", student={"ema_decay": 0}), "round1/a"
    ).online
    assert online is not None
    assert online.teacher == "peer"


def test_dmt_online_keeps_of_a_batch_what_the_rounds_keep_of_the_pool() -> None:
    def online_of(sizes: Sizes = SIZES, **settings: Any) -> Online:
        found = trained(stages_of(sizes, method="dmt-online", **settings), "round1/a").online
        assert found is not None
        return found

    assert online_of(rounds=4).fractions == (0.25, 0.5, 0.75, 1.0)
    assert online_of(rounds=2, selection={"fractions": [0.3, 0.6]}).fractions == (0.3, 0.6)
    assert online_of().is_class_balanced
    assert not online_of(selection={"kind": "global"}).is_class_balanced
    cps = trained(stages_of(method="cps", rounds=4), "round0/a").online
    assert cps is not None
    assert cps.fractions is None
    scenes = Sizes(40, 1000, 1000, is_dense=True)
    assert (online_of().teacher, online_of(scenes).teacher) == ("peer", "peer-average")
    assert online_of(scenes, online={"teacher": "peer"}).teacher == "peer"


def test_forwards_without_gradient_of_what_learns_online() -> None:
    """28 of 32 images of a batch are unlabeled."""
    for method, num in (("online", 0), ("fixmatch", 1), ("cps", 1), ("mixmatch", 2)):
        assert trained(stages_of(method=method), "round0/a").num_weighed == num * 120 * 28


@pytest.mark.parametrize("mixup", [0, 0.75])
def test_mixmatch_has_a_mixup_of_its_own_whatever_a_recipe_has_for_students(mixup: float) -> None:
    given = {"student": {"mixup": mixup}}
    for method, own in (("mixmatch", 0.75), ("fixmatch", None)):
        stage = trained(stages_of(method=method, **given), "round0/a")
        assert stage.online is not None
        assert (stage.online.mixup, stage.fit.mixup) == (own, 0)
    typed = trained(stages_of(method="mixmatch", online={"mixup": 0.5}), "round0/a")
    assert typed.online is not None
    assert typed.online.mixup == 0.5


@pytest.mark.parametrize("sizes", [SIZES, Sizes(40, 0, 0)])
def test_supervised_is_round_0_alone(sizes: Sizes) -> None:
    stages = stages_of(sizes, method="supervised")
    assert list(stages) == ["round0/a"]
    with_oracle = stages_of(sizes, method="supervised", oracle=True)
    assert list(with_oracle) == ["round0/a", *(["oracle/a"] if sizes.num_hidden else [])]
    assert trained(stages, "round0/a").fit.num_steps == 120


def test_without_a_pool_there_is_nothing_to_teach() -> None:
    stages = stages_of(Sizes(40, 0, 0))
    assert list(stages) == ["round0/a", "round0/b"]
    assert trained(stages, "round0/b").fit.num_steps == 120


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"steps": 1000, "rounds": 3},
        {"initial": {"epochs": 3}, "student": {"epochs": 2}},
        {"schedule": "chain"},
    ],
)
def test_the_baseline_takes_as_many_steps_as_a_peer_in_the_whole_run(
    given: dict[str, Any],
) -> None:
    stages = stages_of(**given)
    of_a = [
        stage.fit.num_steps
        for stage in stages.values()
        if isinstance(stage, TrainStage) and (stage.role, stage.peer) == ("round", "a")
    ]
    baseline = trained(stages, "baseline/a")
    assert baseline.fit.num_steps == sum(of_a)
    assert baseline.num_images == sum(of_a) * 32
    assert baseline.needs == ()
    assert baseline.sees == "labeled"
    assert baseline.pseudo is None


@pytest.mark.parametrize(
    ("baseline", "names"),
    [
        ("equal", ["baseline/a"]),
        ("pair", ["baseline/a", "baseline/b"]),
        ("round0", []),
        ("none", []),
    ],
)
def test_which_baselines_there_are(baseline: str, names: list[str]) -> None:
    assert [name for name in stages_of(baseline=baseline) if name.startswith("base")] == names


def test_the_oracle_sees_everything_for_as_long() -> None:
    stages = stages_of(oracle=True)
    oracle = trained(stages, "oracle/a")
    assert oracle.sees == "everything"
    assert oracle.fit == trained(stages, "baseline/a").fit
    assert "oracle/a" not in stages_of(Sizes(40, 1000, 0), oracle=True)
    assert "oracle/a" not in stages_of()


@pytest.mark.parametrize("steps", [6, 100, 121])
def test_the_steps_are_shared_out_without_a_rest(steps: int) -> None:
    found = num_peer_steps(settings_of(steps=steps), SIZES)
    assert sum(found) == steps
    assert max(found) - min(found) <= 1


def test_epochs_are_passes_over_what_is_selected() -> None:
    settings = settings_of(
        initial={"epochs": 8}, student={"epochs": 3, "labeled_share": 0.25}, rounds=5
    )
    # 8 · 40 / 32, then 3 · α · 1000 / (32 − 8)
    assert num_peer_steps(settings, SIZES) == [10, 25, 50, 75, 100, 125]


def test_label_fractions() -> None:
    stages = stages_of(rounds=3, selection={"fractions": [0.5, 0.75]})
    found = [label(stages, f"round{r}/label/a").fraction for r in (1, 2, 3)]
    assert found == [0.5, 0.75, 0.75]
    stages = stages_of(selection={"kind": "class-balanced"})
    assert [label(stages, f"round{r}/label/b").fraction for r in (1, 5)] == [0.2, 1.0]
    assert label(stages, "round1/label/b").is_class_balanced


@pytest.mark.parametrize(
    ("share", "batch_size", "num_labeled"), [(0.125, 64, 8), (0.01, 16, 1), (1.0, 16, 15)]
)
def test_labeled_images_in_a_batch(share: float, batch_size: int, num_labeled: int) -> None:
    stages = stages_of(batch_size=batch_size, student={"labeled_share": share})
    assert trained(stages, "round1/a").fit.num_labeled == num_labeled
    assert trained(stages, "round0/a").fit.num_labeled == batch_size


def test_peers_may_differ_in_network_and_subset() -> None:
    stages = stages_of(
        model="wrn_10_1",
        peers={"b": {"model": "wrn_16_2", "weights": "pretrained"}, "labeled_subset": "dms"},
    )
    for round_ in (0, 1):
        a, b = (trained(stages, f"round{round_}/{peer}") for peer in ("a", "b"))
        assert (a.model, a.weights) == ("wrn_10_1", "none")
        assert (b.model, b.weights) == ("wrn_16_2", "pretrained")
    assert trained(stages, "round0/a").sees == "dms"
    assert trained(stages, "round1/a").sees == "labeled"  # DMS is for the initial models alone
    assert trained(stages, "baseline/a").sees == "labeled"


def test_dms_needs_two_peers() -> None:
    stages = stages_of(method="self-training", peers={"labeled_subset": "dms"})
    assert trained(stages, "round0/a").sees == "labeled"


def test_folds_come_first_and_the_run_on_all_labels_last() -> None:
    stages = plan(settings_of(folds=5, oracle=True), SIZES)
    order = list(dict.fromkeys(stage.fold for stage in stages))
    assert order == [0, 1, 2, 3, 4, None]
    one = [stage.name for stage in stages if stage.fold == 3]
    whole = [stage.name for stage in stages if stage.fold is None and stage.role != "oracle"]
    # The folds judge, so each has a baseline; the run on all labels is handed out and has none.
    assert one == [*(f"fold3/{name}" for name in whole), "fold3/baseline/a"]
    assert [stage.name for stage in stages if stage.role == "oracle"] == ["oracle/a"]


def test_rounds_and_their_weights_of_a_fold_need_only_that_fold() -> None:
    for stage in plan(settings_of(folds=2), SIZES):
        if stage.fold is not None:
            assert all(need.startswith(f"fold{stage.fold}/") for need in stage.needs)


@pytest.mark.parametrize("method", sorted(PRESETS))
@pytest.mark.parametrize("schedule", ["pair", "chain"])
@pytest.mark.parametrize("start", ["fresh", "continue"])
@pytest.mark.parametrize("folds", [0, 3])
def test_what_a_stage_needs_comes_before_it(
    method: str, schedule: str, start: str, folds: int
) -> None:
    settings = settings_of(
        method=method,
        schedule=schedule,
        student={"start": start},
        folds=folds,
        oracle=True,
        baseline="pair",
    )
    seen: set[str] = set()
    for stage in plan(settings, SIZES):
        assert set(stage.needs) <= seen, stage.name
        assert stage.name not in seen
        seen.add(stage.name)


def test_the_plan_does_not_depend_on_the_seed() -> None:
    assert stages_of(seed=0) == stages_of(seed=1)


def test_images_that_go_forward_once_more_for_the_weights() -> None:
    stages = stages_of(student={"mixup": 0.75})
    stage = trained(stages, "round1/a")
    assert stage.num_weighed == stage.num_images == stage.fit.num_steps * 32
    assert trained(stages, "round0/a").num_weighed == 0
    assert trained(stages_of(student={"mixup": 0}), "round1/a").num_weighed == 0
    assert trained(stages_of(method="mutual"), "round1/a").num_weighed == 0
