"""The same seed gives the same weights to the bit, however the images come; another seed does not.

And no label that was hidden, or held out, can reach them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import dmt.runs.image_material
from dmt.api import Run, train
from dmt.data.hidden import HiddenLabels, reveal
from dmt.data.splits import Split, make_split
from dmt.records.examples import read_examples

TINY: dict[str, Any] = {
    "steps": 6, "rounds": 2, "model": "wrn_10_1", "batch_size": 12, "baseline": "none",
    "device": "cpu",
}  # fmt: skip


def weights(run: Run) -> dict[str, bytes]:
    found = {
        str(path.relative_to(run.path)): path.read_bytes()
        for path in sorted(run.path.rglob("*.safetensors"))
    }
    assert found
    return found


def test_ways_of_reading_change_nothing(tmp_photos, tmp_path: Path) -> None:
    photos = tmp_photos(labeled=5, unlabeled=8, test=2, size=24)
    settings = TINY | {"data.image_size": 16}
    ways = [("memory", {}), ("one", {"workers": 1})] + [
        (f"streamed{n}", {"workers": n, "data.memory_limit": 0}) for n in (0, 1, 3)
    ]
    found = [weights(train(photos, out=tmp_path / name, **(settings | way))) for name, way in ways]
    for other in found[1:]:
        assert other == found[0]
    other = weights(train(photos, out=tmp_path / "seed", seed=1, **settings))
    assert all(other[name] != found[0][name] for name in other)


def test_the_folder_s_place_changes_nothing(tmp_photos, tmp_path: Path) -> None:
    settings = TINY | {"data.image_size": 16, "steps": 3}
    found = [
        weights(train(tmp_photos(name, test=2), out=tmp_path / f"run-{name}", **settings))
        for name in ("here", "there")
    ]
    assert found[0] == found[1]


def _shifted(hidden: HiddenLabels, num_classes: int = 10) -> HiddenLabels:
    ids, labels = reveal(hidden)
    return HiddenLabels(ids, (labels + 1) % num_classes)


def test_training_cannot_read_hidden_labels(tmp_path: Path, monkeypatch) -> None:
    """Every label that a run does not train on is replaced by a wrong one: the weights stay."""
    settings = TINY | {"data.val_per_class": 2, "baseline": "equal"}
    run = train("digits", out=tmp_path / "true", **settings)

    def lying(*args: Any, **kwargs: Any) -> Split:
        split = make_split(*args, **kwargs)
        return replace(
            split,
            hidden=_shifted(split.hidden),
            val=_shifted(split.val),
            test=_shifted(split.test),
        )

    monkeypatch.setattr(dmt.runs.image_material, "make_split", lying)
    other = train("digits", out=tmp_path / "false", **settings)
    assert weights(other) == weights(run)
    labels = "rounds/1/a/pseudo_labels"
    for path in sorted((run.path / labels).iterdir()):
        assert path.read_bytes() == (other.path / labels / path.name).read_bytes()
    unlabeled, other_unlabeled = ([each for each in read_examples(one.path).examples
                                   if not each.is_held_out] for one in (run, other))  # fmt: skip
    assert unlabeled == other_unlabeled
    assert len(unlabeled) > 10
    # But what is reported did change, so the labels were indeed false.
    assert other.summary.peers["a"] != run.summary.peers["a"]
    assert (
        other.summary.rounds[1].pseudo_label_accuracy != run.summary.rounds[1].pseudo_label_accuracy
    )
    assert other.summary.rounds[1].error_detection != run.summary.rounds[1].error_detection


def test_not_knowing_hidden_labels_changes_no_weight(tmp_path: Path, monkeypatch) -> None:
    """With them networks go over a part of the pool once more; nothing of it reaches training."""
    run = train("digits", out=tmp_path / "known", **TINY)
    assert all(record.error_detection for record in run.summary.rounds[1:])

    def silent(*args: Any, **kwargs: Any) -> Split:
        split = make_split(*args, **kwargs)
        return replace(split, hidden=split.hidden.restrict(split.labeled))

    monkeypatch.setattr(dmt.runs.image_material, "make_split", silent)
    other = train("digits", out=tmp_path / "unknown", **TINY)
    assert not any(record.error_detection for record in other.summary.rounds)
    assert weights(other) == weights(run)


def test_the_oracle_alone_reads_hidden_labels(tmp_path: Path, monkeypatch) -> None:
    settings = TINY | {"oracle": True}
    found = weights(train("digits", out=tmp_path / "true", **settings))

    def lying(*args: Any, **kwargs: Any) -> Split:
        split = make_split(*args, **kwargs)
        return replace(split, hidden=_shifted(split.hidden))

    monkeypatch.setattr(dmt.runs.image_material, "make_split", lying)
    other = weights(train("digits", out=tmp_path / "false", **settings))
    changed = {name for name in found if found[name] != other[name]}
    assert changed == {"oracle/a/model.safetensors"}


def test_split_is_written_down_and_disjoint(tmp_path: Path) -> None:
    run = train("digits", out=tmp_path / "run", **(TINY | {"data.val_per_class": 2, "steps": 3}))
    data = json.loads((run.path / "data.json").read_text())
    parts = [part for _, _, _, part in data["files"]]
    counts = {part: parts.count(part) for part in set(parts)}
    assert counts["labeled"] == 40
    assert counts["val"] == 20
    assert counts["test"] == 357
    assert sum(counts.values()) == 1797
    assert counts["unlabeled"] == 1380
