"""Losses, gradients and answers that are no numbers: the run stops, says where, and keeps its work.

How a step is looked at, unit tests of `engine.finite` say.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import faulty_nets
import pytest
from harness import assert_equal
from PIL import Image
from small_runs import TASKS, lines_of, words_of, write_data

from commands import Outcome, call, refused, tree
from dmt.api import train
from dmt.engine.finite import FiniteCheck
from dmt.engine.listener import Quiet
from dmt.errors import TrainingError

NETS = {"classification": "faulty_nets:classifier", "segmentation": "faulty_nets:segmenter"}
FAULTY_STEP = 6  # of all: two of round 0 by each peer, then the second of four of round 1


@pytest.fixture
def break_down(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says what the networks do wrong from now on; steps are counted from 1 again."""

    def tell(kind: str, step: int = 0) -> None:
        monkeypatch.setattr(faulty_nets, "FAULT", (kind, step))
        monkeypatch.setattr(faulty_nets, "STEPS", itertools.count(1))

    return tell


def words(task: str, *more: str) -> list[str]:
    return words_of(task, f"model={NETS[task]}", "student.mixup=0", "initial.mixup=0", *more)


def stopped(outcome: Outcome, run: Path) -> str:
    """Check what a run left that could not go on; returns its sentence."""
    assert outcome.code == 2, (outcome.code, outcome.err)
    assert "Traceback" not in outcome.err
    sentence = outcome.sentence.removeprefix("dmt: ")
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "stopped"
    assert summary["verdict"] == "none"
    assert summary["sentence"] == f"Stopped before the end: {sentence}."
    assert summary["supervised"] is summary["ensemble"] is summary["interval"] is None
    assert summary["peers"] == {"a": None, "b": None}
    assert "stopped early" in (run / "report.html").read_text()
    return sentence


