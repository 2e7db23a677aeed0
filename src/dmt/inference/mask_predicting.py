"""`dmt predict` for a segmentation: a folder of masks, overlays and maps, and a row for each image.

What a picture looks like is `data.pictures`'; what a model says is `engine.segmenter`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmt.data.decode import decode, shown
from dmt.data.pictures import index_png, map_png, overlay_png, palette
from dmt.data.read_ahead import read_ahead
from dmt.engine.segmenter import Scene, Segmenter
from dmt.errors import DataError, RunError, SettingError
from dmt.inference.predicting import Found, find_images, is_to_skip, named, write_csv
from dmt.records import write_bytes, write_text

MASKS, OVERLAYS, CONFIDENCE, DISAGREEMENT = "masks", "overlays", "confidence", "disagreement"
CLASSES, TABLE = "classes.txt", "predictions.csv"
_LOOKAHEAD = 2  # images decoded before, and scenes written after, the networks see one


class MaskRow(NamedTuple):
    """One image's prediction; `agreement` is None for a single model."""

    path: str
    mask: str
    confidence: float
    agreement: float | None


class Target(NamedTuple):
    """An image and what its files are called, in every folder alike."""

    path: Path
    name: str  # relative, ends in .png


def predict_masks(
    segmenter: Segmenter,
    paths: Sequence[str],
    *,
    out: str | Path,
    overlay: bool = True,
    confidence: bool = False,
    disagreement: bool = False,
    overwrite: bool = False,
    bad_images: str = "stop",
    follow_links: bool = False,
    say: Callable[[str], None],
) -> Iterator[MaskRow]:
    """Predict image files, and the images in folders, in order, and write what is found.

    `out` gets `masks/`, whose files are named as their images are (below the folder that was
    named) and hold class numbers, so that with `classes.txt` beside it `out` becomes a data set
    as soon as the images lie in `out/images/`; and, as asked, `overlays/`, `confidence/` (white:
    1) and `disagreement/` (white: the two models share nothing) with the same names; at last
    `predictions.csv`, the table of the rows.

    Args:
        segmenter: the model.
        paths: files and folders.
        out: a folder, made if it is not there.
        overlay, confidence, disagreement: what to write besides masks.
        overwrite: whether files of these names may be replaced.
        bad_images: "stop" at an unreadable image, or "skip" it and name it through `say`.
        follow_links: whether links in a folder may lead out of it.

    Returns:
        A row for each image, once its files are written; it must be used up.

    Raises:
        DataError: a path that is not there, a folder without an image, two images of one name, an
            unreadable image; all but the last before anything is predicted.
        SettingError: `disagreement` of a single model, files that are there already, a wrong word.
        RunError: a file cannot be written.
    """
    is_skipping = is_to_skip(bad_images)
    if disagreement and not segmenter.has_agreement:
        raise SettingError(
            "disagreement=true needs a run of two models, and this one predicts with a single "
            "one; leave it out"
        )
    chosen = {OVERLAYS: overlay, CONFIDENCE: confidence, DISAGREEMENT: disagreement}
    folders = [MASKS, *(name for name, is_wanted in chosen.items() if is_wanted)]
    targets = _targets(find_images(paths, follow_links=follow_links))
    _prepare(Path(out), folders, targets, segmenter.classes, overwrite)
    return _rows(segmenter, targets, Path(out), folders, is_skipping, say)


def _targets(images: Iterator[Found]) -> list[Target]:
    """What each image's files are called.

    Raises:
        DataError: the same for two of them.
    """
    taken: dict[str, Path] = {}
    targets = []
    for path, name in images:
        target = Target(path, os.path.splitext(name)[0] + ".png")
        # Some file systems take A.png and a.png for one.
        first = taken.setdefault(target.name.casefold(), path)
        if first is not path:
            if first == path:
                raise DataError(f"{shown(path)} is named twice; name it once")
            raise DataError(
                f"{shown(first)} and {shown(path)} would both be written as {shown(target.name)}; "
                "rename one, or predict them into two folders (out=)"
            )
        targets.append(target)
    return targets


