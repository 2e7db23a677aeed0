"""The Python side: train, load, predict, and that the images counted are the images seen."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import dmt
from dmt.api import settings_for
from dmt.engine.listener import Quiet
from dmt.errors import DmtError, SettingError

TINY: dict[str, Any] = {
    "steps": 6, "rounds": 2, "model": "wrn_10_1", "batch_size": 16, "device": "cpu"
}  # fmt: skip


def test_public_names(digits_run: Path) -> None:
    assert all(hasattr(dmt, name) for name in ("train", "load", "Run", "Model"))
    model = dmt.load(digits_run)
    assert model.classes == tuple("0123456789")


def test_settings_as_dotted_nested_or_words(tmp_path: Path) -> None:
    nested = settings_for("digits", {"student": {"lr": 0.5}, "out": tmp_path})
    dotted = settings_for("digits", {"student.lr": 0.5, "out": str(tmp_path)})
    words = settings_for("digits", ["student.lr=0.5", f"out={tmp_path}"])
    assert nested == dotted == words


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"methd": "dmt"}, "did you mean method?"),
        ({"seed": object()}, "seed="),
        ({"steps": "many"}, "steps=many"),
        ({"out": 3}, "out=3"),
        ({"student": 3}, "is a group of settings"),
    ],
)
def test_wrong_settings_are_sentences(settings: dict[str, Any], part: str) -> None:
    with pytest.raises(SettingError, match=r"\S") as error:
        dmt.train("digits", **settings)
    assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_train_accepts_paths_and_returns_the_run(tmp_path: Path, tmp_photos) -> None:
    photos = tmp_photos(labeled=4, unlabeled=3, test=2)
    run = dmt.train(photos, out=tmp_path / "run", **TINY, **{"data.image_size": 16})
    assert run.path == tmp_path / "run"
    assert run.summary.dataset == "photos"
    assert run.load().predict([photos / "unlabeled" / "0000.png"]).label[0] in {"blue", "green"}


def test_predict_takes_files_images_arrays_and_tensors(digits_run: Path, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    for number, image in enumerate(array):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    files = sorted(tmp_path.glob("*.png"))
    model = dmt.load(digits_run, workers=1)
    found = [
        model.predict(images)
        for images in (
            files,
            [str(path) for path in files],
            [Image.open(path) for path in files],
            array,
            torch.from_numpy(array),
            list(array),
        )
    ]
    for each in found:
        assert each.label == found[0].label
        np.testing.assert_array_equal(each.probs, found[0].probs)
        assert each.probs.shape == (3, 10)
        np.testing.assert_allclose(each.probs.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_array_equal(each.confidence, each.probs.max(axis=1))
    assert model.predict([]).probs.shape == (0, 10)
    with pytest.raises(TypeError, match="uint8"):
        model.predict(array.astype(np.float32))


def test_errors_are_of_one_family(tmp_path: Path) -> None:
    for attempt in (
        lambda: dmt.train(tmp_path / "absent"),
        lambda: dmt.load(tmp_path),
        lambda: dmt.train("digits", device="tpu", out=tmp_path / "x"),
    ):
        with pytest.raises(DmtError):
            attempt()


def test_training_leaves_torchs_generator_alone_between_runs(tmp_path: Path) -> None:
    """What a caller drew before does not reach the weights."""
    settings = TINY | {"steps": 2, "rounds": 1, "baseline": "none"}
    found = []
    for name in ("one", "two"):
        torch.rand(len(name))
        run = dmt.train("digits", out=tmp_path / name, **settings)
        found.append((run.path / "rounds/1/b/model.safetensors").read_bytes())
    assert found[0] == found[1]


class Counting(nn.Module):
    """Counts the images that pass through any of its copies, by whether a gradient is kept."""

    seen: ClassVar[Counter[tuple[bool, bool]]] = Counter()

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(192, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        # The builder's own trial is two black images, all of one colour after normalisation.
        is_trial = len(images) == 2 and bool((images == images[:, :, :1, :1]).all())
        if not is_trial:
            self.seen[torch.is_grad_enabled(), self.training] += len(images)
        logits: Tensor = self.layers(images)
        return logits


class Stages(Quiet):
    """Images without a gradient, by the stage that was begun last."""

    def __init__(self) -> None:
        self.labeled: dict[str, int] = {}
        self._before = 0

    def on_event(self, event: Any) -> None:
        if "label" not in event["stage"]:
            return
        seen = Counting.seen[False, False]
        if event["event"] == "started":
            self._before = seen
        elif event["event"] == "label":
            self.labeled[event["stage"]] = seen - self._before


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[tuple[bool, bool]]]:
    monkeypatch.setitem(sys.modules, "counting_model", sys.modules[__name__])
    Counting.seen.clear()
    yield Counting.seen
    Counting.seen.clear()


@pytest.mark.parametrize(
    ("settings", "num_labelings"),
    [
        ({"student.mixup": 0.75}, 4),
        ({"student.mixup": 0}, 4),
        ({"method": "mutual"}, 4),
        ({"schedule": "chain", "oracle": True}, 2),
        ({"method": "dst", "baseline": "equal"}, 2),
        ({"method": "supervised"}, 0),
        ({"data.val_per_class": 2}, 4),
    ],
)
def test_images_counted_are_the_images_seen(
    settings: dict[str, Any],
    num_labelings: int,
    counting: Counter[tuple[bool, bool]],
    tmp_path: Path,
) -> None:
    listener = Stages()
    run = dmt.train(
        "digits",
        listener=listener,
        out=tmp_path / "run",
        **(TINY | {"model": "counting_model:Counting"} | settings),
    )
    seen = run.summary.images_seen
    trained = counting[True, True]
    assert seen.trained + seen.baseline + seen.oracle == trained
    assert counting[True, False] == 0, "no gradient is kept where none is used"
    num_pool = run.summary.unlabeled
    assert all(num == num_pool for num in listener.labeled.values()), "labeled in one pass"
    assert len(listener.labeled) == num_labelings
    without = counting[False, False] + counting[False, True]
    assert seen.forward_only == without, "the last table included"
