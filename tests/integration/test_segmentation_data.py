"""Segmentation on masks of every kind: sizes, codings, photos that EXIF turns, films and blocks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dmt.api import train
from dmt.data.pixel_labels import PixelLabels
from tiny_scenes import (
    KEYS,
    SIZE,
    parts_of,
    pixels_of,
    weights_of,
    write_films,
    write_pairs,
)
from trees import save_image, save_index, scene

ONLY_ROUNDS = KEYS | {"baseline": "none", "steps": 2}


# Sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"data.crop": (64, 48)},  # larger than some of the images, and than one side of others
        {"data.crop": 24, "data.window": (24, 40), "data.max_side": 60},
    ],
    ids=lambda settings: ",".join(f"{key}={value}" for key, value in settings.items()),
)
def test_images_of_many_sizes(settings: dict[str, Any], tmp_path: Path, dmt) -> None:
    """No side is a multiple of the network's stride but by chance; every pixel gets its label."""
    sizes = [(33, 47), (20, 70), (61, 18), (17, 17), (40, 40), (29, 95)]
    root = write_pairs(tmp_path / "set", ())
    for index, size in enumerate(sizes):
        image, mask = scene(index, size, 3)
        save_image(root / "images" / f"{index}.png", image)
        save_index(root / "masks" / f"{index}.png", mask)
        save_image(root / "unlabeled" / f"u{index}.png", scene(index + 6, size, 3)[0])
    for index, size in enumerate([(45, 55), (31, 20)]):
        image, mask = scene(index + 12, size, 3)
        save_image(root / "test" / "images" / f"{index}.png", image)
        save_index(root / "test" / "masks" / f"{index}.png", mask)
    run = train(root, out=tmp_path / "run", **(ONLY_ROUNDS | settings))
    labels = PixelLabels(run.path / "rounds/1/a/pseudo_labels")
    assert len(labels) == 6
    pool = sorted((root / "unlabeled").iterdir())
    most = settings.get("data.max_side", 1000)
    for id_, path in zip(labels.ids.tolist(), pool, strict=True):  # both in the order of names
        height, width = pixels_of(path).shape[:2]
        share = min(1, most / max(height, width))
        assert labels.read(id_).label.shape == (round(height * share), round(width * share))
    out = tmp_path / "out"
    assert dmt("predict", run.path, root / "images", f"out={out}").code == 0
    for index, size in enumerate(sizes):  # at full size, max_side or not
        assert pixels_of(out / "masks" / f"{index}.png").shape == size
    # A run predicts as it judges, windows and all.
    found = dmt("evaluate", run.path, root, "device=cpu", "--json").value
    (judged,) = (each.counts for each in run.summary.confusion if each.model == "ensemble")
    assert found["confusion"] == judged


# EXIF -------------------------------------------------------------------------------------------


