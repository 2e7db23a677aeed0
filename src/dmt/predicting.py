"""`dmt predict`: a run's model over files and folders, as rows of a table."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dmt.api import load
from dmt.data.decode import decode, image_paths, shown
from dmt.engine.model import Model
from dmt.errors import DataError, SettingError
from dmt.records import write_text

_CHUNK = 512


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
    say: Callable[[str], None],
) -> Iterator[Row]:
    """Predict image files, and the images in folders, in order.

    Raises:
        DataError: a path that is not there, a folder without an image, an unreadable image
            (unless `bad_images` is "skip": then they are named through `say`).
    """
    if bad_images not in {"stop", "skip"}:
        raise SettingError(f"bad_images={bad_images} does not work; use stop or skip")
    files = list(_files(paths))
    model = load(run, device=device, trust_code=trust_code)
    return _rows(model, files, bad_images == "skip", say)


def write_csv(rows: Iterable[Row], out: str | None) -> int:
    """Write `path,label,confidence,agreement` to a file (whole or not at all) or to stdout.

    Returns:
        How many rows.
    """
    stream = io.StringIO(newline="") if out else sys.stdout
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(Row._fields)
    num = 0
    for row in rows:
        agreement = "" if row.agreement is None else f"{row.agreement:.6f}"
        writer.writerow([row.path, row.label, f"{row.confidence:.6f}", agreement])
        num += 1
    if out:
        assert isinstance(stream, io.StringIO)
        write_text(Path(out), stream.getvalue())
    return num


def _files(paths: Sequence[str]) -> Iterator[Path]:
    if not paths:
        raise DataError("no image or folder was named to predict")
    for path in paths:
        if os.path.isdir(path):
            found = image_paths(path)
            if not found:
                raise DataError(f"there is no image in {shown(path)}")
            yield from (Path(path) / name for name in found)
        elif os.path.exists(path):
            yield Path(path)
        else:
            raise DataError(f"there is no {shown(path)}; give image files or folders")


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
            yield Row(str(path), label, confidence, agreement)


def _is_readable(path: Path, say: Callable[[str], None]) -> bool:
    try:
        decode(path)
    except DataError as error:
        say(f"left out: {error}")
        return False
    return True
