"""Copies between the parts of a data set, from made-up hashes."""

from __future__ import annotations

from dmt.data.duplicates import File, duplicate_alarms


def files(*rows: tuple[str, str, str]) -> list[File]:
    """From (path, hash, part)."""
    return [(path, 10, digest, part) for path, digest, part in rows]


def test_no_copies_no_alarm() -> None:
    found = files(("a", "1", "labeled"), ("b", "2", "unlabeled"), ("c", "3", "test"))
    assert duplicate_alarms(found, lambda path: "x") == []


def test_equal_hashes_of_other_lengths_are_no_copies() -> None:
    found: list[File] = [("a", 10, "1", "labeled"), ("b", 11, "1", "test")]
    assert duplicate_alarms(found, lambda path: None) == []


def test_each_two_parts_are_one_alarm() -> None:
    found = files(
        ("l1", "1", "labeled"), ("u1", "1", "unlabeled"), ("u2", "1", "unlabeled"),
        ("l2", "2", "labeled"), ("t2", "2", "test"),
        ("v3", "3", "val"), ("t3", "3", "test"),
        ("l4", "4", "labeled"), ("x4", "4", "unused"),
    )  # fmt: skip
    alarms = {(each.kind, tuple(each.about)): each for each in duplicate_alarms(found, {}.get)}
    assert set(alarms) == {
        ("duplicate-unlabeled", ("u1", "l1", "u2")),
        ("duplicate-held-out", ("t2", "l2")),
        ("duplicate-held-out", ("t3", "v3")),
    }
    message = alarms["duplicate-unlabeled", ("u1", "l1", "u2")].message
    assert (
        message == "2 unlabeled images are among the labeled images too: u1 equals l1, and 1 more."
    )
    assert alarms["duplicate-held-out", ("t2", "l2")].remedy == (
        "Remove the copy from the labeled images."
    )


def test_copies_inside_a_part_are_a_fault_only_where_labels_differ() -> None:
    found = files(("a", "1", "labeled"), ("b", "1", "labeled"), ("c", "1", "labeled"))
    assert duplicate_alarms(found, dict.fromkeys("abc", 0).get) == []
    (alarm,) = duplicate_alarms(found, {"a": 0, "b": 1}.get)
    assert (alarm.kind, alarm.about) == ("duplicate-labels", ["b", "a"])
    assert alarm.message == "1 image is there twice, with another label each time: b equals a."


def test_names_are_shown_and_lists_are_short() -> None:
    rows = [(f"{part}\n{n}", str(n), part) for n in range(50) for part in ("labeled", "unlabeled")]
    (alarm,) = duplicate_alarms(files(*rows), {}.get)
    assert "\n" not in alarm.message
    assert "and 49 more" in alarm.message
    assert len(alarm.about) == 20
