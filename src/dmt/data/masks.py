"""The masks of a catalog as classes: one at a time, at training size, or all of them counted.

How one file is read is in `mask_files`; where masks lie is the layouts' business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dmt.core import IGNORE_INDEX
from dmt.data.catalog import Catalog, Problem
from dmt.data.decode import shown
from dmt.data.headers import Header, read_header
from dmt.data.hidden import ReadMask
from dmt.data.mask_files import Coding as Coding  # known by this name to whoever reads masks
from dmt.data.mask_files import (
    Value,
    WrongSizeError,
    count_pixels,
    decode_mask,
    wrong_values,
)
from dmt.data.read_ahead import read_all
from dmt.data.sizes import fit_within
from dmt.errors import DataError

Progress = Callable[[int, int], None]
_NUM_NAMED = 3


class MaskScan(NamedTuple):
    """How many pixels of what the masks of a set hold.

    Attributes:
        pixels: int64 (N, K), pixels of each class by image; 0 where no mask was read.
        ignored: int64 (N,), pixels left out.
    """

    pixels: NDArray[np.int64]
    ignored: NDArray[np.int64]


def read_mask(catalog: Catalog, row: int) -> NDArray[np.uint8]:
    """The mask of one image, at the size of the upright image.

    Args:
        catalog: of a segmentation.
        row: of an image that has a mask.

    Returns:
        uint8 (H, W): a class, or 255 for pixels left out; not to be written to.

    Raises:
        DataError: the mask or its image is unreadable, their sizes differ, or a value is none of
            the classes.
    """
    masks = catalog.masks
    assert masks is not None
    assert catalog.labels[row] == 0, "an image with a mask"
    if masks.arrays is not None:
        held: NDArray[np.uint8] = masks.arrays[row]
        return held
    path, header = _place(catalog, row)
    decoded = decode_mask(path, masks.coding, header)
    if decoded.wrong:
        raise wrong_values(masks.coding, decoded.wrong, shown(masks.paths[row]))
    return decoded.classes


def mask_reader(catalog: Catalog, max_side: int | None) -> ReadMask:
    """What reads masks at the size that `fit_within` gives their images, by nearest neighbour.

    Args:
        catalog: of a segmentation.
        max_side: of the longer side, in pixels; None keeps every size.

    Returns:
        A function from a row to uint8 (H, W) that may be called by several threads at once and
        raises as `read_mask`.
    """

    def read(row: int) -> NDArray[np.uint8]:
        mask = read_mask(catalog, row)
        old_height, old_width = mask.shape
        height, width = fit_within(old_height, old_width, max_side)
        if (height, width) == (old_height, old_width):
            return mask
        small = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
        return np.array(small)

    return read


def scan_masks(
    catalog: Catalog,
    rows: Sequence[int] | NDArray[np.int64],
    workers: int,
    progress: Progress | None = None,
) -> MaskScan:
    """Read every mask among `rows` once and count its pixels.

    Args:
        catalog: of a segmentation.
        rows: which images; those without a mask are passed over.
        workers: threads that decode; 0 decodes in the caller's.
        progress: called with (masks read, masks in all) now and then.

    Raises:
        DataError: masks that cannot be read, that are not of the size of their image, or that
            hold values that are none of the classes; all of `rows` are looked at before.
    """
    masks = catalog.masks
    assert masks is not None
    num_classes = len(catalog.classes)
    counts = np.zeros((len(catalog), IGNORE_INDEX + 1), dtype=np.int64)
    faults = _Faults({}, {}, {})
    wanted = [int(row) for row in rows if catalog.labels[row] == 0]

    def look(number: int) -> None:
        row = wanted[number]
        try:
            if masks.arrays is not None:
                counts[row] = count_pixels(masks.arrays[row])
                return
            path, header = _place(catalog, row)
            decoded = decode_mask(path, masks.coding, header)
            counts[row] = decoded.counts
            if decoded.wrong:
                faults.wrong[row] = decoded.wrong
        except WrongSizeError as error:
            faults.size[row] = error.sizes
        except DataError as error:
            faults.unreadable[row] = str(error)

    read_all(look, len(wanted), workers, progress)
    _raise_any(catalog, faults)
    return MaskScan(counts[:, :num_classes].copy(), counts[:, IGNORE_INDEX].copy())


def orientation_problems(catalog: Catalog, workers: int) -> list[Problem]:
    """Photos that their EXIF data turn, with masks of which the size does not tell whether they do.

    Such masks are taken as drawn on the upright photo. Only headers are read; files that cannot
    be read are passed over.
    """
    masks = catalog.masks
    assert masks is not None
    if masks.arrays is not None:
        return []
    rows = np.flatnonzero(catalog.labels == 0).tolist()
    unclear: list[int] = []

    def look(number: int) -> None:
        path, header = _place(catalog, rows[number])
        is_told = (header.height, header.width) != (header.stored_height, header.stored_width)
        if header.orientation != 1 and not is_told and read_header(path).orientation == 1:
            unclear.append(rows[number])

    read_all(look, len(rows), workers, None)
    return [
        Problem(
            "ambiguous-orientation",
            catalog.paths[row],
            "the photo is turned by its EXIF data, and its mask's size does not tell whether the "
            "mask is too: it is taken as drawn on the upright photo",
        )
        for row in sorted(unclear)
    ]


class _Faults(NamedTuple):
    """What is wrong, by row."""

    unreadable: dict[int, str]
    size: dict[int, str]
    wrong: dict[int, frozenset[Value]]


def _place(catalog: Catalog, row: int) -> tuple[str, Header]:
    """Where the mask of an image lies, and the header of that image."""
    assert catalog.root is not None
    assert catalog.masks is not None
    header = read_header(catalog.root / catalog.paths[row])
    return str(catalog.root / catalog.masks.paths[row]), header


def _raise_any(catalog: Catalog, faults: _Faults) -> None:
    assert catalog.masks is not None
    paths = catalog.masks.paths
    if faults.unreadable:
        first = faults.unreadable[min(faults.unreadable)]
        num = len(faults.unreadable) - 1
        more = "mask or its image" if num == 1 else "masks or their images"
        raise DataError(first + (f"; {num} more {more} cannot be read" if num else ""))
    if faults.size:
        named = [
            f"{shown(paths[row])} ({faults.size[row]})" for row in sorted(faults.size)[:_NUM_NAMED]
        ]
        raise DataError(
            "masks need the size of their image, in pixels (width × height): wrong "
            f"{'is' if len(faults.size) == 1 else 'are'} {_listed(named, len(faults.size))}"
        )
    if faults.wrong:
        named = [shown(paths[row]) for row in sorted(faults.wrong)[:_NUM_NAMED]]
        files = _listed(named, len(faults.wrong))
        raise wrong_values(catalog.masks.coding, frozenset().union(*faults.wrong.values()), files)


def _listed(named: list[str], num: int) -> str:
    return ", ".join(named) + (f" and {num - len(named)} more" if num > len(named) else "")
