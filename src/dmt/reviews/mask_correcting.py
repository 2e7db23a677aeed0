"""Masks that a person accepted or drew, as index PNGs in a folder of their own, and their CSV.

Who decided what, and whether it may be, is `correcting`'s.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dmt.annotations.lines import Line
from dmt.config import Settings
from dmt.core import IGNORE_INDEX
from dmt.data.catalog import Catalog, Part
from dmt.data.decode import shown
from dmt.data.headers import read_header
from dmt.data.layouts.table import read_table
from dmt.data.mask_files import Coding
from dmt.data.pictures import index_png, palette
from dmt.engine.segmenter import Segmenter
from dmt.errors import DataError, RunError, SettingError
from dmt.inference.peers import image_of, open_segmenters
from dmt.inference.predicting import write_csv
from dmt.records import write_bytes
from dmt.records.writing import make_folder
from dmt.reviews.auditing import read_answers

_WEIGHTS = "model.safetensors"


def networks_of(run: Path) -> dict[str, Path]:
    """The networks whose masks a review shows, by their folder in the run, such as `rounds/1/a`.

    Raises:
        RunError: the audit is damaged.
    """
    answers = read_answers(run)
    of_folds = [name for pair in answers.weights for name in pair] if answers else []
    files = [*run.glob(f"rounds/*/[ab]/{_WEIGHTS}"), *(run / name for name in of_folds)]
    return {path.parent.relative_to(run).as_posix(): path for path in sorted(files)}


class MaskMaker:
    """Makes the masks of a data set's corrections.

    Args:
        run: its folder.
        catalog: of a segmentation in a folder.
        settings: of the run.
        networks: weights by name.
        rest: the class of what no region covers; None: it is left out.
        follow_links: whether links may leave the data's folder.

    Raises:
        SettingError: `rest` is no class, or the masks cannot leave pixels out and there is none.
    """

    def __init__(
        self, run: Path, catalog: Catalog, settings: Settings, networks: Mapping[str, Path],
        rest: str | None, follow_links: bool,
    ) -> None:  # fmt: skip
        if rest is not None and rest not in catalog.classes:
            raise SettingError(
                f"rest={shown(rest)} is no class; there is "
                f"{', '.join(shown(name) for name in catalog.classes[:20])}"
            )
        self._run, self._catalog, self._settings = run, catalog, settings
        self._networks, self._follow_links = networks, follow_links
        self._rest = IGNORE_INDEX if rest is None else catalog.classes.index(rest)
        self._number = {path: row for row, path in enumerate(catalog.paths)}

    def faults(self, line: Line) -> list[str]:
        """What is wrong with a decision about an image that is there, a few words each."""
        if line.action == "accept" and line.label not in self._networks:
            return [
                f"the run has no network {shown(line.label)}; there is "
                f"{', '.join(self._networks) or 'none'}"
            ]
        try:
            self._drawn(line)
        except (ValueError, DataError) as error:
            return [str(error)]
        return []

    def write(self, found: Mapping[str, Line], target: Path) -> list[tuple[str, str, str]]:
        """Write the new masks and the CSV that names them, or nothing.

        Args:
            found: the decision about every image.
            target: the CSV, in the data's folder; its masks lie in the folder of the same name.

        Returns:
            Every image that changes, what it had and what became of it.

        Raises:
            DataError: what is left cannot be trained on.
            RunError: a file cannot be written.
        """
        catalog, folder = self._catalog, target.with_suffix("")
        assert catalog.masks is not None
        changes: list[tuple[str, str, str]] = []
        new: dict[str, str] = {}
        try:
            for line, mask in self._masks(found):
                name = self._name(folder, line.path)
                file = target.parent / name
                _make(file.parent)
                stored = encoded(mask, catalog.masks.coding)
                write_bytes(file, index_png(stored, palette(len(catalog.classes))))
                new[line.path] = name
            rows = []
            for path, mask_path, part in zip(
                catalog.paths, catalog.masks.paths, catalog.parts.tolist(), strict=True
            ):
                line = found.get(path, Line("", path, "keep"))
                if line.action == "unusable":
                    changes.append((path, mask_path, "left out (unusable)"))
                    continue
                if path in new:
                    changes.append((path, mask_path, new[path]))
                split = "" if part == Part.TRAIN else Part(part).name.lower()
                rows.append((path, new.get(path, mask_path), split))
            write_csv(rows, str(target), ("path", "mask", "split"))
            self._refuse_unreadable(target)
        except BaseException:  # what was written is ours alone: both names were free
            target.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return changes

    def _refuse_unreadable(self, target: Path) -> None:
        again = read_table(target, follow_links=self._follow_links)
        if again.classes != self._catalog.classes:
            raise DataError(
                "with these corrections the masks show other classes than before "
                f"({len(again.classes)} instead of {len(self._catalog.classes)}); name the classes "
                "in classes.txt, nothing was written"
            )

    def _name(self, folder: Path, path: str) -> str:
        """Where the new mask of an image lies; the same ending as before, which may have a meaning.

        Masks of their own go by the old mask's path, all others by the image's.
        """
        catalog = self._catalog
        assert catalog.masks is not None
        old = catalog.masks.paths[self._number[path]] or path
        return f"{folder.name}/{old}" + ("" if old.lower().endswith(".png") else ".png")

    def _masks(self, found: Mapping[str, Line]) -> Iterator[tuple[Line, NDArray[np.uint8]]]:
        """Every new mask, network by network, so that one is open at a time."""
        accepted = [line for line in found.values() if line.action == "accept"]
        for name in sorted({line.label for line in accepted}):
            (network,) = self._open(name)
            for line in accepted:
                if line.label == name:
                    image = image_of(self._catalog, self._number[line.path])
                    yield line, network.predict_pixels(image, shown(line.path)).label
        for line in found.values():
            if line.action == "mask":
                yield line, self._drawn(line)

    def _open(self, name: str) -> list[Segmenter]:
        return open_segmenters([self._networks[name]], self._settings, self._catalog.classes)

    def _drawn(self, line: Line) -> NDArray[np.uint8]:
        """The mask of a line's regions, the size of its upright image.

        Raises:
            ValueError: a region is none of that size, or pixels are left out and may not be.
        """
        catalog = self._catalog
        assert catalog.root is not None
        assert catalog.masks is not None
        if line.action != "mask":
            return np.empty((0, 0), dtype=np.uint8)
        header = read_header(catalog.root / line.path)
        mask = np.full((header.height, header.width), self._rest, dtype=np.uint8)
        for region in line.regions:
            mask[region.draw(*mask.shape)] = catalog.classes.index(region.label)
        if (mask == IGNORE_INDEX).any() and not can_leave_out(catalog.masks.coding):
            raise ValueError(
                "its areas leave pixels out, which masks of black and white cannot; name the class "
                "of these by rest="
            )
        return mask


def _make(folder: Path) -> None:
    try:
        make_folder(folder)
    except OSError as error:
        raise RunError(
            f"cannot make the folder {shown(folder)}: {error.strerror}; free some space or check "
            "the permissions of the folder above it"
        ) from error


def can_leave_out(coding: Coding) -> bool:
    """Whether 255 in a mask file marks pixels to leave out."""
    values = coding.values
    return values is None or len(values) <= IGNORE_INDEX or values[IGNORE_INDEX] == IGNORE_INDEX


def encoded(mask: NDArray[np.uint8], coding: Coding) -> NDArray[np.uint8]:
    """A mask as the values of an index file that `coding` reads as the same classes.

    Args:
        mask: uint8 (H, W), classes and 255.
        coding: of the data's masks.
    """
    table = np.full(256, IGNORE_INDEX, dtype=np.uint8)
    for label in range(coding.num_classes):
        table[label] = label if coding.values is None else coding.values.index(label)
    return table[mask]
