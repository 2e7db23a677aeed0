"""`dmt review`: which images to label next and which labels look wrong, as a table and a page.

What the scores are is `metrics.review_scores`'; out-of-fold answers are `auditing`'s.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmt.config import Settings
from dmt.data.catalog import Catalog
from dmt.data.decode import shown
from dmt.data.layouts import open_catalog
from dmt.data.pictures import hex_colors
from dmt.engine.listener import Listener
from dmt.errors import DataError, RunError, SettingError
from dmt.inference.peers import (
    LastPeers,
    fitted,
    images_of,
    last_peers,
    open_classifier,
    open_segmenters,
    probabilities_at,
)
from dmt.inference.predicting import named, write_csv
from dmt.inference.using import settings_of
from dmt.insight.review import NEXT, TABLE, WRONG, Review, ReviewRow, write_page
from dmt.metrics.review_scores import (
    balanced_order,
    candidates,
    disagreement,
    diverse_order,
)
from dmt.records import is_finished
from dmt.records.data import read_data
from dmt.records.links import refuse_links
from dmt.reviews.auditing import Answers, audit, read_answers
from dmt.reviews.exporting import chosen_rows, export_rows, refuse_export
from dmt.reviews.pictures import draw_rows
from dmt.runs.materials import with_pool

_MOST_SHOWN = 10_000

_Said = tuple[str, float, str, float | None]  # label and confidence of each model
_Ranked = tuple[NDArray[np.int64], list[_Said], NDArray[np.float32]]  # order, answers, scores


class Reviewed(NamedTuple):
    """What `review` wrote."""

    page: Path
    table: Path
    num_next: int
    num_wrong: int | None  # both peers contradict the label; None: no audit
    notes: list[str]
    exported: list[Path]  # for a labeling tool


def review(
    run: str | Path,
    *,
    listener: Listener,
    is_auditing: bool = False,
    folds: int | None = None,
    balanced: bool = False,
    show: int = 500,
    export: str | None = None,
    only: str | None = None,
    device: str = "auto",
    trust_code: bool = False,
    follow_links: bool = False,
) -> Reviewed:
    """Write `review.csv` (all rows) and `review.html` (the first ones) into a run's folder.

    Args:
        run: its folder; of a half-finished one the last whole round is used.
        listener: told of progress.
        is_auditing: whether to train the folds that "probably mislabeled" needs.
        folds: how many; None: 5, or as many as were begun.
        balanced: whether every class, as predicted, comes in turn in "label these next".
        show: rows of each section on the page.
        export: "label-studio" or "coco" writes the same rows as a file for such a tool.
        only: corrections; of the export, only images that these leave to be annotated.
        device, trust_code, follow_links: as in `using.load`.

    Raises:
        RunError: no run, nothing trained yet, or data that are not the run's any more.
        SettingError: a number out of range, or too few labels for the folds.
        DataError: the images are no files that could be exported, or `only` names none of them.
    """
    path = Path(run)
    if not 1 <= show <= _MOST_SHOWN:
        raise SettingError(f"show={show} must lie between 1 and {_MOST_SHOWN}")
    if folds is not None and not is_auditing:
        raise SettingError(f"folds={folds} is for the audit; add --audit, or leave it out")
    refuse_links(path)
    settings = settings_of(path)
    data = read_data(path)
    peers = last_peers(path, settings)
    assert settings.dataset is not None
    catalog = open_catalog(settings.dataset, follow_links=follow_links)
    catalog = with_pool(catalog, settings, follow_links=follow_links, say=listener.on_note)
    if catalog.prints is not None:
        raise DataError(
            f"the unlabeled images of {path} are too many for a page ({len(catalog):,}): label "
            "them with `dmt label`, sort its tables by disagreement, and review a pool of those"
        )
    if list(catalog.classes) != data["classes"]:
        raise RunError(
            f"{path} was trained on other classes than its data have now; put the data back as "
            "they were, or train anew"
        )
    refuse_export(export, only, catalog)
    settings = settings.model_copy(update={"device": device, "trust_code": trust_code})
    pool = _Asked(catalog, settings, peers).rank(data["files"], balanced, show)
    has_folds = settings.folds > 0 and is_finished(path)
    answers = read_answers(path)
    if is_auditing or (answers is None and has_folds):
        answers = answers if answers is not None and folds in {None, answers.folds} else audit(
            path, settings, catalog, folds=folds, listener=listener
        )  # fmt: skip
    wrong = [] if answers is None else _wrong_rows(answers, frozenset(catalog.paths))
    lines = ((named(Path(row[0])), row[1], str(row[2]), *row[3:]) for row in (*pool, *wrong))
    write_csv(lines, str(path / TABLE), ReviewRow._fields)
    marked = [row for row in wrong if _is_marked(row, catalog)]
    notes = _notes(path, peers, answers)
    shown_rows = [*pool[:show], *marked[:show]]
    pictures, more = draw_rows(path, catalog, settings, peers, answers, shown_rows)
    networks = _networks(path, catalog, peers, answers)
    names = ("Peer a", "Peer b") if peers.is_pair else ("Model", "Generation before")
    exported = []
    if export is not None:
        chosen = chosen_rows(shown_rows if only is None else [*pool, *marked], only)
        spoken = [networks(row) for row in chosen]
        exported = export_rows(path, catalog, settings, chosen, spoken, names, export)
    page = Review(
        name=path.resolve().name,
        dataset=catalog.name,
        key=hashlib.sha256(f"{data['sha256']}{path.resolve().name}".encode()).hexdigest()[:16],
        is_dense=catalog.task == "segmentation",
        classes=catalog.classes,
        rows=shown_rows,
        totals={NEXT: len(pool), WRONG: len(marked)},
        pictures=pictures,
        networks=[networks(row) for row in shown_rows],
        notes=notes + more,
        how="" if answers is not None else _how(path),
        peers=names,
        colors=hex_colors(len(catalog.classes)) if catalog.task == "segmentation" else [],
        command=f"dmt apply {shlex.quote(str(path))} corrections.csv" if catalog.root else "",
    )
    return Reviewed(
        write_page(path, page),
        path / TABLE,
        len(pool),
        None if answers is None else len(marked),
        notes + more,
        exported,
    )


def _networks(
    run: Path, catalog: Catalog, peers: LastPeers, answers: Answers | None
) -> Callable[[ReviewRow], list[str]]:
    """By row the networks whose masks it shows, as `mask_correcting` knows them."""
    if catalog.task != "segmentation":
        return lambda row: []
    last = [path.parent.relative_to(run).as_posix() for path in peers.weights]
    if answers is None:
        return lambda row: last
    fold = {each.path: each.fold for each in answers.rows}
    pairs = [[Path(name).parent.as_posix() for name in pair] for pair in answers.weights]
    return lambda row: pairs[fold[row.path]] if row.section == WRONG else last


def _how(run: Path) -> str:
    return (
        "It takes models that never saw the label: `dmt review "
        f"{shlex.quote(str(run))} --audit` trains five pairs, each without a fifth of the labels."
    )


def _notes(run: Path, peers: LastPeers, answers: Answers | None) -> list[str]:
    notes = []
    if not is_finished(run):
        notes.append(
            f"This run has not finished: what its models say is from round {peers.round} of "
            f"{peers.last_round}."
        )
    if len(peers.weights) == 1:
        notes.append("There is one model only: images are ranked by how unsure it is.")
    elif not peers.is_pair:
        notes.append("One model at a time: the last generation is compared with the one before.")
    if answers is not None:
        notes.append(
            f"Given labels were judged by {answers.folds} pairs, each trained without the labels "
            "it judges."
        )
    return notes


def _wrong_rows(answers: Answers, paths: frozenset[str]) -> list[ReviewRow]:
    """Rows of the images that are still there."""
    there = [each for each in answers.rows if each.path in paths]
    return [
        ReviewRow(each.path, WRONG, rank, each.given, each.label_a, each.confidence_a,
                  each.label_b, each.confidence_b, each.score)
        for rank, each in enumerate(there, 1)
    ]  # fmt: skip


def _is_marked(row: ReviewRow, catalog: Catalog) -> bool:
    """Whether every model contradicts the label; of a mask, at least one pixel of it."""
    if catalog.task == "segmentation":
        return row.score > 0
    return row.given not in {row.label_a, row.label_b}


class _Asked:
    """The pool, asked what the peers make of it."""

    def __init__(self, catalog: Catalog, settings: Settings, peers: LastPeers) -> None:
        self._catalog = catalog
        self._settings = settings
        self._peers = peers

    def rank(self, files: Sequence[Any], balanced: bool, num: int) -> list[ReviewRow]:
        """All unlabeled images as rows, the best to label first; the first `num` are diverse."""
        number = {path: row for row, path in enumerate(self._catalog.paths)}
        paths = [entry[0] for entry in files if entry[3] == "unlabeled"]
        missing = [path for path in paths if path not in number]
        if missing:
            raise RunError(
                f"the image {shown(missing[0])} of the run's data is gone, and so are "
                f"{len(missing) - 1} more; put the data back as they were, or train anew"
            )
        ids = np.array([number[path] for path in paths], dtype=np.int64)
        if not len(ids):
            return []
        ask: Callable[..., _Ranked] = (
            self._scenes if self._catalog.task == "segmentation" else self._images
        )
        order, said, score = ask(ids, balanced, num)
        rows = []
        for rank, row in enumerate(order.tolist(), 1):
            path, (label_a, sure_a, label_b, sure_b) = self._catalog.paths[ids[row]], said[row]
            rows.append(
                ReviewRow(path, NEXT, rank, "", label_a, sure_a, label_b, sure_b, float(score[row]))
            )
        return rows

    def _images(self, ids: NDArray[np.int64], balanced: bool, num: int) -> _Ranked:
        catalog = self._catalog
        model = open_classifier(self._peers.weights, self._settings, catalog.classes)
        parts = [[each.numpy() for each in batch]
                 for batch in model.predict_peers(images_of(catalog, ids))]  # fmt: skip
        probs = [np.concatenate(each) for each in zip(*parts, strict=True)]
        score = disagreement(probs[0], probs[-1])
        some = candidates(score, num)
        features = model.features(images_of(catalog, ids[some]))
        if not features.shape[1]:  # a network of somebody's own, without a linear layer
            features = np.concatenate([each[some] for each in probs], axis=1)
        order = _whole_order(score, some, features, num)
        if balanced:
            order = balanced_order(order, np.mean(probs, axis=0).argmax(axis=1))
        calls = [(each.argmax(axis=1), each.max(axis=1)) for each in probs]
        said = [_said([(catalog.classes[c[row]], float(s[row])) for c, s in calls])
                for row in range(len(ids))]  # fmt: skip
        return order, said, score

    def _scenes(self, ids: NDArray[np.int64], balanced: bool, num: int) -> _Ranked:
        if balanced:
            raise SettingError("balanced=true is for images with one label each; leave it out")
        catalog = self._catalog
        models = open_segmenters(self._peers.weights, self._settings, catalog.classes)
        scores, said, features = [], [], []
        for id in ids.tolist():
            image = fitted(catalog, id, self._settings)
            probs = probabilities_at(models, image, shown(catalog.paths[id]))
            scores.append(disagreement(probs[0], probs[-1]).mean())
            said.append(_said([("", float(each.max(axis=0).mean())) for each in probs]))
            features.append(np.concatenate([each.mean(axis=(1, 2)) for each in probs]))
        score = np.array(scores, dtype=np.float32)
        some = candidates(score, num)
        return _whole_order(score, some, np.array(features)[some], num), said, score


def _whole_order(
    score: NDArray[np.float32], some: NDArray[np.int64], features: NDArray[Any], num: int
) -> NDArray[np.int64]:
    """Diverse ones among the candidates, then all others by score."""
    others = np.setdiff1d(np.arange(len(score)), some)
    others = others[np.argsort(-score[others], kind="stable")]
    return np.concatenate([some[diverse_order(score[some], features, num)], others])


def _said(answers: Sequence[tuple[str, float]]) -> _Said:
    """What one or two models answer."""
    (label, sure), second = answers[0], answers[1] if len(answers) > 1 else ("", None)
    return label, sure, *second
