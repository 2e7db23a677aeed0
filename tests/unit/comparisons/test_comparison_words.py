"""A comparison in words: what is asked for, its table, its sentences, its contract."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dmt.comparisons.words import Job, read_question
from dmt.config import Settings, chosen_values, resolve, with_values
from dmt.errors import SettingError
from dmt.records.comparison import (
    Comparison,
    MethodResult,
    PairResult,
    Seen,
    answer,
    sentence,
    signed,
    table,
)


def method(name: str, values: list[float | None], **more: Any) -> MethodResult:
    known = [value for value in values if value is not None]
    fields = {
        "mean": sum(known) / len(known) if known else None,
        "sd": 0.5 if len(known) > 1 else None,
        "gap_closed": None,
        "seconds": 3.25,
        "images_seen": Seen(trained=2000, per_model=1000, forward_only=5),
    }
    return MethodResult(method=name, values=values, **fields | more)


def comparison(pair: PairResult, metric: str = "error", **more: Any) -> Comparison:
    names = dict.fromkeys((pair.b, pair.a))
    methods = [method(name, [4.0, 5.0], labels=pair.labels) for name in names]
    return Comparison(
        dataset="toy", task="classification", metric=metric, methods=methods, pairs=[pair], **more
    )


def test_jobs_are_seed_by_seed_and_train_no_supervised_model_of_their_own() -> None:
    question = read_question(["methods=supervised,dmt,flip,oracle", "seeds=0,3", "labels=40,0.5"])
    assert [job.name for job in question.jobs] == [
        "dmt-l40-s0", "flip-l40-s0", "dmt-l0.5-s0", "flip-l0.5-s0",
        "dmt-l40-s3", "flip-l40-s3", "dmt-l0.5-s3", "flip-l0.5-s3",
    ]  # fmt: skip
    words = question.words(question.jobs[0])
    wanted = {"method": "dmt", "seed": 0, "labels": 40, "oracle": True, "baseline": "equal"}
    assert words == wanted


def test_one_number_of_labels_is_a_setting_like_others() -> None:
    question = read_question({"methods": ["dmt"], "seeds": 1, "labels": 40, "out": "x"})
    assert question.jobs == (Job("dmt", None, 1),)
    assert question.jobs[0].name == "dmt-s1"
    assert question.words(question.jobs[0]) == {
        "labels": 40, "baseline": "none", "method": "dmt", "seed": 1,
    }  # fmt: skip
    assert question.out == "x"


def test_supervised_alone_is_a_run_of_its_own() -> None:
    question = read_question(["methods=oracle,supervised"])
    assert [job.name for job in question.jobs] == ["supervised-s0", "supervised-s1",
                                                   "supervised-s2"]  # fmt: skip


def test_a_single_model_is_asked_nothing_that_only_a_pair_has() -> None:
    question = read_question(["methods=supervised,self-training,dmt", "seeds=0", "baseline=pair",
                              "peers.b.model=wrn_16_1"])  # fmt: skip
    single, pair = (question.words(job) for job in question.jobs)
    assert (single["baseline"], pair["baseline"]) == ("equal", "pair")
    assert "peers.b.model" not in single
    assert pair["peers.b.model"] == "wrn_16_1"


_OF_ALL = {"student.lr": 0.1, "selection.fractions": [1]}
_OF_SOME = {
    "online.threshold": 0.8, "online.cutout": 0, "online.gamma_ramp": True,
    "online.teacher": "peer",
    "weighting.ramp": False, "schedule": "pair", "selection.kind": "global",
    "peers.labeled_subset": "dms", "peers.b.model": "wrn_16_1",
}  # fmt: skip
_ROUNDS = {"weighting.ramp", "schedule", "selection.kind"}
_KNOWN = {
    "self-training": _ROUNDS,
    "dmt": {*_ROUNDS, "peers.labeled_subset", "peers.b.model"},
    "online": {"online.threshold"},
    "fixmatch": {"online.threshold", "online.cutout"},
    "mean-teacher": {"online.cutout"},
    "cps": {"online.cutout", "peers.b.model"},
    "dmt-online": {
        "online.cutout",
        "online.gamma_ramp",
        "online.teacher",
        "peers.b.model",
        "peers.labeled_subset",
        "selection.kind",
    },
}


def test_each_method_is_asked_what_it_knows() -> None:
    question = read_question(_OF_ALL | _OF_SOME | {"methods": list(_KNOWN), "seeds": 0})
    for job in question.jobs:
        words = question.words(job)
        assert words.keys() - {"method", "seed", "baseline"} == _OF_ALL.keys() | _KNOWN[job.method]
    # A chain has no second peer.
    in_chain = {job.method: question.words(job, "chain") for job in question.jobs}
    assert "peers.b.model" not in in_chain["dmt"]
    assert "peers.b.model" in in_chain["cps"]
    known = {method for method, words in in_chain.items() if "peers.labeled_subset" in words}
    assert known == {"dmt-online"}, "whose round 0 is of two peers in any case"


def test_the_command_asks_the_same_again() -> None:
    words = ["methods=supervised,dmt", "seeds=4,5", "labels=40,80", "student.lr=0.03",
             "selection.fractions=[0.5, 1]"]  # fmt: skip
    command = read_question(words).command("my photos")
    assert command == ("dmt compare 'my photos' methods=supervised,dmt seeds=4,5 labels=40,80 "
                       "student.lr=0.03 'selection.fractions=[0.5, 1]'")  # fmt: skip


@pytest.mark.parametrize(
    ("interval", "metric", "word"),
    [
        ((-2, -1), "error", "better"),
        ((1, 2), "error", "worse"),
        ((1, 2), "miou", "better"),
        ((-2, -1), "miou", "worse"),
        ((-1, 1), "miou", "unclear"),
        ((0, 1), "miou", "unclear"),
        (None, "error", "unclear"),
    ],
)
def test_answer_is_where_the_whole_interval_lies(interval, metric: str, word: str) -> None:
    pair = PairResult(a="dmt", b="supervised", difference=0.5, interval=interval)
    assert answer(pair, metric) == word


@pytest.mark.parametrize(
    ("b", "interval", "end"),
    [
        ("supervised", (-2.0, -1.0), "it helped."),
        ("supervised", (1.0, 2.0), "it hurt."),
        ("flip", (-2.0, -1.0), "dmt is better."),
        ("flip", (1.0, 2.0), "dmt is worse."),
        ("flip", (-1.0, 2.0), "cannot tell, as the interval holds 0."),
    ],
)
def test_sentence_says_plainly_what_the_interval_says(b: str, interval, end: str) -> None:
    pair = PairResult(a="dmt", b=b, difference=-0.5, interval=interval)
    said = sentence(pair, comparison(pair))
    assert said.startswith(f"dmt − {b}: −0.50 points of error, 95 % interval ")
    assert said.endswith(f" over 2 seeds: {end}")


def test_sentence_without_figures() -> None:
    pair = PairResult(a="dmt", b="flip", labels=40, difference=None, interval=None)
    assert sentence(pair, comparison(pair)) == "dmt − flip at 40 labels: not measured."
    pair = PairResult(a="dmt", b="flip", difference=1.0, interval=None)
    assert sentence(pair, comparison(pair, "miou")) == (
        "dmt − flip: +1.00 points of mean IoU on one seed, which has no interval: cannot tell."
    )


def test_signed_has_a_true_minus_and_no_negative_zero() -> None:
    assert [signed(value) for value in (-1.234, 0.5, -0.001)] == ["−1.23", "+0.50", "+0.00"]


def test_table_has_a_dash_where_nothing_is_known() -> None:
    pair = PairResult(a="dmt", b="supervised", difference=0, interval=None)
    result = comparison(pair).model_copy(
        update={
            "methods": [
                method("dmt", [4.0, 5.0], gap_closed=-0.256),
                method("x", [None], seconds=None, images_seen=None),
                method("y", [1.0]),
            ]
        }
    )
    header, rows = table(result)
    assert header == ["method", "error in %", "gap closed", "images a model", "seconds"]
    assert rows == [
        ["dmt", "4.50 ± 0.50", "−26 %", "1,000", "3.2"],
        ["x", "–", "–", "–", "–"],
        ["y", "1.00", "–", "1,000", "3.2"],
    ]


def test_contract_speaks_of_labels_only_where_they_vary() -> None:
    pair = PairResult(a="dmt", b="supervised", difference=-1.0, interval=(-2.0, 0.0))
    found = json.loads(json.dumps(comparison(pair).contract()))
    assert list(found) == ["dataset", "task", "metric", "methods", "pairs"]
    assert list(found["methods"][0]) == [
        "method", "mean", "sd", "values", "gap_closed", "seconds", "images_seen",
    ]  # fmt: skip
    assert found["pairs"] == [
        {"a": "dmt", "b": "supervised", "difference": -1, "interval": [-2, 0]}
    ]
    swept = comparison(pair.model_copy(update={"labels": 40}), labels=[40, 80]).contract()
    assert swept["labels"] == [40, 80]
    assert swept["pairs"][0]["labels"] == swept["methods"][0]["labels"] == 40


def test_what_a_run_chose_can_be_given_to_others() -> None:
    asked = resolve(["budget=30m"], dataset="d", default_recipe=None)
    run = with_values(asked, {"steps": 70, "model": "wrn_10_1", "data.image_size": 8, "seed": 3,
                              "out": "there", "workers": 2})  # fmt: skip
    assert isinstance(run, Settings)
    assert chosen_values(asked, run) == {"steps": 70, "model": "wrn_10_1", "data.image_size": 8}


@pytest.mark.parametrize("seeds", ["seeds=0.5", "seeds=-1", "seeds=0,x", "seeds=true", "seeds=1 2"])
def test_seeds_are_whole_numbers(seeds: str) -> None:
    with pytest.raises(SettingError, match="no whole number from 0; write seeds=0,1,2"):
        read_question(["methods=dmt", seeds])


def test_a_slip_of_too_many_runs_is_seen() -> None:
    with pytest.raises(SettingError, match="ask for 1001 runs"):
        read_question({"methods": ["dmt"], "seeds": list(range(1001))})
