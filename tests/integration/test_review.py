"""`dmt review`, `dmt apply` and `init_from` on tiny runs: what they write, refuse and hand on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from commands import call, refused, tree
from dmt.data.layouts.table import read_table
from small_photos import TINY, corrections, facts_of, rows_of, write_photos
from tiny_scenes import WORDS as SCENE_WORDS
from tiny_scenes import write_pairs


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("review")


@pytest.fixture(scope="module")
def photos(base: Path) -> Path:
    return write_photos(base / "photos")


@pytest.fixture(scope="module")
def run(base: Path, photos: Path) -> Path:
    outcome = call("train", photos, f"out={base / 'run'}", *TINY)
    assert outcome.code == 0, outcome.err
    return base / "run"


def test_without_an_audit_the_unlabeled_are_ranked_and_the_way_to_the_rest_is_told(
    run: Path,
) -> None:
    shutil.rmtree(run / "audit", ignore_errors=True)
    outcome = call("review", run, "show=5", "device=cpu", "--json")
    assert outcome.code == 0, outcome.err
    assert (outcome.value["label_next"], outcome.value["mislabeled"]) == (12, None)
    rows = rows_of(run / "review.csv")
    assert [*rows[0]] == ["path", "section", "rank", "given", "label_a", "confidence_a",
                          "label_b", "confidence_b", "score"]  # fmt: skip
    assert sorted(row["path"] for row in rows) == [f"unlabeled/{i:02d}.png" for i in range(12)]
    assert [int(row["rank"]) for row in rows] == list(range(1, 13))
    for row in rows:
        assert {row["label_a"], row["label_b"]} <= {"blue", "green"}
        assert 0.5 <= float(row["confidence_a"]) <= 1
        assert 0 <= float(row["score"]) <= 1
    found = facts_of(run / "review.html")
    assert len(found["rows"]) == 5
    assert all(row[9][0][1].startswith("data:image/webp;base64,") for row in found["rows"])
    assert "--audit" in (run / "review.html").read_text()


def test_where_names_fill_the_page_pictures_give_way(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmt.reviews.pictures._PAGE_BYTES", 1)
    outcome = call("review", run, "show=5", "device=cpu", "--json")
    assert outcome.code == 0, outcome.err
    assert "5 pictures are left out" in outcome.value["notes"][-1]
    assert [row[9] for row in facts_of(run / "review.html")["rows"]] == [[]] * 5


def test_balanced_takes_predicted_classes_in_turn(run: Path) -> None:
    assert call("review", run, "balanced=true", "device=cpu").code == 0
    rows = [row for row in rows_of(run / "review.csv") if row["section"] == "label-next"]
    assert len({row["path"] for row in rows}) == 12


def test_an_audit_judges_every_given_label_once_and_is_kept(run: Path, photos: Path) -> None:
    before = {name: content for name, content in tree(run).items() if "review" not in name}
    outcome = call("review", run, "--audit", "folds=3", "device=cpu", "--json")
    assert outcome.code == 0, outcome.err
    wrong = [row for row in rows_of(run / "review.csv") if row["section"] == "mislabeled"]
    labeled = sorted(str(p.relative_to(photos)) for p in (photos / "labeled").rglob("*.png"))
    assert sorted(row["path"] for row in wrong) == labeled
    scores = [float(row["score"]) for row in wrong]
    assert scores == sorted(scores, reverse=True)
    for row in wrong:
        assert row["given"] == row["path"].split("/")[1]
        sure = [float(row[f"confidence_{p}"]) for p in "ab"]
        given = [s if row[f"label_{p}"] == row["given"] else 1 - s
                 for s, p in zip(sure, "ab", strict=True)]  # fmt: skip
        assert float(row["score"]) == pytest.approx(1 - sum(given) / 2, abs=1e-4)
    contradicted = [r for r in wrong if r["given"] not in (r["label_a"], r["label_b"])]
    assert outcome.value["mislabeled"] == len(contradicted)
    after = tree(run)
    assert {name: after[name] for name in before} == before
    answers = (run / "audit" / "answers.json").read_bytes()
    assert call("review", run, "device=cpu", "--json").value["mislabeled"] == len(contradicted)
    assert (run / "audit" / "answers.json").read_bytes() == answers
    weights = (run / "audit/fold0/rounds/0/a/model.safetensors").stat().st_mtime_ns
    (run / "audit" / "answers.json").unlink()  # what is trained is not trained again
    assert call("review", run, "--audit", "device=cpu").code == 0
    assert (run / "audit" / "answers.json").read_bytes() == answers
    assert (run / "audit/fold0/rounds/0/a/model.safetensors").stat().st_mtime_ns == weights
    refused("review", [run, "--audit", "folds=4"], "holds an audit of 3 folds")


def test_the_folds_of_the_audit_never_saw_what_they_judge(run: Path) -> None:
    if not (run / "audit").is_dir():
        pytest.skip("the audit's own test makes it")
    rows = json.loads((run / "audit" / "answers.json").read_text())["rows"]
    assert sorted({row["fold"] for row in rows}) == [0, 1, 2]
    sizes = [sum(row["fold"] == fold for row in rows) for fold in range(3)]
    assert max(sizes) - min(sizes) <= 1


def test_a_half_finished_run_shows_what_there_is(run: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(run, half, ignore=shutil.ignore_patterns("audit", "review*"))
    (half / "summary.json").unlink()
    shutil.rmtree(half / "rounds" / "1" / "b")
    outcome = call("review", half, "device=cpu", "--json")
    assert outcome.code == 0, outcome.err
    assert "has not finished" in outcome.value["notes"][0]
    assert "round 0 of 1" in outcome.value["notes"][0]
    shutil.rmtree(half / "rounds")
    refused("review", [half], "has no trained network yet")


def test_what_is_no_run_or_no_number_is_refused(run: Path, photos: Path, tmp_path: Path) -> None:
    refused("review", [tmp_path / "nothing"], "is no run")
    refused("review", [photos], "is no run")
    refused("review", [run, "show=many"], "show=many does not work")
    refused("review", [run, "show=0"], "show=0 must lie between")
    refused("review", [run, "folds=3"], "add --audit")
    refused("apply", [run, tmp_path / "nothing.csv"], "there is no file")
    refused("apply", [tmp_path / "nothing", tmp_path / "nothing.csv"], "is no run")
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "rounds" / "out").symlink_to(photos)
    lines = corrections(tmp_path, "labeled/blue/0.png,,keep")
    for words in (("review", [copy]), ("apply", [copy, lines])):
        refused(*words, "leaves the run's folder")


def test_corrections_become_a_label_file_that_trains(run: Path, photos: Path) -> None:
    before = tree(photos)
    lines = corrections(
        run.parent, "labeled/blue/wrong.png,blue,label", "labeled/blue/wrong.png,green,label",
        "./unlabeled/00.png,blue,label", "unlabeled/01.png,,unusable", "unlabeled/02.png,,none",
        "labeled/green/1.png,green,keep",
    )  # fmt: skip
    outcome = call("apply", run, lines)
    assert outcome.code == 0, outcome.err
    assert "labeled/blue/wrong.png is corrected twice: the last line counts" in outcome.out
    assert "labeled/blue/wrong.png: blue → green" in outcome.out
    assert "4 changed, 1 kept" in outcome.out
    target = photos / "labels-corrected.csv"
    assert {name: content for name, content in tree(photos).items() if name != target.name} == (
        before
    )
    catalog = read_table(target)
    named = [catalog.classes[label] if label >= 0 else "" for label in catalog.labels]
    labels = dict(zip(catalog.paths, named, strict=True))
    assert labels["labeled/blue/wrong.png"] == "green"
    assert labels["unlabeled/00.png"] == "blue"
    assert labels["labeled/blue/3.png"] == "blue"
    assert labels["unlabeled/03.png"] == ""
    assert not {"unlabeled/01.png", "unlabeled/02.png"} & set(labels)
    again = call("apply", run, lines, "--json")
    assert again.value["labels"] == str(photos / "labels-corrected-2.csv")
    above = call("apply", run, lines, f"out={photos.parent / 'above.csv'}")
    assert above.code == 0, above.err
    assert "photos/labeled/blue/0.png" in read_table(photos.parent / "above.csv").paths
    for path in (target, photos / "labels-corrected-2.csv", photos.parent / "above.csv"):
        path.unlink()


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        (["x.png,blue,label", "labeled/blue/0.png,red,label", "y.png,blue,label"],
         ["line 2: the data have no image x.png", "line 3: the run knows no class red",
          "line 4: the data have no image y.png"]),
        (["labeled/blue/0.png,blue,delete"], ["line 2: there is no action delete"]),
        (["labeled/blue/0.png,,label"], ["line 2: the run knows no class in it"]),
        (["labeled/blue/0.png,blue"], ["line 2: 2 columns instead of 3"]),
        (['"labeled/blue/0.png,blue,label'], ["not a line of a CSV"]),
        ([], ["holds no correction"]),
        ([f"labeled/blue/{i}.png,,unusable" for i in [*range(8), "wrong"]],
         ["no image to train on has the class blue"]),
    ],
)  # fmt: skip
def test_wrong_corrections_are_all_listed_and_nothing_is_written(
    run: Path, photos: Path, tmp_path: Path, lines: Sequence[str], parts: Sequence[str]
) -> None:
    before = tree(photos)
    refused("apply", [run, corrections(tmp_path, *lines)], *parts)
    assert tree(photos) == before


def test_no_file_is_replaced_and_none_is_put_where_it_cannot_name_images(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    path = corrections(tmp_path, "labeled/blue/0.png,green")
    path = corrections(tmp_path, "labeled/blue/0.png,green", header="path,label")
    refused("apply", [run, path, f"out={path}"], "is there already and is not replaced")
    refused("apply", [run, path, f"out={tmp_path / 'new.csv'}"], "must lie in")
    refused("apply", [run, path, f"out={photos / 'new.txt'}"], "must end in .csv")
    wrong = corrections(tmp_path, "a,b", header="name,label")
    refused("apply", [run, wrong], "its first line must be path,label,action")


def test_a_built_in_has_no_files_to_relabel(run: Path, base: Path, tmp_path: Path) -> None:
    copy = tmp_path / "digits"
    shutil.copytree(run, copy)
    text = (copy / "config.yaml").read_text()
    dataset = next(line for line in text.splitlines() if line.startswith("dataset:"))
    (copy / "config.yaml").write_text(text.replace(dataset, "dataset: digits"))
    path = corrections(tmp_path, "a,b,label")
    refused("apply", [copy, path], "the images of digits are no files")


def test_round_0_begins_from_the_peers_of_the_other_run(
    run: Path, photos: Path, base: Path, tmp_path: Path
) -> None:
    """With a learning rate of (nearly) nothing, round 0 ends where the other run ended."""
    still = ("initial.lr=1e-12", "initial.weight_decay=0", "initial.ema_decay=0")
    words = [word for word in TINY if not word.startswith(("model", "data.image_size"))]
    new = tmp_path / "new"
    outcome = call("train", photos, f"init_from={run}", f"out={new}", *words, *still)
    assert outcome.code == 0, outcome.err
    for peer in ("a", "b"):
        last = load_file(run / "rounds" / "1" / peer / "model.safetensors")
        first = load_file(new / "rounds" / "0" / peer / "model.safetensors")
        names = [name for name in last if "running" not in name and "num_batches" not in name]
        assert names
        for name in names:
            assert abs(first[name] - last[name]).max() < 1e-6, name
    assert (new / "init" / "a" / "model.safetensors").read_bytes() == (
        run / "rounds" / "1" / "a" / "model.safetensors"
    ).read_bytes()
    files = json.loads((new / "data.json").read_text())["files"]
    known = {tuple(e[1:3]) for e in json.loads((run / "data.json").read_text())["files"]
             if e[3] == "labeled"}  # fmt: skip
    assert not known & {tuple(e[1:3]) for e in files if e[3] == "test"}
    before = json.loads((new / "summary.json").read_text())
    assert before["notes"][-1].startswith("the baseline")
    # Going on needs the other run no more.
    (new / "summary.json").unlink()
    assert f"init_from: {run}" in (new / "config.yaml").read_text()
    run.rename(run.with_name("away"))
    try:
        assert call("resume", new).code == 0
    finally:
        run.with_name("away").rename(run)
    after = json.loads((new / "summary.json").read_text())
    assert (after["peers"], after["held_out"]) == (before["peers"], before["held_out"])
    # An audit of it begins from fresh networks: the other run's saw the labels.
    assert call("review", new, "--audit", "folds=2", "device=cpu").code == 0
    assert not (new / "audit" / "init").exists()


def test_a_start_that_does_not_fit_is_refused_and_leaves_nothing(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    def start(data: Path, *words: object) -> Callable[..., str]:
        return lambda *parts: refused("train", [data, f"out={tmp_path / 'no'}", *words], *parts)

    other = tmp_path / "other"
    shutil.copytree(photos, other)
    (other / "labeled" / "green").rename(other / "labeled" / "red")
    start(other, f"init_from={run}", *TINY)("knows the classes blue, green", "has blue, red")
    start(photos, f"init_from={run}", "steps=6", "model=wrn_16_1")("is wrn_10_1 for 2 classes")
    start(photos, f"init_from={run}", "folds=2")("leave one of the two out")
    start(photos, f"init_from={tmp_path}")("is no run")
    half = tmp_path / "half"
    shutil.copytree(run, half)
    (half / "summary.json").unlink()
    start(photos, f"init_from={half}")("has not finished")
    assert not (tmp_path / "no").exists()


def test_a_segmentation_shows_masks_and_maps(tmp_path: Path) -> None:
    run = tmp_path / "scenes"
    data = write_pairs(tmp_path / "data", [f"{i:02d}" for i in range(14)], num_labeled=8)
    outcome = call("train", data, f"out={run}", *SCENE_WORDS, "baseline=none")
    assert outcome.code == 0, outcome.err
    outcome = call("review", run, "--audit", "folds=2", "device=cpu", "show=4", "--json")
    assert outcome.code == 0, outcome.err
    rows = rows_of(run / "review.csv")
    wrong = [row for row in rows if row["section"] == "mislabeled"]
    files = json.loads((run / "audit" / "data.json").read_text())["files"]
    assert sorted(row["path"] for row in wrong) == [e[0] for e in files if e[3] == "labeled"]
    assert all(0 <= float(row["score"]) <= 1 for row in rows)
    shown = {row[1]: [name for name, _ in row[9]] for row in facts_of(run / "review.html")["rows"]}
    assert shown["label-next"] == ["image", "peer a", "peer b", "disagreement"]
    if outcome.value["mislabeled"]:
        assert shown["mislabeled"] == ["image", "given", "peer a", "peer b", "contradicted"]
    refused("review", [run, "balanced=true"], "balanced=true is for images with one label each")
    networks = {row[1]: row[10] for row in facts_of(run / "review.html")["rows"]}
    assert networks["label-next"] == ["rounds/1/a", "rounds/1/b"]
    path = corrections(tmp_path, "a,b,label")
    refused("apply", [run, path], "the data have no image a", "there is no action label")


def test_one_model_is_ranked_by_how_unsure_it_is(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "one"
    outcome = call("train", photos, f"out={run}", "method=self-training", *TINY)
    assert outcome.code == 0, outcome.err
    outcome = call("review", run, "device=cpu", "--json")
    assert outcome.code == 0, outcome.err
    assert "one model only" in outcome.value["notes"][0]
    for row in rows_of(run / "review.csv"):
        sure = float(row["confidence_a"])
        assert (row["label_b"], row["confidence_b"]) == ("", "")
        assert float(row["score"]) == pytest.approx(1 - sure**2 - (1 - sure) ** 2, abs=1e-4)


def test_a_run_with_folds_has_its_audit_already(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "folded"
    outcome = call("train", photos, f"out={run}", "folds=2", *TINY)
    assert outcome.code == 0, outcome.err
    outcome = call("review", run, "device=cpu", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.value["mislabeled"] is not None
    assert [each.name for each in (run / "audit").iterdir()] == ["answers.json"]
    rows = rows_of(run / "review.csv")
    assert sum(row["section"] == "mislabeled" for row in rows) == 17


def test_what_another_version_wrote_is_named(run: Path, tmp_path: Path) -> None:
    path = corrections(tmp_path, "labeled/blue/0.png,green,label")
    for name, old, new in (
        ("config.yaml", "rounds:", "rounds_of_version_9:"),
        ("data.json", '"classes"', '"classes_of_version_9"'),
    ):
        other = tmp_path / name
        shutil.copytree(run, other)
        (other / name).write_text((other / name).read_text().replace(old, new, 1))
        for words in (("review", [other, "device=cpu"]), ("apply", [other, path])):
            refused(*words, name)
    other = tmp_path / "audit"
    shutil.copytree(run, other)
    (other / "audit").mkdir(exist_ok=True)
    (other / "audit" / "answers.json").write_text('{"folds": 3}')
    refused("review", [other, "device=cpu"], "answers.json was not written by this version of dmt")
