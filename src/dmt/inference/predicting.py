"""`dmt predict`: a run's classifier over files and folders, as rows of a table.

Scenes are `mask_predicting`'s; how images are found and how a table is written serves both.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dmt.data.decode import decode, shown
from dmt.data.finding import image_paths, refuse_bad_name
from dmt.engine.model import Model
from dmt.errors import DataError, SettingError
from dmt.escapes import visible
from dmt.inference.using import load
from dmt.records import write_text

_CHUNK = 512
_NEEDS_QUOTES = re.compile(r"[,\"\r\n]|^\s|\s$")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that is reckoned out


class Found(NamedTuple):
    """An image file, and its path as the person would tell it from the others they named."""

    path: Path
    name: str  # relative to the folder that was named; of a file that was named, its last part


class Row(NamedTuple):
    """One image's prediction; `agreement` is None for a single model."""

    path: str
    label: str
    confidence: float
    agreement: float | None


def predict_paths(
    run: str | Path,
    paths: Sequence[str],
    *,
    device: str = "auto",
    bad_images: str = "stop",
    trust_code: bool = False,
    follow_links: bool = False,
    say: Callable[[str], None],
) -> Iterator[Row]:
    """Predict image files, and the images in folders, in order.

    Raises:
        DataError: a path that is not there, a folder without an image, an unreadable image
            (unless `bad_images` is "skip": then they are named through `say`).
    """
    is_skipping = is_to_skip(bad_images)
    files = [found.path for found in find_images(paths, follow_links=follow_links)]
    model = load(run, device=device, trust_code=trust_code)
    assert isinstance(model, Model), "a segmentation's images go through predict_masks"
    return _rows(model, files, is_skipping, say)


def is_to_skip(bad_images: str) -> bool:
    """Whether unreadable images are passed over.

    Raises:
        SettingError: it is neither "stop" nor "skip".
    """
    if bad_images not in {"stop", "skip"}:
        raise SettingError(f"bad_images={bad_images} does not work; use stop or skip")
    return bad_images == "skip"


def find_images(paths: Sequence[str], *, follow_links: bool = False) -> Iterator[Found]:
    """The files among `paths`, and the images in the folders among them, in order.

    Raises:
        DataError: a path that is not there or not UTF-8, a folder without an image or with a link
            that leaves it and may not, or no path at all.
    """
    if not paths:
        raise DataError("no image or folder was named to predict")
    for path in paths:
        refuse_bad_name(path)
        if os.path.isdir(path):
            names = image_paths(path, follow_links=follow_links)
            if not names:
                raise DataError(f"there is no image in {shown(path)}")
            yield from (Found(Path(path) / name, name) for name in names)
        elif os.path.exists(path):
            yield Found(Path(path), os.path.basename(path))
        else:
            raise DataError(f"there is no {shown(path)}; give image files or folders")


def named(path: Path) -> str:
    """A path as a table holds it: the same file, but never a formula to a spreadsheet."""
    text = str(path)
    return os.path.join(os.curdir, text) if text.startswith(_FORMULA) else text


def write_csv(
    rows: Iterable[Sequence[str | float | None]],
    out: str | None,
    columns: Sequence[str] = Row._fields,
) -> int:
    """Write rows under their columns' names to a file (whole or not at all) or to stdout.

    Names are written to the letter, so that programs find the files again; in a terminal, as no
    program reads there, what it would obey is shown instead.

    Args:
        rows: the fields of each, in the order of `columns`.
        out: a file, or a pipe that is there; links are followed. None: stdout.
        columns: their names.

    Returns:
        How many rows.
    """
    stream = io.StringIO(newline="") if out else sys.stdout
    is_shown = not out and sys.stdout.isatty()
    num = 0
    for num, row in enumerate(rows, 1):
        if num == 1:  # and not before: what fails at once has written nothing
            stream.write(_line(columns))
        fields = [f"{each:.6f}" if isinstance(each, float) else each or "" for each in row]
        stream.write(_line([visible(each) for each in fields] if is_shown else fields))
    if not num:
        stream.write(_line(columns))
    if out:
        assert isinstance(stream, io.StringIO)
        if os.path.exists(out) and not os.path.isfile(out):  # to replace it would end it
            with open(out, "w", encoding="utf-8", newline="") as pipe:
                pipe.write(stream.getvalue())
        else:
            write_text(Path(os.path.realpath(out)), stream.getvalue())
    return num


def refuse_to_replace(out: str | None, *, overwrite: bool) -> None:
    """Look at where a table is to go before the work for it is done.

    Raises:
        SettingError: it is a folder or in none, or a file of something else than predictions that
            `overwrite` does not give up.
    """
    if not out:
        return
    path = Path(os.path.realpath(out))
    if os.path.isdir(out):
        raise SettingError(f"out={shown(out)} is a folder; name a file in it")
    if not os.path.exists(out) and not path.parent.is_dir():
        raise SettingError(f"out={shown(out)} is in no folder; make {shown(path.parent)} first")
    if overwrite or not os.path.isfile(out) or not path.stat().st_size:
        return
    header = _line(Row._fields).encode()
    with path.open("rb") as file:
        if file.read(len(header)) != header:
            raise SettingError(
                f"out={shown(out)} is there and holds something else than predictions; name "
                "another file, or give overwrite=true"
            )


def _line(fields: Iterable[str]) -> str:
    """A line of a CSV. Python's writer would leave a bare carriage return without quotes."""
    return ",".join(map(_quoted, fields)) + "\n"


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if _NEEDS_QUOTES.search(field) else field


def _rows(
    model: Model, files: Sequence[Path], is_skipping: bool, say: Callable[[str], None]
) -> Iterator[Row]:
    for start in range(0, len(files), _CHUNK):
        chunk = files[start : start + _CHUNK]
        try:
            found = model.predict(chunk)
        except DataError:
            if not is_skipping:
                raise
            chunk = [path for path in chunk if _is_readable(path, say)]
            found = model.predict(chunk)
        agreements = [None] * len(chunk) if found.agreement is None else found.agreement.tolist()
        for path, label, confidence, agreement in zip(
            chunk, found.label, found.confidence.tolist(), agreements, strict=True
        ):
            yield Row(named(path), label, confidence, agreement)


def _is_readable(path: Path, say: Callable[[str], None]) -> bool:
    try:
        decode(path)
    except DataError as error:
        say(f"left out: {error}")
        return False
    return True
