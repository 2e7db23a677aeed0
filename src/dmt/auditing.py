"""Out of fold: what networks that never saw a label say about it. What is made of it: `reviewing`.

`dmt review --audit` trains K folds of round-0 pairs in `RUN/audit`; a run with folds=K has them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmt.config import Settings
from dmt.data.catalog import Catalog
from dmt.data.decode import shown
from dmt.data.fingerprint import changed, fingerprint
from dmt.data.mask_splits import MaskSplit
from dmt.data.splits import Parts, Split
from dmt.data_record import read_data
from dmt.engine.folder import RunFolder
from dmt.engine.interrupt import listening
from dmt.engine.listener import Listener
from dmt.engine.plan import plan
from dmt.engine.runner import Runner
from dmt.engine.runtime import Runtime
from dmt.engine.stage import Stage, TrainStage
from dmt.engine.task import Task
from dmt.errors import RunError
from dmt.materials import sizes_of
from dmt.methods import methods_of
from dmt.metrics.review_scores import contradicted, improbability
from dmt.peers import (
    image_of,
    images_of,
    open_classifier,
    open_segmenters,
    probabilities_at,
    resized,
)
from dmt.records import DATA, Record, is_finished, read_json, write_json
from dmt.session import open_material
from dmt.using import runtime_for

AUDIT = "audit"
ANSWERS = "answers.json"


class Answer(Record):
    """One given label beside what two networks say that never saw it.

    Of a segmentation the labels are empty, the confidences are means over pixels, and `score` is
    the share of labeled pixels that both contradict.
    """

    path: str
    fold: int
    given: str
    label_a: str
    confidence_a: float
    label_b: str
    confidence_b: float | None
    score: float


class Answers(Record):
    """What `RUN/audit/answers.json` holds: every labeled image once, the worst first."""

    folds: int
    weights: list[list[str]]  # of every fold, relative to the run: its two networks' files
    rows: list[Answer]


def read_answers(run: Path) -> Answers | None:
    """The audit of a run, None where there is none that came to its end.

    Raises:
        RunError: it is damaged or another version's.
    """
    path = run / AUDIT / ANSWERS
    if not path.exists():
        return None
    try:
        found = Answers.model_validate(read_json(path))
        for name in (name for pair in found.weights for name in pair):
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise ValueError(name)
        return found
    except ValueError as error:  # of which pydantic's is one
        raise RunError(
            f"{path} was not written by this version of dmt; remove it and ask again with --audit"
        ) from error


def audit(
    run: Path, settings: Settings, catalog: Catalog, *, folds: int | None, listener: Listener
) -> Answers:
    """Every given label judged by a pair that was trained without it; resumable, then kept.

    A run with `folds` has such networks already. Otherwise `folds` pairs are trained as the run's
    own round 0 is, on all given labels but those of one fold; a method of one model gets a pair
    too, since two that agree against a label say more than one.

    Args:
        run: its folder; all is kept in `audit/` below it.
        settings: of the run.
        catalog: its data, as they are now.
        folds: K; None: as many as were begun, or 5.
        listener: told of progress.

    Raises:
        RunError: the data changed since this audit began, or it was of another K.
        SettingError: too few labels for K folds.
    """
    is_there = settings.folds > 0 and is_finished(run)
    if not is_there:
        settings = _audit_settings(run, settings, folds)
    material = open_material(catalog, listener.on_note)
    runtime = runtime_for(settings.device, settings.precision)
    # Which images of a finished run cannot be read was found when it began.
    bad = read_data(run).get("bad", []) if is_there else material.open(settings, runtime)
    split = material.split(settings, bad)
    splits: dict[int | None, Any] = dict(enumerate(material.folds(settings, split)))
    stages = plan(settings, sizes_of(split, catalog))
    folder = RunFolder(run if is_there else run / AUDIT)
    if is_there:
        _refuse_changed(run, catalog, split)
        pairs = [_pair(stages, fold, None) for fold in range(settings.folds)]
    else:
        pairs = [_pair(stages, fold, 0) for fold in range(settings.folds)]
        firsts = [stage for pair in pairs for stage in pair]
        listener.on_plan(firsts)
        with folder.locked(is_new=False):
            _begin_or_go_on(folder, settings, catalog, split)
            task = material.task(settings, {None: split, **splits}, runtime)
            _train(run, firsts, task, settings, folder, runtime, listener, catalog,
                   max(material.shapes(settings).view))  # fmt: skip
    weights = [[folder.weights(stage.name) for stage in pair] for pair in pairs]
    return _judge(run, weights, settings, catalog, split, splits)


def _judge(
    run: Path, weights: Sequence[Sequence[Path]], settings: Settings, catalog: Catalog, split: Any,
    splits: Mapping[int | None, Any],
) -> Answers:  # fmt: skip
    """Ask every fold's networks about the labels it holds out, and keep what they say."""
    answers = _image_answers if isinstance(split, Split) else _scene_answers
    rows = [
        row
        for fold in range(settings.folds)
        for row in answers(weights[fold], settings, catalog, split, splits[fold].test.ids, fold)
    ]
    rows.sort(key=lambda row: (-row.score, row.path))
    named = [[str(path.relative_to(run)) for path in pair] for pair in weights]
    found = Answers(folds=settings.folds, weights=named, rows=rows)
    RunFolder(run).make(run / AUDIT)
    write_json(run / AUDIT / ANSWERS, found)
    return found


