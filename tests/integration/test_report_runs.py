"""What real runs leave for their report: examples, reliability; and `dmt report` by command."""

from __future__ import annotations

import base64
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commands import call, refused, tree
from dmt.records import read_json, read_summary
from dmt.records.examples import EXAMPLES, Examples, read_examples

SCENES = ("steps=4", "rounds=1", "model=deeplab_v2:wrn_10_1", "batch_size=4", "device=cpu",
          "data.crop=[32,32]", "baseline=equal")  # fmt: skip


def examples_of(run: Path) -> Examples:
    found = read_examples(run)
    assert found is not None
    return found


def pixels(uri: str) -> np.ndarray[Any, Any]:
    content = base64.b64decode(uri.removeprefix("data:image/webp;base64,"))
    return np.asarray(Image.open(io.BytesIO(content), formats=["WEBP"]))


@pytest.fixture(scope="module")
def scenes_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenes") / "run"
    outcome = call("train", "shapes:32", *SCENES, f"out={path}")
    assert outcome.code == 0, outcome.err
    return path


def test_examples_are_what_the_models_said(digits_run: Path) -> None:
    found, summary = examples_of(digits_run), read_summary(digits_run)
    part = {entry[0]: entry[3] for entry in read_json(digits_run / "data.json")["files"]}
    assert found.num_unlabeled == 500
    assert {each.kind for each in found.examples} == {"wrong", "disagreed", "least-sure", "surest"}
    for each in found.examples:
        assert part[each.path] == ("test" if each.kind == "wrong" else "unlabeled")
        assert (each.truth is not None) == (each.kind == "wrong")
        assert each.answers.keys() == {"a", "b", "ensemble"}
        if each.kind == "wrong":
            assert each.answers["ensemble"].label != each.truth
        assert pixels(each.pictures["image"]).shape == (8, 8, 3)
    sure = [e.answers["ensemble"].confidence for e in found.examples if e.kind == "wrong"]
    assert sure == sorted(sure, reverse=True)
    values = summary.peers | {"ensemble": summary.ensemble, "supervised": summary.supervised}
    assert [each.model for each in found.reliability] == ["supervised", "a", "b", "ensemble"]
    for each in found.reliability:
        assert sum(each.num) == summary.num_held_out
        assert 100 * (1 - sum(each.right) / sum(each.num)) == pytest.approx(values[each.model])
    page = (digits_run / "report.html").read_text()
    assert "Worst errors" in page
    assert "Expected calibration error" in page


def test_scenes_have_layers_of_one_shape_and_only_held_out_ones_a_truth(scenes_run: Path) -> None:
    found, summary = examples_of(scenes_run), read_summary(scenes_run)
    assert len(found.colors) == len(summary.classes)
    layers = {"image", "a", "b", "confidence", "disagreement"}
    for each in found.examples:
        assert set(each.pictures) == layers | ({"truth"} if each.is_held_out else set())
        assert len({pixels(uri).shape for uri in each.pictures.values()}) == 1
        assert (each.accuracy is None) == (not each.is_held_out)
        assert all(answer.label is None for answer in each.answers.values())
    accuracy = [each.accuracy or 0.0 for each in found.examples if each.is_held_out]
    assert accuracy == sorted(accuracy)
    known = {scores.model: scores.pixel_accuracy for scores in summary.scores}
    for each in found.reliability:
        assert 100 * sum(each.right) / sum(each.num) == pytest.approx(known[each.model])
    assert (scenes_run / EXAMPLES).stat().st_size < 3_000_000
    assert 'id="layer-truth"' in (scenes_run / "report.html").read_text()


@pytest.mark.parametrize("task", ["digits", "scenes"])
def test_going_on_after_the_last_stage_makes_the_same_examples(
    task: str, digits_run: Path, scenes_run: Path, tmp_path: Path
) -> None:
    whole = digits_run if task == "digits" else scenes_run
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for name in (EXAMPLES, "summary.json", "report.html"):
        (run / name).unlink()
    outcome = call("resume", run)
    assert outcome.code == 0, outcome.err
    assert (run / EXAMPLES).read_bytes() == (whole / EXAMPLES).read_bytes()
    assert read_summary(run).images_seen == read_summary(whole).images_seen


