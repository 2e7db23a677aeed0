"""The pictures of a review's rows, as data URIs small enough for a page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmt.config import Settings
from dmt.data.catalog import Catalog
from dmt.data.decode import shown
from dmt.data.masks import mask_reader
from dmt.data.page_pictures import Pictures
from dmt.data.pictures import palette
from dmt.engine.segmenter import Segmenter
from dmt.inference.peers import LastPeers, fitted, image_of, open_segmenters, probabilities_at
from dmt.insight.review import WRONG, Picture, ReviewRow, Section
from dmt.metrics.review_scores import contradicted, disagreement

if TYPE_CHECKING:  # an audit is made by a session, which draws pictures too
    from dmt.reviews.auditing import Answers

_PAGE_BYTES, _PICTURE_BYTES = 4_900_000, 3_600_000  # at most; the page below 5 MB
_A_ROW, _A_NAME = 60, 20  # bytes of a row and of a picture beside what they hold


def draw_rows(
    run: Path, catalog: Catalog, settings: Settings, peers: LastPeers,
    answers: Answers | None, rows: Sequence[ReviewRow],
) -> tuple[dict[tuple[str, Section], list[Picture]], list[str]]:  # fmt: skip
    """The pictures of every row that the page has room for, and a note where it has not."""
    is_dense = catalog.task == "segmentation"
    number = {path: row for row, path in enumerate(catalog.paths)}
    num = 5 if is_dense else 1  # pictures of a row
    text = sum(len(json.dumps(row)) + _A_ROW + num * _A_NAME for row in rows)
    pictures = Pictures(max(0, min(_PICTURE_BYTES, _PAGE_BYTES - text)), len(rows) * num)
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