def save_turned(path: Path, image: NDArray[np.uint8]) -> None:
    """Store an image on its side with the note (orientation 6) to turn it for viewing."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(image))).save(path, exif=exif)


def test_photo_that_exif_turns_with_a_mask_drawn_either_way(tmp_path: Path, dmt) -> None:
    """As bits of the weights: nobody can tell by the run how photo and mask were stored."""
    names = [f"{index:04d}" for index in range(6)]
    found = []
    for way in ("plain", "upright", "stored"):
        root = write_pairs(tmp_path / way, names, num_labeled=4)
        for index, name in enumerate(names[1::2], start=1):
            image, mask = scene(2 * index - 1, SIZE, 3)
            if way != "plain":
                save_turned(root / "images" / f"{name}.png", image)
            if way == "stored" and name < "0004":
                save_index(root / "masks" / f"{name}.png", np.ascontiguousarray(np.rot90(mask)))
        assert dmt("check", root).code == 0
        run = train(root, out=tmp_path / f"run-{way}", **ONLY_ROUNDS)
        found.append((weights_of(run.path), run.summary.confusion))
        out = tmp_path / f"out-{way}"
        assert dmt("predict", run.path, root / "images" / "0001.png", f"out={out}").code == 0
        assert pixels_of(out / "masks" / "0001.png").shape == SIZE
        evaluated = dmt("evaluate", run.path, root, "device=cpu", "--json").value
        found[-1] += (evaluated["confusion"],)
    assert found[0] == found[1] == found[2]


# Codings ----------------------------------------------------------------------------------------

TWO = ("background", "foreground")


def as_index(path: Path, mask: NDArray[np.uint8]) -> None:
    Image.fromarray(mask).save(path)


def as_black_and_white(path: Path, mask: NDArray[np.uint8]) -> None:
    Image.fromarray((mask * 255).astype(np.uint8)).save(path)


def as_one_bit(path: Path, mask: NDArray[np.uint8]) -> None:
    Image.fromarray(mask.astype(bool)).save(path)


def as_deep(path: Path, mask: NDArray[np.uint8]) -> None:
    Image.fromarray(mask.astype(np.uint16)).save(path)


def as_colors(path: Path, mask: NDArray[np.uint8]) -> None:
    Image.fromarray(np.array([[10, 20, 30], [200, 0, 255]], dtype=np.uint8)[mask]).save(path)


def as_palette(path: Path, mask: NDArray[np.uint8]) -> None:
    image = Image.fromarray(mask)
    image.putpalette([0, 0, 0, 250, 128, 7])
    image.save(path)


CODINGS: dict[str, tuple[Callable[[Path, NDArray[np.uint8]], None], str | None]] = {
    "index": (as_index, "background\nforeground\n"),
    "palette": (as_palette, "background\nforeground\n"),
    "unnamed": (as_black_and_white, None),
    "grey": (as_black_and_white, "background\nforeground\n"),
    "bits": (as_one_bit, "background\nforeground\n"),
    "deep": (as_deep, "background\nforeground\n"),
    "colors": (as_colors, "background 10 20 30\nforeground #c800ff\n"),
}


def test_masks_in_every_coding_are_the_same_masks(tmp_path: Path, dmt) -> None:
    found: dict[str, dict[str, bytes]] = {}
    for name, (save, listing) in CODINGS.items():
        root = write_pairs(tmp_path / name, "abcde", num_labeled=4, classes=TWO)
        for index, stem in enumerate("abcd"):
            mask = scene(index, SIZE, 2)[1]
            save(root / "masks" / f"{stem}.png", np.where(mask == 255, 0, mask).astype(np.uint8))
        (root / "classes.txt").unlink()
        if listing is not None:
            (root / "classes.txt").write_text(listing)
        checked = dmt("check", root, "--json").value
        assert tuple(each["name"] for each in checked["classes"]) == TWO, name
        run = train(root, out=tmp_path / f"run-{name}", **(ONLY_ROUNDS | {"method": "supervised"}))
        found[name] = weights_of(run.path)
    for name, weights in found.items():
        assert weights == found["index"], name


def test_split_lists(tmp_path: Path, dmt) -> None:
    root = write_pairs(tmp_path / "set", "abcdefgh", num_labeled=6)
    pairs = [f"images/{stem}.png masks/{stem}.png\n" for stem in "abcdef"]
    (root / "labeled.txt").write_text("".join(pairs[:3]))
    (root / "test.txt").write_text("".join(pairs[4:]))
    (root / "unlabeled.txt").write_text(pairs[3] + "images/g.png\nimages/h.png\n")
    checked = dmt("check", root, "--json").value
    assert checked["layout"] == "split-lists"
    assert (checked["labeled"], checked["unlabeled"], checked["test"]) == (3, 3, 2)
    run = train(root, out=tmp_path / "run", **ONLY_ROUNDS)
    parts = parts_of(run.path)
    assert "".join(sorted(parts, key=lambda stem: (parts[stem], stem))) == "abcefdgh"[:3] + "efdgh"
    assert run.summary.rounds[1].pseudo_label_accuracy is None, "the mask of d is not looked at"
    evaluated = dmt("evaluate", run.path, root, "device=cpu", "--json").value
    assert (evaluated["num_images"], evaluated["num_left_out"]) == (2, 0)


# Films ------------------------------------------------------------------------------------------

FILM = {"data.group": r"^images/([^_]+)_"}


def test_a_film_is_held_out_and_judged_by_blocks(tmp_path: Path) -> None:
    root = write_films(tmp_path / "films", ("east", "north", "west"), 12)
    settings = ONLY_ROUNDS | FILM | {"data.test_group": "west", "baseline": "equal"}
    run = train(root, out=tmp_path / "run", labels=4, **settings, **{"data.block": 2})
    parts = parts_of(run.path)
    assert {stem for stem, part in parts.items() if part == "test"} == {
        stem for stem in parts if stem.startswith("west_")
    }
    labeled = sorted(stem for stem, part in parts.items() if part == "labeled")
    for first, second in zip(labeled[::2], labeled[1::2], strict=True):
        film, frame = first.split("_")
        assert int(frame) % 2 == 0
        assert second == f"{film}_{int(frame) + 1:03d}"
    interval = run.summary.interval
    assert interval is not None
    assert (interval.num_images, interval.num_blocks) == (12, 6)
    assert "west" in run.summary.held_out
    assert "blocks" in run.summary.sentence or run.summary.verdict != "unclear"
    # A film is one block where no length is given: no verdict can rest on that.
    settings |= {"method": "dst"}
    whole = train(root, out=tmp_path / "whole", labels=12, **settings).summary
    assert whole.interval is not None
    assert (whole.interval.num_images, whole.interval.num_blocks) == (12, 1)
    assert whole.verdict == "unclear"
    assert whole.labeled == 12
    report = (tmp_path / "whole" / "report.html").read_text()
    assert "1 block" in report
    assert len({stem.split("_")[0] for stem, part in parts_of(tmp_path / "whole").items()
                if part == "labeled"}) == 1  # fmt: skip


def test_held_out_blocks_are_whole(tmp_path: Path) -> None:
    """Nothing of a block that judges is learned from or labeled, whether it has a mask or not."""
    root = write_films(tmp_path / "films", ("east", "west"), 12)
    for frame in (1, 5, 9):
        (root / "masks" / f"east_{frame:03d}.png").unlink()
    settings = ONLY_ROUNDS | FILM | {"data.block": 4, "data.hold_out": 0.3}
    run = train(root, out=tmp_path / "run", **settings)
    parts = parts_of(run.path)
    block = {stem: (stem[:4], int(stem[-3:]) // 4) for stem in parts}
    held = {block[stem] for stem, part in parts.items() if part == "test"}
    assert len(held) == 2
    for stem, part in parts.items():
        if block[stem] in held:
            assert part in {"test", "unused"}, stem
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    (labeled,) = {line["num_images"] for line in map(json.loads, lines)
                  if line["event"] == "started" and "label" in line["stage"]}  # fmt: skip
    assert labeled == list(parts.values()).count("unlabeled")


def test_folds_over_films(tmp_path: Path) -> None:
    root = write_films(tmp_path / "films", ("east", "north", "south", "west"), 2)
    save_image(root / "images" / "more_000.png", scene(50, SIZE, 3)[0])
    settings = ONLY_ROUNDS | FILM | {"folds": 2, "baseline": "equal"}
    summary = train(root, out=tmp_path / "run", **settings).summary
    assert (summary.labeled, summary.num_held_out) == (8, 8)
    assert summary.interval is not None
    assert (summary.interval.num_images, summary.interval.num_blocks) == (8, 4)
    # Every labeled pixel is judged once.
    num_pixels = sum(int((pixels_of(path) != 255).sum()) for path in (root / "masks").iterdir())
    assert all(np.sum(each.counts) == num_pixels for each in summary.confusion)