def _pair(stages: Sequence[Stage], fold: int, round_: int | None) -> list[TrainStage]:
    """The networks of a fold after a round; None: after its last."""
    trained = [
        each for each in stages
        if isinstance(each, TrainStage) and each.fold == fold and each.role == "round"
    ]  # fmt: skip
    wanted = max(each.round for each in trained) if round_ is None else round_
    return [each for each in trained if each.round == wanted]


def _train(
    run: Path, stages: Sequence[TrainStage], task: Task, settings: Settings, folder: RunFolder,
    runtime: Runtime, listener: Listener, catalog: Catalog, image_size: int,
) -> None:  # fmt: skip
    with listening() as stop:
        Runner(
            stages,
            task,
            methods_of(task, runtime),
            folder,
            runtime,
            seed=settings.seed,
            image_size=image_size,
            checkpoint_every=settings.checkpoint_every,
            allow_code=settings.trust_code,
            paths=catalog.paths,
            listener=listener,
            stop=stop,
            go_on=f"dmt review {shlex.quote(str(run))} --audit",
        ).run()


def _audit_settings(run: Path, settings: Settings, folds: int | None) -> Settings:
    begun = run / AUDIT / DATA
    before = int(read_data(run / AUDIT)["settings"]["folds"]) if begun.exists() else None
    if folds is not None and before is not None and folds != before:
        raise RunError(
            f"{run / AUDIT} holds an audit of {before} folds; leave folds={folds} out to use it, "
            "or remove that folder to begin anew"
        )
    changes = {"folds": folds or before or 5, "method": "dmt", "schedule": "pair", "oracle": False}
    student = settings.student.model_copy(update={"lr_span": "stage"})
    # Networks handed on by another run may have seen the labels that are to be judged.
    fresh = {"baseline": "none", "student": student, "init_from": None}
    return settings.model_copy(update={**changes, **fresh})


def _begin_or_go_on(folder: RunFolder, settings: Settings, catalog: Catalog, split: Parts) -> None:
    data = fingerprint(catalog, split)
    if not (folder.path / DATA).exists():
        sizes = sizes_of(split, catalog).__dict__
        stored = settings.model_dump(mode="json")
        write_json(folder.path / DATA, {**data, "sizes": sizes, "settings": stored})
        return
    difference = changed(read_data(folder.path), data)
    if difference is not None:
        raise RunError(
            f"the audit in {folder.path} cannot go on: {difference}; put the data back as they "
            "were, or remove that folder to begin anew"
        )
    folder.load_progress()


def _refuse_changed(run: Path, catalog: Catalog, split: Parts) -> None:
    difference = changed(read_data(run), fingerprint(catalog, split))
    if difference is not None:
        raise RunError(
            f"the folds of {run} cannot be used: {difference}; put the data back as they were"
        )


def _image_answers(
    weights: Sequence[Path], settings: Settings, catalog: Catalog, split: Split,
    ids: NDArray[np.int64], fold: int,
) -> Iterator[Answer]:  # fmt: skip
    """What one fold's networks say of the labels that they never saw.

    These are labels that `split` gave to training; its hidden ones are in no fold.
    """
    model = open_classifier(weights, settings, catalog.classes)
    given = split.labels[np.searchsorted(split.labeled, ids)]
    parts = [[each.numpy() for each in batch]
             for batch in model.predict_peers(images_of(catalog, ids))]  # fmt: skip
    probs = [np.concatenate(each) for each in zip(*parts, strict=True)]
    scores = improbability(given, *probs)
    calls = [(each.argmax(1), each.max(1)) for each in probs]
    for row, id in enumerate(ids.tolist()):
        said: list[tuple[str, Any]] = [
            (catalog.classes[label[row]], float(sure[row])) for label, sure in calls
        ]
        (label_a, sure_a), (label_b, sure_b) = [*said, ("", None)][:2]
        yield Answer(
            path=catalog.paths[id], fold=fold, given=catalog.classes[given[row]],
            label_a=label_a, confidence_a=sure_a, label_b=label_b, confidence_b=sure_b,
            score=float(scores[row]),
        )  # fmt: skip


def _scene_answers(
    weights: Sequence[Path], settings: Settings, catalog: Catalog, split: MaskSplit,
    ids: NDArray[np.int64], fold: int,
) -> Iterator[Answer]:  # fmt: skip
    """As `_image_answers`, of masks."""
    models = open_segmenters(weights, settings, catalog.classes)
    num_classes = len(catalog.classes)
    for id in ids.tolist():
        mask = split.given(id)
        image = resized(image_of(catalog, id), *mask.shape)
        probs = probabilities_at(models, image, shown(catalog.paths[id]))
        is_wrong = contradicted(mask, num_classes, *probs)
        sure = [float(each.max(axis=0).mean()) for each in probs]
        yield Answer(
            path=catalog.paths[id], fold=fold, given="", label_a="", confidence_a=sure[0],
            label_b="", confidence_b=sure[1] if len(sure) > 1 else None,
            score=float(is_wrong.sum() / max(1, (mask < num_classes).sum())),
        )  # fmt: skip