def test_folds_are_judged_by_models_that_never_saw_the_image(tmp_photos, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("steps=3", "rounds=1", "model=wrn_10_1", "batch_size=8", "device=cpu", "folds=2",
             "data.image_size=16", "baseline=equal")  # fmt: skip
    outcome = call("train", tmp_photos(labeled=4, unlabeled=5), *words, f"out={run}")
    assert outcome.code == 0, outcome.err
    found, summary = examples_of(run), read_summary(run)
    assert summary.num_held_out == 8
    assert all(sum(each.num) == 8 for each in found.reliability)
    assert all(each.path.startswith("labeled/") for each in found.examples if each.is_held_out)
    assert any(not each.is_held_out for each in found.examples)


def test_without_held_out_labels_there_is_no_truth(tmp_photos, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("steps=3", "method=self-training", "rounds=1", "model=wrn_10_1", "batch_size=8",
             "device=cpu", "data.image_size=16", "baseline=none")  # fmt: skip
    outcome = call("train", tmp_photos(labeled=1, unlabeled=5), *words, f"out={run}")
    assert outcome.code == 0, outcome.err
    found = examples_of(run)
    assert found.reliability == []
    assert {each.kind for each in found.examples} == {"least-sure", "surest"}
    assert all(each.answers.keys() == {"a"} for each in found.examples)


def test_a_picture_that_vanished_is_left_out(tmp_photos, tmp_path: Path, monkeypatch) -> None:
    import dmt.runs.examples
    from dmt.errors import DataError

    def gone(*_: Any) -> Any:
        raise DataError("gone")

    monkeypatch.setattr(dmt.runs.examples, "image_of", gone)
    run = tmp_path / "run"
    words = ("steps=2", "rounds=1", "model=wrn_10_1", "batch_size=8", "device=cpu",
             "data.image_size=16", "baseline=none")  # fmt: skip
    assert call("train", tmp_photos(labeled=4, unlabeled=5), *words, f"out={run}").code == 0
    assert all(each.pictures == {} for each in examples_of(run).examples)
    assert "no picture" in (run / "report.html").read_text()


def test_the_command_writes_one_page_for_several_runs(
    digits_run: Path, scenes_run: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        shutil.copytree(digits_run, tmp_path / name)
    one, two = tmp_path / "one", tmp_path / "two"
    outcome = call("report", one, two)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines() == [
        str(one / "report.html"), str(two / "report.html"), str(tmp_path / "side-by-side.html")
    ]  # fmt: skip
    found = call("report", one, two, f"out={tmp_path / 'both.html'}", "--json").value
    assert found["page"] == str(tmp_path / "both.html")
    assert call("report", one, "--json").value == {"reports": [str(one / "report.html")],
                                                   "page": None}  # fmt: skip
    before = tree(tmp_path)
    refused("report", [one, f"out={tmp_path / 'x.html'}"], "is for the page of several runs")
    refused("report", [one, two, "to=x.html"], "unknown setting 'to'")
    refused("report", [one, tmp_path], "is no run")
    refused("report", [one, scenes_run], "cannot stand side by side")
    refused("report", [one, two, f"out={one / 'config.yaml'}"], "is no page of this kind")
    summary = read_json(two / "summary.json")
    (two / "summary.json").write_text('{"version": 2}')
    changed = tree(tmp_path)
    refused("report", [one, two], "two/summary.json does not fit this version of dmt")
    assert tree(tmp_path) == changed
    assert {k: v for k, v in before.items() if "summary" not in k} == {
        k: v for k, v in changed.items() if "summary" not in k
    }
    assert summary["status"] == "finished"
