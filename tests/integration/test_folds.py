"""`folds=N`: the verdict from models that never saw the image they judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dmt.api import train
from dmt.data.layouts import open_catalog
from dmt.data.splits import fold_splits, make_split

SETTINGS = {"steps": 4, "rounds": 1, "model": "wrn_10_1", "batch_size": 8, "device": "cpu",
            "data.image_size": 16}  # fmt: skip


def test_two_folds_judge_every_label(tmp_photos, tmp_path: Path) -> None:
    photos = tmp_photos(labeled=6, unlabeled=8)
    run = train(photos, out=tmp_path / "run", folds=2, **SETTINGS)
    summary = run.summary
    assert (summary.labeled, summary.num_held_out) == (12, 12)
    assert "each judged by the models of 2 runs that never saw it" in summary.held_out
    assert summary.interval is not None
    assert summary.interval.num_images == 12
    assert np.sum(summary.confusion[0].counts) == 12
    for place in ("rounds/1/a", "fold0/rounds/1/a", "fold1/rounds/1/b", "fold1/baseline/a"):
        assert (run.path / place / "model.safetensors").is_file()
    # Rounds in the summary are the handed-out model's alone.
    assert [each.round for each in summary.rounds] == [0, 1]


def test_folds_are_the_same_for_every_method_and_hold_each_image_once(tmp_photos) -> None:
    catalog = open_catalog(tmp_photos(labeled=7, unlabeled=3))
    split = make_split(catalog, seed=0, labels_per_class=None, labels=None, hold_out=0)
    folds = fold_splits(split, folds=3, seed=0)
    held = np.concatenate([fold.test.ids for fold in folds])
    assert sorted(held) == split.labeled.tolist()
    for fold in folds:
        assert not set(fold.test.ids) & set(fold.labeled)


def test_the_handed_out_model_is_the_run_without_folds(tmp_photos, tmp_path: Path) -> None:
    """Folds only judge: a run on all the labels gives the same weights without them."""
    photos = tmp_photos(labeled=5, unlabeled=4)
    judged = train(photos, out=tmp_path / "folds", folds=2, **SETTINGS)
    fresh = tmp_photos("again", labeled=5, unlabeled=4, test=2)
    alone = train(fresh, out=tmp_path / "alone", **SETTINGS)
    name = "rounds/1/a/model.safetensors"
    assert (judged.path / name).read_bytes() == (alone.path / name).read_bytes()


def test_folds_cost_what_is_said(tmp_photos, tmp_path: Path, dmt) -> None:
    photos = tmp_photos(labeled=4, unlabeled=3)
    words = ["steps=4", "rounds=1", "model=wrn_10_1", "batch_size=8", "data.image_size=16"]
    outcome = dmt("train", photos, *words, "folds=2", f"out={tmp_path / 'run'}", "--json")
    assert outcome.code == 0, outcome.err
    # Two peers for four steps of eight, in three runs.
    assert outcome.value["images_seen"]["trained"] == 3 * 2 * 4 * 8
    assert outcome.value["images_seen"]["baseline"] == 2 * 4 * 8, "of the folds alone"
