"""The pictures of a review's rows, as data URIs small enough for a page."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dmt.config import Settings
from dmt.data.catalog import Catalog
from dmt.data.decode import shown
from dmt.data.masks import mask_reader
from dmt.data.pictures import palette
from dmt.data.sizes import fit_within
from dmt.engine.segmenter import Segmenter
from dmt.insight.review import WRONG, Picture, ReviewRow, Section
from dmt.metrics.review_scores import contradicted, disagreement
from dmt.peers import LastPeers, image_of, open_segmenters, probabilities_at, resized

if TYPE_CHECKING:  # an audit is made by a session, which draws pictures too
    from dmt.auditing import Answers

_PICTURE_BYTES = 3_600_000  # of a page of at most 5 MB
_OVERHEAD, _A_PIXEL = 120, 0.16  # bytes of a WebP: its header, and a pixel of a photo at quality 70
_LEAST, _MOST = 24, 224  # pixels a side
_AS_TEXT = 0.75  # bytes that a byte of base64 holds


class Pictures:
    """Gives pictures away until a page is full.

    Args:
        num_bytes: of text, for all of them.
        num: how many there will be.
        most: pixels a side.
    """

    def __init__(self, num_bytes: int, num: int, most: int = _MOST) -> None:
        self._left = num_bytes
        each = _AS_TEXT * num_bytes / max(1, num) - _OVERHEAD
        self.side = int(min(most, max(_LEAST, math.sqrt(max(0.0, each) / _A_PIXEL))))
        self.num_refused = 0

    def photo(self, image: NDArray[np.uint8]) -> str:
        """uint8 (H, W, 3) as a data URI within `side`; empty when the page is full."""
        return self._uri(image, Image.Resampling.BICUBIC)

    def mask(self, label: NDArray[np.uint8], colors: NDArray[np.uint8]) -> str:
        """uint8 (H, W), classes and what is left out (white), in the classes' colours."""
        table = np.full((256, 3), 255, dtype=np.uint8)
        table[: len(colors)] = colors
        return self._uri(table[label], Image.Resampling.NEAREST, is_exact=True)

    def heat(self, values: NDArray[np.float32]) -> str:
        """Float (H, W), 0 (black) to 1 (white)."""
        grey = np.rint(values.clip(0, 1) * 255).astype(np.uint8)
        return self._uri(np.repeat(grey[..., None], 3, axis=2), Image.Resampling.BICUBIC)

    def _uri(
        self, image: NDArray[np.uint8], how: Image.Resampling, *, is_exact: bool = False
    ) -> str:
        picture = Image.fromarray(image)
        if max(picture.size) > self.side:
            scale = self.side / max(picture.size)
            size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
            picture = picture.resize(size, how)
        stream = io.BytesIO()
        is_tiny = max(picture.size) <= 48  # blocks of a lossy format would be most of what is seen
        picture.save(stream, "WEBP", quality=70, lossless=is_tiny or is_exact)
        uri = "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
        if len(uri) > self._left:
            self.num_refused += 1
            return ""
        self._left -= len(uri)
        return uri


def fitted(catalog: Catalog, id: int, settings: Settings) -> NDArray[np.uint8]:
    """A scene as networks see it: uint8 (H, W, 3), at most `data.max_side` a side."""
    image = image_of(catalog, id)
    return resized(image, *fit_within(image.shape[0], image.shape[1], settings.data.max_side))


def draw_rows(
    run: Path, catalog: Catalog, settings: Settings, peers: LastPeers,
    answers: Answers | None, rows: Sequence[ReviewRow],
) -> tuple[dict[tuple[str, Section], list[Picture]], list[str]]:  # fmt: skip
    """The pictures of every row that the page has room for, and a note where it has not."""
    is_dense = catalog.task == "segmentation"
    number = {path: row for row, path in enumerate(catalog.paths)}
    pictures = Pictures(_PICTURE_BYTES, len(rows) * (5 if is_dense else 1))
    draw = _SceneDrawer(run, catalog, settings, peers, answers, pictures)
    found: dict[tuple[str, Section], list[Picture]] = {}
    for row in rows:
        id = number[row.path]
        if is_dense:
            found[row.path, row.section] = list(draw(row, id))
        else:
            found[row.path, row.section] = [("image", pictures.photo(image_of(catalog, id)))]
    kept = {key: [each for each in some if each[1]] for key, some in found.items()}
    left_out = pictures.num_refused
    note = f"{left_out} pictures are left out, so that the page stays below 5 MB; show= sets fewer."
    return kept, [note] if left_out else []


class _SceneDrawer:
    """Draws what is said of an image's pixels: by the peers, or by those that never saw them."""

    def __init__(
        self, run: Path, catalog: Catalog, settings: Settings, peers: LastPeers,
        answers: Answers | None, pictures: Pictures,
    ) -> None:  # fmt: skip
        self._run, self._catalog, self._settings = run, catalog, settings
        self._peers, self._answers, self._pictures = peers, answers, pictures
        self._models: dict[int | None, list[Segmenter]] = {}
        self._folds = {each.path: each.fold for each in answers.rows} if answers else {}

    def __call__(self, row: ReviewRow, id: int) -> Iterator[Picture]:
        draw, catalog = self._pictures, self._catalog
        colors = palette(len(catalog.classes))
        is_audit = row.section == WRONG
        image = fitted(catalog, id, self._settings)
        models = self._open(self._folds[row.path] if is_audit else None)
        probs = probabilities_at(models, image, shown(row.path))
        yield "image", draw.photo(image)
        if is_audit:
            mask = mask_reader(catalog, self._settings.data.max_side)(id)
            yield "given", draw.mask(mask, colors)
        for name, each in zip(("peer a", "peer b"), probs, strict=False):
            yield name, draw.mask(each.argmax(axis=0).astype(np.uint8), colors)
        if is_audit:
            is_wrong = contradicted(mask, len(catalog.classes), *probs)
            yield "contradicted", draw.heat(is_wrong.astype(np.float32))
        else:
            yield "disagreement", draw.heat(disagreement(probs[0], probs[-1]))

    def _open(self, fold: int | None) -> list[Segmenter]:
        if fold not in self._models:
            weights = self._peers.weights
            if fold is not None:
                assert self._answers is not None
                weights = [self._run / each for each in self._answers.weights[fold]]
            self._models[fold] = open_segmenters(weights, self._settings, self._catalog.classes)
        return self._models[fold]
