"""What finds wrong pseudo labels, in the records of real runs: there where the truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dmt.api import Run, train
from dmt.core.error_scores import ONE_NETWORK, TWO_NETWORKS
from dmt.records import ErrorDetection, read_metrics, read_summary
from tiny_scenes import KEYS
from trees import write_image_masks

TINY: dict[str, Any] = {
    "steps": 6, "rounds": 2, "model": "wrn_10_1", "batch_size": 16, "baseline": "none",
    "device": "cpu",
}  # fmt: skip
SECTION = "Does disagreement find wrong pseudo labels?"


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [e for e in read_metrics(run / "metrics.jsonl") if e["event"] == "error_detection"]


def check(run: Path, num_checked: int, scores: tuple[str, ...]) -> list[ErrorDetection]:
    """One record a labeling, in the summary as in the lines, of figures that can be."""
    lines, summary = lines_of(run), read_summary(run)
    labelings = [e["stage"] for e in read_metrics(run / "metrics.jsonl") if e["event"] == "label"]
    assert [line["stage"] for line in lines] == labelings
    found = [each for record in summary.rounds for each in record.error_detection.values()]
    assert len(found) == len(lines)
    for line in lines:
        each = summary.rounds[line["round"]].error_detection[line["teacher"]]
        assert each.model_dump() == {name: line[name] for name in ErrorDetection.model_fields}
        assert 0 <= each.num_selected_wrong <= min(each.num_selected, each.num_wrong)
        assert each.num_wrong <= each.num_labels
        assert each.num_images == num_checked
        assert tuple(each.scores) == scores
        for score in each.scores.values():
            values = score.model_dump().values()
            assert all(value is None or 0 <= value <= 1 for value in values)
            assert (score.ap is None) == (each.num_wrong in (0, each.num_labels))
        for gain in each.gains.values():
            assert -1 <= gain.low <= gain.value <= gain.high <= 1
    return found


def test_digits(digits_run: Path) -> None:
    found = check(digits_run, 1000, (*ONE_NETWORK, *TWO_NETWORKS))
    assert len(found) == 4
    for each, line in zip(found, lines_of(digits_run), strict=True):
        assert (each.num_labels, each.num_blocks) == (1000, 1000)
        assert list(each.gains) == list(each.scores)[1:]
        gain = each.gains["disagreement"].value
        difference = each.scores["disagreement"].ap - each.scores["confidence"].ap
        assert abs(gain - difference) < 1e-9
        assert line["other"] == f"round{line['round'] - 1}/{line['student']}"
    # The sample is like the pool of which the labeling itself speaks.
    for record in read_metrics(digits_run / "metrics.jsonl"):
        if record["event"] == "label":
            by_teacher = read_summary(digits_run).rounds[record["round"]].error_detection
            each = by_teacher[record["teacher"]]
            assert abs(1 - each.num_wrong / 1000 - record["pool_accuracy"]) < 0.03
            assert abs(each.num_selected / 1000 - record["selected"] / 1400) < 0.03
    assert SECTION in (digits_run / "report.html").read_text()


def test_one_network_alone_has_nothing_to_disagree_with(tmp_path: Path) -> None:
    run = train("digits", out=tmp_path / "run", **TINY, method="self-training")
    for each in check(run.path, 1000, ONE_NETWORK):
        assert list(each.gains) == ["margin", "entropy"]
    assert all(line["other"] is None for line in lines_of(run.path))


def test_a_chain_asks_the_generation_before_its_teacher(tmp_path: Path) -> None:
    run = train("digits", out=tmp_path / "run", **TINY, schedule="chain")
    first, second = lines_of(run.path)
    assert (first["other"], tuple(first["scores"])) == (None, ONE_NETWORK)
    assert (second["other"], len(second["scores"])) == ("round0/a", 8)


def scenes_run(tmp_path: Path, **settings: Any) -> Run:
    # Small and speckled, so that any network errs somewhere.
    data = write_image_masks(tmp_path / "scenes", 9, 2, num_test=2, size=(32, 40))
    return train(data, out=tmp_path / "run", **(KEYS | {"baseline": "none"} | settings))


def test_scenes(tmp_path: Path) -> None:
    run = scenes_run(tmp_path, labels=3, seed=1)
    for each in check(run.path, 6, (*ONE_NETWORK, *TWO_NETWORKS)):
        assert each.num_labels <= 6 * 250
        assert each.num_blocks == 6
        assert each.num_wrong > 0
        assert list(each.gains) == list(each.scores)[1:]
    assert SECTION in (run.path / "report.html").read_text()


def test_without_hidden_labels_nothing_is_there(tmp_path: Path, tmp_photos) -> None:
    photos = tmp_photos(labeled=4, unlabeled=3, test=2)
    image_run = train(photos, out=tmp_path / "run-of-photos", **TINY, **{"data.image_size": 16})
    for run in (image_run, scenes_run(tmp_path)):
        assert lines_of(run.path) == []
        assert not any(record.error_detection for record in run.summary.rounds)
        assert SECTION not in (run.path / "report.html").read_text()
