"""Who teaches whom, in what order: a run as data. Resume, folds and side-by-side peers read it.

pair    round0/a   round0/b         chain   round0/a                 online   round0/a ═ round0/b
           ╳  labels ╳                         │ labels                       (in the same steps)
        round1/a   round1/b                 round1/a             dmt-online   round0/a   round0/b
           ╳         ╳                         │ (a new network                  │          │
          …           …                        …  each time)                  round1/a ═ round1/b
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict

from dmt.config import Settings, Training
from dmt.core import label_fraction
from dmt.core.weighting import Rule
from dmt.engine.fit import FitSpec
from dmt.engine.stage import LabelStage, Online, Preprocessing, Role, Stage, TrainStage, Weights

START = "init"
"""Where in a run's folder lie the networks that its round 0 goes on from: `init/a`, `init/b`."""


@dataclass(frozen=True)
class Preset:
    """What a method's name means: how many models teach each other, the rule of weights, and for
    which tasks it is defined."""

    num_peers: int
    rule: Rule
    online: Online | None = None  # it labels at every step of its last stage, with these defaults
    has_first_round: bool = False  # before that stage, a round 0 on given labels alone
    tasks: tuple[str, ...] = ("classification", "segmentation")


PRESETS = {
    "supervised": Preset(1, "ones"),
    "self-training": Preset(1, "ones"),
    "dst": Preset(1, "dmt"),
    "mutual": Preset(2, "ones"),
    "naive": Preset(2, "naive"),
    "flip": Preset(2, "flip"),
    "dmt": Preset(2, "dmt"),
    # Defaults are the papers', where those leave one open the USB benchmark's for CIFAR-10 with
    # 4000 labels; docs/methods.md names the source of each.
    "online": Preset(1, "ones", Online("confident", is_same_view=True, threshold=0.9)),
    "mean-teacher": Preset(
        1, "ones", Online("consistency", "average", unlabeled_weight=5.0, ramp=0.4)
    ),
    "fixmatch": Preset(1, "ones", Online("confident", threshold=0.95, unlabeled_weight=1.0)),
    "freematch": Preset(
        1, "ones", Online("adaptive", unlabeled_weight=1.0, momentum=0.999, fairness=0.001)
    ),
    "cps": Preset(2, "ones", Online("rule", "peer", unlabeled_weight=1.5)),
    "mixmatch": Preset(
        1, "ones",
        Online("mixmatch", unlabeled_weight=7.5, ramp=0.4, temperature=0.5, views=2, mixup=0.75),
        tasks=("classification",),
    ),
    "dmt-online": Preset(
        2, "dmt", Online("rule", "peer", unlabeled_weight=1.0, fractions=(1.0,)),
        has_first_round=True,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """How many images there are of each sort."""

    num_labeled: int
    num_pool: int
    num_hidden: int  # of the pool, those with a label that the oracle may unwrap
    is_dense: bool = False  # every pixel has a label


def plan(settings: Settings, sizes: Sizes) -> tuple[Stage, ...]:
    """All stages of a run, each after those it needs.

    With `folds`, the folds' stages come first (they judge), then the run on all labels.
    """
    stages: list[Stage] = []
    for fold in range(settings.folds):
        num_held_out = math.ceil(sizes.num_labeled / settings.folds)
        kept = replace(sizes, num_labeled=max(1, sizes.num_labeled - num_held_out))
        stages += _one_run(settings, kept, fold)
    stages += _one_run(settings, sizes, None)
    return tuple(stages)


def peer_names(settings: Settings) -> tuple[str, ...]:
    """The lasting models: two for a pair of peers, one for a chain or a single model."""
    preset = PRESETS[settings.method]
    is_pair = preset.num_peers == 2 and (settings.schedule == "pair" or preset.online is not None)
    return ("a", "b") if is_pair else ("a",)


def is_online(settings: Settings, sizes: Sizes) -> bool:
    """Whether the run ends with a stage whose models label a pool for themselves."""
    return PRESETS[settings.method].online is not None and sizes.num_pool > 0


def begins_with_labels(settings: Settings, sizes: Sizes) -> bool:
    """Whether the run has a round 0, in which models learn given labels alone."""
    return not is_online(settings, sizes) or PRESETS[settings.method].has_first_round


def num_peer_steps(settings: Settings, sizes: Sizes) -> list[int]:
    """Optimizer steps of one peer in round 0 and in every round after it.

    `epochs` where a recipe sets them; otherwise `steps` in equal parts. What learns online takes
    as many as all rounds together would in one, round 0 among them or before it.
    """
    num_rounds = num_rounds_of(settings, sizes)
    steps = []
    for round_ in range(num_rounds + 1):
        training = settings.student if round_ else settings.initial
        if training.epochs is None:
            assert settings.steps is not None, "the caller has chosen steps"
            first = round(settings.steps * first_share(settings, num_rounds))
            each, rest = divmod(settings.steps - first, max(1, num_rounds))
            steps.append(max(1, each + (round_ <= rest) if round_ else first))
        else:
            images, batch = sizes.num_labeled, settings.batch_size
            if round_:
                # Of scenes every one has pixels that are kept, so a pass is over them all.
                share = 1.0 if sizes.is_dense else _fraction(settings, round_)
                images = math.floor(share * sizes.num_pool + 0.5)
                batch -= _num_labeled(settings)
            steps.append(max(1, round(training.epochs * images / batch)))
    if not is_online(settings, sizes):
        return steps
    return [steps[0], sum(steps[1:])] if begins_with_labels(settings, sizes) else [sum(steps)]


def num_rounds_of(settings: Settings, sizes: Sizes) -> int:
    """Rounds after round 0: none without a pool, or where the method does not use it."""
    return settings.rounds if sizes.num_pool and settings.method != "supervised" else 0


def first_share(settings: Settings, num_rounds: int) -> float:
    """The share of `steps` that round 0 takes."""
    if num_rounds == 0:
        return 1.0
    return 1 / (num_rounds + 1) if settings.initial.share is None else settings.initial.share


def _one_run(settings: Settings, sizes: Sizes, fold: int | None) -> Iterator[Stage]:
    steps = num_peer_steps(settings, sizes)
    peers = peer_names(settings)
    labels_itself = is_online(settings, sizes)
    if begins_with_labels(settings, sizes):
        for peer in peers:
            first = _on_labels(settings, "round", peer, steps[0], fold, is_pair=len(peers) == 2)
            yield replace(first, fit=replace(first.fit, lr_span=_lr_span(settings, steps, 0)))
    if labels_itself:
        for peer in peers:
            yield _online_stage(settings, peer, peers, steps, fold, is_dense=sizes.is_dense)
    for round_ in range(1, 1 if labels_itself else len(steps)):
        for student in peers:
            yield _labeling(settings, round_, student, peers, fold, is_dense=sizes.is_dense)
        for student in peers:
            stage = _student(settings, round_, student, peers, steps[round_], fold)
            yield replace(stage, fit=replace(stage.fit, lr_span=_lr_span(settings, steps, round_)))
    # With folds the run on all labels is handed out, not judged, so it needs no baseline.
    is_judged = fold is not None or not settings.folds
    if (labels_itself or len(steps) > 1) and settings.baseline in {"equal", "pair"} and is_judged:
        for peer in ("a", "b") if settings.baseline == "pair" else ("a",):
            yield _on_labels(settings, "baseline", peer, sum(steps), fold)
    if settings.oracle and sizes.num_hidden and fold is None:
        yield _on_labels(settings, "oracle", "a", sum(steps), fold)


def stage_name(role: Role, round_: int, peer: str, fold: int | None = None) -> str:
    """The name of a stage that trains a network."""
    prefix = "" if fold is None else f"fold{fold}/"
    return f"{prefix}round{round_}/{peer}" if role == "round" else f"{prefix}{role}/{peer}"


def _on_labels(
    settings: Settings, role: Role, peer: str, num_steps: int, fold: int | None, *,
    is_pair: bool = False,
) -> TrainStage:  # fmt: skip
    """Round 0, the baseline and the oracle: given labels only."""
    sees: Literal["labeled", "dms", "everything"] = "labeled"
    if role == "oracle":
        sees = "everything"
    elif role == "round" and is_pair and settings.peers.labeled_subset == "dms":
        sees = "dms"
    return TrainStage(
        name=stage_name(role, 0, peer, fold),
        role=role,
        round=0,
        peer=peer,
        fold=fold,
        needs=(),
        fit=_fit(settings, settings.initial, num_steps, settings.batch_size),
        **_network(settings, peer),
        start=_given_start(settings, peer) if role == "round" else None,
        sees=sees,
    )


def _given_start(settings: Settings, peer: str) -> str | None:
    """What `init_from` left in the run folder, as the name of a stage."""
    return None if settings.init_from is None else f"{START}/{peer}"


def _online_stage(
    settings: Settings, peer: str, peers: tuple[str, ...], steps: list[int], fold: int | None, *,
    is_dense: bool,
) -> TrainStage:  # fmt: skip
    """All peers in the same steps, on labels and the whole pool: the last of `steps`."""
    round_ = len(steps) - 1
    names = tuple(stage_name("round", round_, each, fold) for each in peers)
    first = stage_name("round", 0, peer, fold) if round_ else None
    # None of these methods mixes by the stage's mixup: mixmatch has its own.
    fit = replace(_fit(settings, settings.student, steps[-1], _num_labeled(settings)), mixup=0.0)
    return TrainStage(
        name=names[peers.index(peer)],
        role="round",
        round=round_,
        peer=peer,
        fold=fold,
        needs=(first,) if first else (),
        fit=replace(fit, lr_span=_lr_span(settings, steps, round_)),
        **_network(settings, peer),
        start=first or _given_start(settings, peer),
        # A ramp makes all weights one at first: labels of every step then settle on errors.
        weighting=replace(_weights(settings), has_ramp=settings.online.gamma_ramp),
        online=_online(settings, is_dense=is_dense),
        together=names,
    )


HYPER_PARAMETERS = (
    "threshold", "unlabeled_weight", "ramp", "momentum", "fairness", "temperature", "views",
    "mixup",
)  # fmt: skip


def _online(settings: Settings, *, is_dense: bool) -> Online:
    """The method's own values, but for those that are set."""
    preset = PRESETS[settings.method].online
    assert preset is not None
    given = settings.online
    changed: dict[str, Any] = {
        name: getattr(given, name)
        for name in HYPER_PARAMETERS
        if getattr(given, name) is not None and getattr(preset, name) is not None
    }
    if preset.fractions is not None:
        rounds = range(1, settings.rounds + 1)
        changed["fractions"] = tuple(_fraction(settings, round_) for round_ in rounds)
        changed["is_class_balanced"] = settings.selection.kind != "global"
        has_average = is_dense and settings.student.ema_decay > 0
        changed["teacher"] = given.teacher or ("peer-average" if has_average else "peer")
    return replace(preset, cutmix=given.cutmix if is_dense else 0.0, **changed)


def _weights(settings: Settings) -> Weights:
    weighting = settings.weighting
    return Weights(
        PRESETS[settings.method].rule,
        weighting.agreement_gamma,
        weighting.disagreement_gamma,
        weighting.ramp,
    )


def _labeling(
    settings: Settings, round_: int, student: str, peers: tuple[str, ...], fold: int | None, *,
    is_dense: bool,
) -> LabelStage:  # fmt: skip
    teacher = _teacher(student, peers)
    other = _other(settings, round_, student, teacher, fold)
    first = stage_name("round", round_ - 1, teacher, fold)
    return LabelStage(
        name=_label_name(round_, teacher, fold),
        role="round",
        round=round_,
        peer=teacher,
        fold=fold,
        needs=(first,) if other is None else (first, other),
        student=student,
        fraction=_fraction(settings, round_),
        is_class_balanced=is_dense
        if settings.selection.kind is None
        else settings.selection.kind == "class-balanced",
        other=other,
        gammas=(settings.weighting.agreement_gamma, settings.weighting.disagreement_gamma),
    )


def _student(
    settings: Settings, round_: int, peer: str, peers: tuple[str, ...], num_steps: int,
    fold: int | None,
) -> TrainStage:  # fmt: skip
    labels = _label_name(round_, _teacher(peer, peers), fold)
    start = stage_name("round", round_ - 1, peer, fold) if is_continuing(settings) else None
    return TrainStage(
        name=stage_name("round", round_, peer, fold),
        role="round",
        round=round_,
        peer=peer,
        fold=fold,
        needs=(labels,) if start is None else (labels, start),
        fit=_fit(settings, settings.student, num_steps, _num_labeled(settings)),
        **_network(settings, peer),
        start=start,
        pseudo=labels,
        weighting=_weights(settings),
    )


def _lr_span(settings: Settings, steps: list[int], round_: int) -> tuple[int, int] | None:
    """Where a round stands in a schedule over the whole run, if there is to be one."""
    is_over_all = settings.student.lr_span == "run" and is_continuing(settings)
    return (sum(steps[:round_]), sum(steps)) if is_over_all else None


def is_continuing(settings: Settings) -> bool:
    """Whether a student goes on from its own weights."""
    # A chain's generations are made different by their initialisation alone.
    return settings.student.start == "continue" and settings.schedule == "pair"


def _label_name(round_: int, teacher: str, fold: int | None) -> str:
    return stage_name("round", round_, f"label/{teacher}", fold)


def _other(
    settings: Settings, round_: int, student: str, teacher: str, fold: int | None
) -> str | None:
    """The second network of a labeling: of a pair the student, of a chain the generation before
    the teacher; a single model that goes on has none."""
    if student != teacher:
        return stage_name("round", round_ - 1, student, fold)
    has_before = settings.schedule == "chain" and round_ >= 2
    return stage_name("round", round_ - 2, teacher, fold) if has_before else None


def _teacher(peer: str, peers: tuple[str, ...]) -> str:
    """The other peer; the only one teaches itself (its last generation, in a chain)."""
    return peers[(peers.index(peer) + 1) % len(peers)]


def _fraction(settings: Settings, round_: int) -> float:
    fractions = settings.selection.fractions
    if fractions is None:
        return label_fraction(round_, settings.rounds)
    return fractions[min(round_, len(fractions)) - 1]


def _num_labeled(settings: Settings) -> int:
    """Labeled images in a batch of the rounds: at least one, and never all of it."""
    wanted = round(settings.batch_size * settings.student.labeled_share)
    return min(max(1, wanted), settings.batch_size - 1)


class _NetworkFields(TypedDict):
    model: str
    weights: str
    preprocessing: Preprocessing


def _network(settings: Settings, peer: str) -> _NetworkFields:
    own = settings.peers.b if peer == "b" else settings.peers.a
    model = own.model or settings.model
    # The dilations are part of a DeepLab's name, so that its weights file says which it has.
    if settings.aspp_dilations and re.fullmatch(r"deeplab_v2:[^:]+", model):
        model += ":" + "-".join(map(str, settings.aspp_dilations))
    return {
        "model": model,
        "weights": own.weights or settings.weights,
        "preprocessing": Preprocessing(own.mean, own.std, own.channel_order),
    }


def _fit(settings: Settings, training: Training, num_steps: int, num_labeled: int) -> FitSpec:
    return FitSpec(
        num_steps=max(1, num_steps),
        batch_size=settings.batch_size,
        num_labeled=num_labeled,
        lr=training.lr,
        lr_schedule=training.lr_schedule,
        warmup=min(training.warmup, num_steps // 2),
        optimizer=training.optimizer,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        ema_decay=training.ema_decay,
        mixup=training.mixup,
        keep_max=training.keep_max,
        most_blocks=settings.batch_blocks,
        shuffle_block=settings.data.shuffle_block,
    )
