"""`dmt compare` from words to the page: stages trained once, the same bits, going on, the contract.

Words alone are in `tests/unit/comparisons/test_comparison_words`, what is refused before anything
begins in `tests/bad_input/test_bad_comparisons`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import dmt as package
from dmt.api import train
from dmt.comparisons.comparing import compare_with
from dmt.engine.folder import RunFolder
from dmt.engine.listener import Quiet
from dmt.engine.stage import Stage
from dmt.errors import Interrupted, RunError, SettingError
from dmt.records.comparison import ComparisonRecord

SETTINGS: dict[str, Any] = {
    "steps": 6, "rounds": 1, "model": "wrn_10_1", "batch_size": 16, "device": "cpu",
    "selection.fractions": [1], "data.val_per_class": 2,
}  # fmt: skip
QUESTION = {"methods": ["supervised", "self-training", "dmt"], "seeds": [0, 1]}
RUNS = [f"{method}-s{seed}" for seed in (0, 1) for method in ("self-training", "dmt")]
_CLOCK = {"time", "seconds", "images_per_second", "shared"}


class Crash(BaseException):
    """Stands for the process dying: nothing of ours catches it."""


class StopAt(Quiet):
    """Counts steps; at the `at`-th sends a signal, or dies."""

    def __init__(self, at: int = 0, number: int | None = None) -> None:
        self._at, self._number = at, number
        self.num_steps = 0
        self.notes: list[str] = []

    def on_note(self, text: str) -> None:
        self.notes.append(text)

    def on_step(self, stage: Stage, step: int, num_steps: int, done: float) -> None:
        self.num_steps += 1
        if self.num_steps == self._at:
            if self._number is None:
                raise Crash
            os.kill(os.getpid(), self._number)


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def bits(run: Path, snapshot) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """Weights, pseudo labels and record of a run without its clocks and what came from where."""
    files = {
        name: content
        for name, content in snapshot(run).items()
        if name.endswith(".safetensors") or "pseudo_labels" in name
    }
    lines = [{k: v for k, v in line.items() if k not in _CLOCK} for line in lines_of(run)]
    return files, lines


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StopAt]:
    """A whole comparison and who listened to it; nobody changes it."""
    path, listener = tmp_path_factory.mktemp("compare") / "c", StopAt()
    compare_with("digits", SETTINGS | QUESTION | {"out": path}, listener)
    return path, listener


def test_what_runs_have_in_common_is_trained_once(compared) -> None:
    path, listener = compared
    assert sorted(each.name for each in path.iterdir() if each.is_dir()) == sorted(
        [*RUNS, "shared"]
    )
    # A seed: round 0 of a and b, the baseline; once each. Beside them what is each method's own.
    stored = [json.loads(each.read_text())["stage"] for each in (path / "shared").glob("*.json")]
    assert Counter(stored) == {"round0/a": 2, "round0/b": 2, "baseline/a": 2}
    for seed in (0, 1):
        taken = {line["stage"] for line in lines_of(path / f"dmt-s{seed}") if line.get("shared")}
        assert taken == {"round0/a", "baseline/a"}
        assert not any(line.get("shared") for line in lines_of(path / f"self-training-s{seed}"))
    # Self-training 3 + 3 and its baseline 6; dmt 3 for b and 3 + 3 for the students.
    assert listener.num_steps == 2 * (12 + 9)


def test_a_shared_stage_gives_the_bits_of_one_s_own(compared, tmp_path: Path, snapshot) -> None:
    run = train("digits", method="dmt", seed=1, out=tmp_path / "run", **SETTINGS)
    shared = compared[0] / "dmt-s1"
    assert bits(run.path, snapshot) == bits(shared, snapshot)
    found = json.loads((shared / "summary.json").read_text())
    own = run.summary.model_dump(mode="json")
    different = {key for key in own if own[key] != found[key]}
    assert different <= {"seconds", "images_per_second", "command"}


def test_shared_lines_tell_the_seconds_of_who_trained(compared) -> None:
    path, _ = compared
    first, second = (
        next(line for line in lines_of(path / f"{method}-s0")
             if (line["event"], line["stage"]) == ("finished", "baseline/a"))
        for method in ("self-training", "dmt")
    )  # fmt: skip
    assert second["shared"] is True
    assert second["seconds"] == first["seconds"]
    assert second["time"] > first["time"]


def test_json_is_the_contract(compared, dmt, snapshot) -> None:
    path, _ = compared
    before = {name: snapshot(path / name) for name in RUNS}
    words = [f"{k}={','.join(map(str, v)) if isinstance(v, list) else v}"
             for k, v in (SETTINGS | QUESTION).items()]  # fmt: skip
    outcome = dmt("compare", "digits", *words, f"out={path}", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    found = outcome.value
    assert list(found) == ["dataset", "task", "metric", "methods", "pairs"]
    assert [found[key] for key in ("dataset", "task", "metric")] == [
        "digits", "classification", "error",
    ]  # fmt: skip
    assert [each["method"] for each in found["methods"]] == QUESTION["methods"]
    for each in found["methods"]:
        assert list(each) == [
            "method", "mean", "sd", "values", "gap_closed", "seconds", "images_seen",
        ]  # fmt: skip
        assert each["mean"] == pytest.approx(sum(each["values"]) / 2)
        assert each["images_seen"]["per_model"] == 6 * 16
        assert each["seconds"] > 0
        assert each["gap_closed"] is None
    assert [(p["a"], p["b"]) for p in found["pairs"]] == [
        ("self-training", "supervised"), ("dmt", "supervised"), ("dmt", "self-training"),
    ]  # fmt: skip
    summaries = [json.loads((path / f"dmt-s{s}" / "summary.json").read_text()) for s in (0, 1)]
    difference = sum(s["peers"]["a"] - s["supervised"] for s in summaries) / 2
    assert found["pairs"][1]["difference"] == pytest.approx(difference)
    low, high = found["pairs"][1]["interval"]
    assert low < difference < high
    # The same command again did nothing to the runs.
    assert {name: snapshot(path / name) for name in RUNS} == before


def test_files_say_what_the_terminal_says(compared, dmt) -> None:
    path, _ = compared
    words = [f"{k}={','.join(map(str, v)) if isinstance(v, list) else v}"
             for k, v in (SETTINGS | QUESTION).items()]  # fmt: skip
    outcome = dmt("compare", "digits", *words, f"out={path}")
    assert outcome.code == 0, outcome.err
    record = ComparisonRecord.model_validate_json((path / "compare.json").read_text())
    assert record.command.startswith("dmt compare digits methods=supervised,self-training,dmt ")
    assert record.versions["torch"]
    assert record.result is not None
    text, page = (path / "compare.md").read_text(), (path / "compare.html").read_text()
    for each in record.result.methods:
        shown = f"{each.mean:.2f} ± {each.sd:.2f}"
        assert all(shown in where for where in (outcome.out, text, page))
    assert "dmt − supervised: " in outcome.out
    assert outcome.out.rstrip().endswith(f"page: {path / 'compare.html'}")
    assert "on the 357 images that the built-in set holds out" in text


def test_stopped_and_killed_it_goes_on_to_the_same_bits(compared, tmp_path, snapshot) -> None:
    path, _ = compared
    settings = SETTINGS | QUESTION | {"out": tmp_path / "c", "checkpoint_every": 1e-9}
    with pytest.raises(Interrupted) as stopped:  # in the baseline of the first run
        compare_with("digits", settings, StopAt(8, signal.SIGINT))
    assert stopped.value.signal == signal.SIGINT
    assert str(stopped.value) == (
        "stopped by SIGINT; the same `dmt compare` goes on with self-training-s0"
    )
    with pytest.raises(Crash):  # in a student of the second one
        compare_with("digits", settings, StopAt(8))
    assert not (tmp_path / "c" / "compare.html").exists()
    listener = StopAt()
    found = compare_with("digits", settings, listener)
    assert listener.num_steps < 2 * (12 + 9) - 8
    for name in RUNS:
        assert bits(tmp_path / "c" / name, snapshot) == bits(path / name, snapshot)
    whole = json.loads((path / "compare.json").read_text())["result"]
    for own, other in zip(found.result.contract()["methods"], whole["methods"], strict=True):
        assert own["values"] == other["values"]
        assert own["seconds"] > 0


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"steps": 7}, "steps was 6 and is 7 now"),
        ({"seeds": [1, 2]}, "seeds was 0,1 and is 1,2 now"),
        ({"methods": ["supervised", "dmt"]},
         "methods was supervised,self-training,dmt and is supervised,dmt now"),
        ({"labels": [20, 40]}, "labels was not set and is 20.0,40.0 now"),
        ({"labels_per_class": 5}, "labels_per_class was 4 and is 5 now"),
        ({"labels": 40}, "labels was not set and is 40.0 now"),
        ({"seeds": [0, 1, 2], "student.lr": 0.2}, "student.lr was 0.1 and is 0.2 now"),
        ({"methods": [*QUESTION["methods"], "oracle"]},
         "oracle cannot be added, because the runs that are there would have had to train it"),
    ],
)  # fmt: skip
def test_going_on_with_other_settings_is_refused(
    compared, changed: dict[str, Any], part: str, snapshot
) -> None:
    path, _ = compared
    before = snapshot(path)
    with pytest.raises(RunError) as refused:
        compare_with("digits", SETTINGS | QUESTION | changed | {"out": path}, Quiet())
    assert part in str(refused.value)
    assert "another folder with out=" in str(refused.value)
    assert snapshot(path) == before


def test_methods_seeds_and_labels_are_added(tmp_path: Path, snapshot) -> None:
    """Only what is missing is trained, and what is there stays, be it stopped on the way."""
    words = SETTINGS | {"out": tmp_path / "c", "methods": ["supervised", "self-training"],
                        "seeds": [3], "labels": 20}  # fmt: skip
    compare_with("digits", words, Quiet())
    before = snapshot(tmp_path / "c" / "self-training-s3")
    page = (tmp_path / "c" / "compare.json").read_bytes()
    more = words | {"methods": ["fixmatch", "supervised", "self-training"], "labels": [40, 20],
                    "online.randaugment": 0}  # fmt: skip
    with pytest.raises(Interrupted):
        compare_with("digits", more, StopAt(2, signal.SIGINT))
    assert (tmp_path / "c" / "compare.json").read_bytes() == page
    listener = StopAt()
    result = compare_with("digits", more, listener).result
    # At 40 labels fixmatch 6 (2 are done) and its baseline 6, self-training 3 + 3; at 20 fixmatch.
    assert listener.num_steps == 4 + 6 + 6 + 6
    runs = {each.name for each in (tmp_path / "c").iterdir() if each.is_dir()}
    assert runs == {"shared", "self-training-s3", "self-training-l40-s3", "fixmatch-l40-s3",
                    "fixmatch-l20-s3"}  # fmt: skip
    assert [(each.labels, each.method) for each in result.methods] == [
        (at, name) for at in (40, 20) for name in ("fixmatch", "supervised", "self-training")
    ]
    listener = StopAt()
    seeds = compare_with("digits", more | {"seeds": [3, 0]}, listener).result
    assert [each.values[:1] for each in seeds.methods] == [each.values for each in result.methods]
    assert all(None not in each.values for each in seeds.methods)
    assert listener.num_steps == 2 * (6 + 6 + 6)
    assert snapshot(tmp_path / "c" / "self-training-s3") == before


def test_what_is_added_is_refused_before_it_begins(compared, snapshot) -> None:
    path, _ = compared
    before = snapshot(path)
    for more, part in (
        ({"methods": [*QUESTION["methods"], "mixmach"]}, "did you mean mixmatch?"),
        ({"seeds": [0, 1, "x"]}, "seeds= holds 'x'"),
        ({"methods": [*QUESTION["methods"], "fixmatch"], "online.views": 3},
         "online.views is for methods that label at every step"),
    ):  # fmt: skip
        with pytest.raises(SettingError, match=part):
            compare_with("digits", SETTINGS | QUESTION | more | {"out": path}, Quiet())
    assert snapshot(path) == before


def test_a_run_folder_that_is_not_ours_is_refused(compared, tmp_path, snapshot) -> None:
    path = tmp_path / "c"
    shutil.copytree(compared[0], path)
    shutil.rmtree(path / "dmt-s1")
    shutil.copytree(path / "dmt-s0", path / "dmt-s1")
    before = snapshot(path)
    with pytest.raises(RunError, match="dmt-s1 is no run of this comparison: seed"):
        compare_with("digits", SETTINGS | QUESTION | {"out": path}, Quiet())
    assert snapshot(path) == before
    shutil.rmtree(path / "dmt-s1")
    (path / "dmt-s1").mkdir()
    (path / "dmt-s1" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="dmt-s1 is no run of this comparison; move"):
        compare_with("digits", SETTINGS | QUESTION | {"out": path}, Quiet())
    assert (path / "dmt-s1" / "notes.txt").read_text() == "mine"


def test_two_at_once_are_refused(compared) -> None:
    path, _ = compared
    with (
        RunFolder(path).locked(is_new=False, has_runs=True),
        pytest.raises(RunError, match="is in use by process"),
    ):
        compare_with("digits", SETTINGS | QUESTION | {"out": path}, Quiet())


def test_labels_one_seed_pairs_and_oracle(tmp_path: Path) -> None:
    listener = StopAt()
    found = compare_with(
        "digits",
        SETTINGS
        | {"methods": "supervised,dmt,oracle", "seeds": 0, "labels": "20,40", "baseline": "pair",
           "out": tmp_path / "c"},
        listener,
    )  # fmt: skip
    assert {each.name for each in (tmp_path / "c").glob("dmt-*")} == {"dmt-l20-s0", "dmt-l40-s0"}
    result = found.result.contract()
    assert result["labels"] == [20, 40]
    names = ["supervised", "dmt", "oracle", "supervised (pair)", "dmt (pair)"]
    assert [(each["labels"], each["method"]) for each in result["methods"]] == [
        (at, name) for at in (20, 40) for name in names
    ]
    summary = json.loads((tmp_path / "c" / "dmt-l20-s0" / "summary.json").read_text())
    pairs = {(each["labels"], each["a"], each["b"]): each for each in result["pairs"]}
    own = pairs[20, "dmt", "supervised"]
    assert own["interval"] == [summary["interval"]["low"], summary["interval"]["high"]]
    both = pairs[20, "dmt (pair)", "supervised (pair)"]
    assert both["difference"] == pytest.approx(summary["ensemble"] - summary["supervised_ensemble"])
    assert both["interval"] is None
    assert any(note.startswith("One seed") for note in found.record.notes)
    # Of two numbers of labels the oracle sees the same, yet it is another training: other data.
    assert len(list((tmp_path / "c" / "shared").glob("*.json"))) == 2 * 5
    assert "against labels" in (tmp_path / "c" / "compare.html").read_text()
    assert len(listener.notes) == len(set(listener.notes))


def test_supervised_alone_needs_no_other_method(tmp_path: Path) -> None:
    found = package.compare(
        "digits", methods=["supervised"], seeds=[0], out=tmp_path / "c", **SETTINGS
    )
    (method,) = found.result.methods
    assert method.method == "supervised"
    assert method.mean is not None
    assert found.result.pairs == []
    assert (tmp_path / "c" / "supervised-s0" / "summary.json").exists()
    # Beside another method it would be another training of as many images, under the same name.
    with pytest.raises(RunError, match=r"it is of supervised models alone.*more seeds or labels"):
        package.compare(
            "digits", methods=["supervised", "dmt"], seeds=[0], out=tmp_path / "c", **SETTINGS
        )


def test_what_was_killed_before_its_first_run_holds_nobody(compared, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    record = json.loads((compared[0] / "compare.json").read_text()) | {"result": None}
    (folder / "compare.json").write_text(json.dumps(record))
    with pytest.raises(SettingError, match="labels_per_class"):  # before anything is written
        package.compare(
            "digits", methods=["dmt"], out=folder, **(SETTINGS | {"labels_per_class": 1000})
        )
    assert json.loads((folder / "compare.json").read_text()) == record
    found = package.compare(
        "digits", methods=["supervised"], seeds=[5], out=folder, **(SETTINGS | {"steps": 3})
    )
    assert found.record.asked.seeds == [5]
