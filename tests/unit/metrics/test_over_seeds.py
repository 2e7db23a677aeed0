"""Methods over seeds: what is compared with what, and the figures by hand."""

from __future__ import annotations

import pytest

from dmt.metrics.over_seeds import Entry, compare_methods, mean_gap_closed
from dmt.records import Difference
from dmt.records.comparison import Seen, table


def entries(values: dict[str, list[float | None]], supervised: list[float] | None = None):
    """Entries without labels; every method's own supervised model is that of `supervised`."""
    alone = supervised or [value or 0.0 for value in values["supervised"]]
    return {
        (name, None): {
            seed: Entry(value, None if name == "supervised" else alone[seed])
            for seed, value in enumerate(row)
            if value is not None
        }
        for name, row in values.items()
    }


def compared(found, num: int = 3, metric: str = "error"):
    return compare_methods(found, range(num), dataset="toy", task="classification", metric=metric)


def test_mean_sd_and_paired_interval_by_hand() -> None:
    result = compared(entries({"supervised": [10, 12, 11], "dmt": [7, 8, 9]}))
    supervised, dmt = result.methods
    assert (supervised.mean, supervised.sd) == (11, 1)
    assert (dmt.mean, dmt.values) == (8, [7, 8, 9])
    (pair,) = result.pairs
    assert (pair.a, pair.b, pair.difference) == ("dmt", "supervised", -3)
    # Differences −3, −4, −2: sd 1, t(0.975; 2) = 4.302653, half = 4.302653 / √3.
    assert pair.interval == pytest.approx((-3 - 2.484138, -3 + 2.484138), abs=1e-5)


def test_questions_are_those_against_supervised_and_of_ours() -> None:
    names = ["supervised", "self-training", "dmt", "dmt-online", "oracle"]
    result = compared(entries({name: [1.0, 2.0] for name in names}), 2)
    assert [(pair.a, pair.b) for pair in result.pairs] == [
        ("self-training", "supervised"),
        ("dmt", "supervised"),
        ("dmt-online", "supervised"),
        ("oracle", "supervised"),
        ("dmt-online", "self-training"),
        ("dmt-online", "dmt"),
        ("dmt", "self-training"),
    ]
    without = compared(entries({name: [1.0, 2.0] for name in names[1:3]}, [0, 0]), 2)
    assert [(pair.a, pair.b) for pair in without.pairs] == [("dmt", "self-training")]


def test_pairs_of_models_are_compared_with_pairs_alone() -> None:
    values = {"supervised": [5, 6], "mutual": [4, 5], "dmt": [3, 4]}
    both = {f"{name} (pair)": row for name, row in values.items()}
    result = compared(entries(values | both), 2)
    assert all(("(pair)" in pair.a) == ("(pair)" in pair.b) for pair in result.pairs)
    assert ("dmt (pair)", "mutual (pair)") in [(pair.a, pair.b) for pair in result.pairs]
    only = compared(entries(values | {"dmt (pair)": [1, 2]}), 2)
    assert not any("(pair)" in pair.a for pair in only.pairs)


def test_a_method_is_held_to_the_supervised_model_of_its_own_budget() -> None:
    found = entries({"supervised": [10, 10, 10], "dmt": [7, 7, 7]}, supervised=[9, 9, 9])
    assert compared(found).pairs[0].difference == -2


def test_a_missing_seed_is_left_out_of_both() -> None:
    found = entries({"supervised": [10, 12, 11], "self-training": [9, None, 8], "dmt": [7, 1, 9]})
    result = compared(found)
    trained = result.methods[1]
    assert trained.values == [9, None, 8]
    assert trained.mean == 8.5
    last = result.pairs[-1]
    assert (last.a, last.b, last.difference) == ("dmt", "self-training", -0.5)


def test_one_seed_has_the_run_s_own_interval_against_supervised() -> None:
    own = Difference(value=-3, low=-4, high=-1, p_value=0.01, num_images=100)
    found = {
        ("supervised", None): {0: Entry(10.0)},
        ("mutual", None): {0: Entry(8.0, 10.0)},
        ("dmt", None): {0: Entry(7.0, 10.0, interval=own)},
    }
    result = compared(found, 1)
    assert [(p.a, p.b, p.difference, p.interval) for p in result.pairs] == [
        ("mutual", "supervised", -2, None),
        ("dmt", "supervised", -3, (-4, -1)),
        ("dmt", "mutual", -1, None),
    ]
    assert result.methods[0].sd is None


def test_nothing_measured_is_null() -> None:
    result = compared({("dmt", None): {0: Entry(None)}, ("supervised", None): {}})
    assert [(m.mean, m.sd, m.values) for m in result.methods] == [(None, None, [None] * 3)] * 2
    assert (result.pairs[0].difference, result.pairs[0].interval) == (None, None)


def test_gap_closed_is_the_mean_of_the_seeds_shares() -> None:
    found = [Entry(6.0, 10.0, 2.0), Entry(4.0, 10.0, 1.0)]
    assert mean_gap_closed(found, "error") == pytest.approx((4 / 8 + 6 / 9) / 2)
    higher = [Entry(60.0, 50.0, 70.0), Entry(66.0, 50.0, 71.0)]
    assert mean_gap_closed(higher, "miou") == pytest.approx((10 / 20 + 16 / 21) / 2)


@pytest.mark.parametrize(
    "found",
    [
        [],
        [Entry(6.0, 10.0), Entry(6.0, 10.0)],  # no oracle
        [Entry(6.0, 10.0, 2.0), Entry(6.0, 10.0, 10.5)],  # one oracle is worse than supervised
        [Entry(6.0, 10.0, 10.0), Entry(6.0, 10.0, 9.0)],  # one is no better
        [Entry(6.0, 10.0, 9.9), Entry(6.0, 10.0, 5.0)],  # together no better beyond chance
        [Entry(6.0, 10.0, 2.0)],  # of one seed the run says whether it is
    ],
)
def test_no_gap_where_it_would_be_noise(found: list[Entry]) -> None:
    assert mean_gap_closed(found, "error") is None


def test_one_seed_takes_the_run_s_own_gap() -> None:
    assert mean_gap_closed([Entry(6.0, 10.0, 2.0, gap_closed=0.5)], "error") == 0.5


def test_seconds_and_images_are_means_over_seeds() -> None:
    seen = [Seen(trained=n, per_model=n / 2, forward_only=10) for n in (100, 300)]
    found = {("dmt", None): {s: Entry(1.0, seconds=2.0 + s, seen=seen[s]) for s in (0, 1)}}
    (method,) = compared(found, 2).methods
    assert method.seconds == 2.5
    assert method.images_seen == Seen(trained=200, per_model=100, forward_only=10)


def test_labels_are_compared_apart() -> None:
    found = {
        (name, at): {s: Entry(at - s, at) for s in (0, 1)}
        for at in (40.0, 80.0)
        for name in ("supervised", "dmt")
    }
    result = compared(found, 2)
    assert result.labels == [40, 80]
    assert [(p.labels, p.difference) for p in result.pairs] == [(40, -0.5), (80, -0.5)]


def test_a_mean_of_fewer_seeds_says_of_how_many() -> None:
    values = {"supervised": [10, 12, 11], "dmt": [7, 8, None], "dst": [8, None, None]}
    _, rows = table(compared(entries(values)))
    assert [row[1] for row in rows] == ["11.00 ± 1.00", "7.50 ± 0.71 (2 seeds)", "8.00 (1 seed)"]