@pytest.mark.parametrize("task", TASKS)
def test_a_rate_beyond_reason_stops_the_run(
    task: str, tmp_path: Path, tmp_photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = write_data(task, tmp_path, tmp_photos)
    seen: list[list[int]] = []
    look = FiniteCheck.loss

    def note(self: FiniteCheck, loss: Any, nets: Any, batch: Any, position: Any) -> None:
        seen.append(batch.ids.tolist())
        look(self, loss, nets, batch, position)

    monkeypatch.setattr(FiniteCheck, "loss", note)
    outcome = call("train", data, *words_of(task, "student.lr=1e30", "out=run"))
    sentence = stopped(outcome, Path("run"))
    found = re.match(
        r"the loss is not finite at step (\d) of 4 \(peer a, round 1\); the batch held (.*?); ",
        sentence,
    )
    assert found, sentence
    assert int(found[1]) > 1
    assert "try a lower learning rate (initial.lr, student.lr)" in sentence
    files = [path for path, *_ in json.loads(Path("run/data.json").read_text())["files"]]
    held = list(dict.fromkeys(files[id_] for id_ in seen[-1]))
    more = f" and {len(held) - 5} more" if len(held) > 5 else ""
    assert found[2] == ", ".join(held[:5]) + more, "the files of this batch and of no other"
    assert sorted(map(str, Path("run").rglob("*.safetensors"))) == [
        "run/rounds/0/a/model.safetensors",
        "run/rounds/0/b/model.safetensors",
    ]
    # What cannot be used says so, what can be looked at can, and trying again ends likewise.
    image = next(data.rglob("*.png" if task == "classification" else "*.jpg"))
    assert sentence in refused("predict", ["run", image], "run has no model to use")
    assert sentence in refused("evaluate", ["run", data], "run has no model to use")
    assert sentence in call("evaluate", "run").out
    assert call("report", "run").code == 0
    kept = {name: content for name, content in tree(Path("run")).items() if "rounds/0" in name}
    assert stopped(call("resume", "run"), Path("run")) == sentence
    assert kept.items() <= tree(Path("run")).items()


@pytest.mark.parametrize("kind", ["loss", "gradient"])
@pytest.mark.parametrize("task", TASKS)
def test_a_passing_fault_costs_nothing(
    task: str, kind: str, tmp_path: Path, tmp_photos, break_down, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a bit that flips in memory: once it is over, the run ends as if it had never been."""
    data = write_data(task, tmp_path, tmp_photos)
    (tmp_path / "whole").mkdir()
    monkeypatch.chdir(tmp_path / "whole")
    break_down("none")
    keys = words(task, "out=run", "checkpoint_every=1e-9")
    assert call("train", data, *keys).code == 0
    (tmp_path / "broken").mkdir()
    monkeypatch.chdir(tmp_path / "broken")
    break_down(kind, FAULTY_STEP)
    sentence = stopped(call("train", data, *keys), Path("run"))
    assert sentence.startswith(f"the {kind} is not finite at step 2 of 4 (peer a, round 1)")
    before = tree(Path("run"))
    assert "checkpoint/state.pt" in before
    assert before.keys() >= {f"rounds/0/{peer}/model.safetensors" for peer in "ab"}
    break_down("none")
    assert call("resume", "run", "trust_code=true").code == 0
    assert_equal(Path("run"), tmp_path / "whole" / "run")
    report = Path("run/report.html").read_text()
    assert "stopped early" not in report


IMAGES = {
    "classification": {"labeled": "labeled/blue/0002.png", "unlabeled": "unlabeled/0003.png",
                       "test": "test/blue/0001.png"},
    "segmentation": {"labeled": "images/0002.jpg", "unlabeled": "images/0008.jpg",
                     "test": "test/images/0012.jpg"},
}  # fmt: skip


def whiten(data: Path, task: str, part: str) -> str:
    """Make one image all white; returns its path relative to the data."""
    path = data / IMAGES[task][part]
    with Image.open(path) as image:
        size = image.size
    Image.new("RGB", size, "white").save(path, quality=100)
    return path.relative_to(data).as_posix()


@pytest.mark.parametrize("task", TASKS)
def test_an_image_without_an_answer_is_named_alone(
    task: str, tmp_path: Path, tmp_photos, break_down
) -> None:
    data = write_data(task, tmp_path, tmp_photos)
    name = whiten(data, task, "labeled")
    break_down("white")
    run = tmp_path / "run"
    plain = ["data.photometric=false", "data.scale=[1,1]"] if task == "segmentation" else []
    keys = words(task, f"out={run}", "checkpoint_every=1e-9", *plain)
    if task == "classification":
        keys += ["data.randaugment=0", "data.shift=0", "data.cutout=0"]
    sentence = stopped(call("train", data, *keys), run)
    assert re.match(
        r"the loss is not finite at step \d of \d \(peer a, round 0\); of \d+ images the network "
        rf"has no finite answer to {re.escape(name)}; ",
        sentence,
    ), sentence
    assert sentence.endswith("look at these images and at what the network does with them")


@pytest.mark.parametrize("task", TASKS)
def test_an_answer_of_the_teacher_that_is_no_number(
    task: str, tmp_path: Path, tmp_photos, break_down
) -> None:
    data = write_data(task, tmp_path, tmp_photos)
    name = whiten(data, task, "unlabeled")
    break_down("white-labeling")
    run = tmp_path / "run"
    sentence = stopped(call("train", data, *words(task, f"out={run}")), run)
    num = 12 if task == "classification" else 5
    assert sentence.startswith(
        f"an answer of the network is not finite (peer b, round 1); of {num} images the network "
        f"has no finite answer to {name}; "
    )
    assert [line["event"] for line in lines_of(run)].count("label") == 0
    break_down("none")
    assert call("resume", run, "trust_code=true").code == 0


@pytest.mark.parametrize("task", TASKS)
def test_no_answer_is_not_taken_for_the_first_class(
    task: str, tmp_path: Path, tmp_photos, break_down
) -> None:
    """Not in the last table, not when a finished run is measured, not in predictions."""
    data = write_data(task, tmp_path, tmp_photos)
    name = whiten(data, task, "test")
    run = tmp_path / "run"
    break_down("white-labeling")
    sentence = stopped(call("train", data, *words(task, f"out={run}")), run)
    assert sentence.startswith(
        "an answer of the network is not finite (the last evaluation); of "
        f"{6 if task == 'classification' else 3} images the network has no finite answer to {name}"
    )
    break_down("none")
    assert call("resume", run, "trust_code=true").code == 0
    break_down("white-labeling")
    why = f"the model has no finite answer to {data / name}"
    refused("evaluate", [run, data, "trust_code=true"], why)
    out = tmp_path / "out"
    refused("predict", [run, data / "test", "trust_code=true", f"out={out}"], why)
    assert not out.is_file()


class CopyIn(Quiet):
    """Puts another run's outcome into the folder while a run works in it."""

    def __init__(self, source: Path, run: Path) -> None:
        self._source = source
        self._run = run

    def on_event(self, event: Mapping[str, Any]) -> None:
        shutil.copy(self._source / "summary.json", self._run)


def test_a_finished_outcome_is_never_replaced(tmp_path: Path, tmp_photos, break_down) -> None:
    data = write_data("classification", tmp_path, tmp_photos)
    settings = dict(word.split("=") for word in words("classification"))
    whole, run = tmp_path / "whole", tmp_path / "run"
    break_down("none")
    train(data, out=whole, **settings)
    break_down("loss", FAULTY_STEP)
    with pytest.raises(TrainingError, match="the loss is not finite at step 2 of 4"):
        train(data, out=run, listener=CopyIn(whole, run), **settings)
    assert (run / "summary.json").read_bytes() == (whole / "summary.json").read_bytes()