def _prepare(
    out: Path,
    folders: Sequence[str],
    targets: Sequence[Target],
    classes: Sequence[str],
    overwrite: bool,
) -> None:
    """Make the folders and write the classes, or say what is in the way."""
    listing = "".join(f"{name}\n" for name in classes)
    if not overwrite:
        # A mask that is there may be one that somebody drew or corrected.
        files = [out / folder / target.name for folder in folders for target in targets]
        there = [path for path in (*files, out / TABLE) if path.exists()]
        if (out / CLASSES).exists() and not _holds(out / CLASSES, listing):
            there.append(out / CLASSES)
        if there:
            more = f" and {len(there) - 1} more" if len(there) > 1 else ""
            raise SettingError(
                f"{shown(there[0])}{more} would be overwritten; give another folder with out=, or "
                "allow it with overwrite=true"
            )
    try:
        parents = {(out / folder / target.name).parent for folder in folders for target in targets}
        for parent in sorted(parents):
            parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"the folder {shown(out)} cannot be written to ({error.strerror}); give another one "
            "with out="
        ) from error
    write_text(out / CLASSES, listing)


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False


def _rows(
    segmenter: Segmenter,
    targets: Sequence[Target],
    out: Path,
    folders: Sequence[str],
    is_skipping: bool,
    say: Callable[[str], None],
) -> Iterator[MaskRow]:
    colors = palette(len(segmenter.classes))
    writers: Iterator[list[Callable[[], MaskRow]]] = (
        [partial(_write, target, pixels, scene, out, folders, colors)]
        for target, pixels, scene in _scenes(segmenter, targets, is_skipping, say)
    )
    # Pictures are pressed by threads while the networks see the next image.
    rows = []
    with closing(read_ahead(writers, segmenter.workers, _LOOKAHEAD)) as written:
        for (row,) in written:
            rows.append(row)
            yield row
    write_csv(rows, str(out / TABLE), MaskRow._fields)


def _scenes(
    segmenter: Segmenter,
    targets: Sequence[Target],
    is_skipping: bool,
    say: Callable[[str], None],
) -> Generator[tuple[Target, NDArray[np.uint8], Scene], None, None]:
    """Every image that can be read, at full size, and what the segmenter says of it."""
    calls: Iterator[list[Callable[[], NDArray[np.uint8] | DataError]]] = (
        [partial(_decoded, target.path)] for target in targets
    )
    with closing(read_ahead(calls, segmenter.workers, _LOOKAHEAD)) as decoded:
        for target, (found,) in zip(targets, decoded, strict=True):
            if not isinstance(found, DataError):
                yield target, found, segmenter.predict_pixels(found, shown(target.path))
            elif is_skipping:
                say(f"left out: {found}")
            else:
                raise found


def _decoded(path: Path) -> NDArray[np.uint8] | DataError:
    try:
        return decode(path)
    except DataError as error:
        return error


def _write(
    target: Target,
    pixels: NDArray[np.uint8],
    scene: Scene,
    out: Path,
    folders: Sequence[str],
    colors: NDArray[np.uint8],
) -> MaskRow:
    agreement = scene.agreement
    for folder in folders:
        if folder == MASKS:
            png = index_png(scene.label, colors)
        elif folder == OVERLAYS:
            png = overlay_png(pixels, scene.label, colors)
        elif folder == CONFIDENCE:
            png = map_png(scene.confidence)
        else:
            assert agreement is not None
            png = map_png(1 - agreement)
        write_bytes(out / folder / target.name, png)
    return MaskRow(
        named(target.path),
        named(out / MASKS / target.name),
        float(scene.confidence.mean(dtype=np.float64)),
        None if agreement is None else float(agreement.mean(dtype=np.float64)),
    )
