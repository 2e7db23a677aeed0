"""Zero options: model, image size and steps, from the data and from measured images a second."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from dmt.config import Settings
from dmt.engine.budget import Rates, Workload, measure
from dmt.engine.listener import Say
from dmt.engine.plan import (
    Sizes,
    begins_with_labels,
    first_share,
    is_online,
    num_rounds_of,
    peer_names,
    plan,
)
from dmt.engine.runtime import Runtime
from dmt.engine.stage import TrainStage
from dmt.engine.step import Batch, Position
from dmt.errors import EnvironmentFault, SettingError
from dmt.runs.materials import Candidate, Material, Split
from dmt.methods import make_method
from dmt.models.build import build

_MEASURE_SHARE = 0.01  # of the budget, for each of a candidate's three rates
_MEASURE_LIMIT = 1.5  # seconds
_RESERVE = 0.9  # of the time left: what is not training or labeling (saving, the last table)
_PASSES = 30  # over all images that a model should be able to make to be worth its size
_MOST = 3_000_000  # images that are enough, whatever the passes
_FEWEST_STEPS = 20  # a round


def choose(
    settings: Settings,
    material: Material[Split],
    sizes: Sizes,
    runtime: Runtime,
    crew: Runtime,
    say: Say,
) -> Settings:
    """Settings with model, sizes and pre-training filled in, the largest that time allows.

    What is set already stays. Without a budget nothing is measured.

    Args:
        runtime: of all ranks.
        crew: of those that train the same network: all, or half.

    Raises:
        EnvironmentFault: pre-trained weights were asked for and cannot be had.
    """
    candidates = list(material.candidates(settings))
    if not candidates:
        raise SettingError(
            "weights=pretrained is not for the small networks that images of this size get; name "
            f"one with model= (and {_size_keys(material)}), or set weights=none"
        )
    if len(candidates) == 1:
        return _settled(settings, candidates[0], material)
    if settings.budget is None or settings.steps is not None:
        chosen = candidates[0]
        if settings.model != "auto":
            chosen = next(c for c in candidates[::-1] if _is_available(c, settings, material))
        say(f"model {chosen.model} at {chosen.image_size}×{chosen.image_size} pixels")
        return _settled(settings, chosen, material)
    groups = [[c for c in candidates if (c.weights == "none") == plain] for plain in (False, True)]
    for group in groups:
        best = _largest_in_time(group, settings, material, sizes, runtime, crew, say)
        if best is not None:
            return _settled(settings, best, material)
    if not groups[1]:
        raise EnvironmentFault(
            f"budget={settings.budget:.0f}s is too short for pre-trained {settings.model}, or its "
            "weights cannot be had; give more time or weights=none"
        )
    return _settled(settings, groups[1][0], material)


def _largest_in_time(
    candidates: list[Candidate],
    settings: Settings,
    material: Material[Split],
    sizes: Sizes,
    runtime: Runtime,
    crew: Runtime,
    say: Say,
) -> Candidate | None:
    """The last of `candidates`, from the cheapest on, that sees enough images in the budget."""
    assert settings.budget is not None
    began, best = time.perf_counter(), None
    passes = _PASSES * (sizes.num_labeled + sizes.num_pool)
    wanted = min(max(passes, material.fewest_images), _MOST)
    for candidate in candidates:
        trial = material.filled(settings, candidate)
        try:
            rates = _measure(trial, material, sizes, runtime, crew)
        except EnvironmentFault:
            if settings.weights == "pretrained":
                raise
            say(f"pre-trained weights of {candidate.model} cannot be had here: going on without")
            return best
        left = runtime.agree(settings.budget - (time.perf_counter() - began))
        num_images = (
            _workload(trial, sizes, runtime, crew).num_steps(left, rates) * settings.batch_size
        )
        say(
            f"{candidate.model} at {candidate.image_size}×{candidate.image_size}: "
            f"{rates.weighted:.0f} images/s, {num_images:,} images a model in time"
        )
        if num_images < wanted:
            return best
        best = candidate
    return best


def fill_steps(
    settings: Settings,
    material: Material[Split],
    sizes: Sizes,
    runtime: Runtime,
    crew: Runtime,
    spent: float,
    say: Say,
) -> Settings:
    """Settings with `steps` filled in from the budget, if nothing else says how long to train.

    Args:
        material: opened; reading it may be slower than training.
        runtime, crew: as `choose`.
        spent: seconds of the budget that are gone already.

    Raises:
        SettingError: the budget is too small for the smallest run.
    """
    if settings.steps is not None or _has_epochs(settings, sizes):
        return settings
    budget = settings.budget if settings.budget is not None else 1800.0
    began = time.perf_counter()
    rates = _measure(settings, material, sizes, runtime, crew)
    reading = runtime.agree(_reading_rate(settings, material))
    rates = Rates(*(min(rate, reading) for rate in rates))
    spent = runtime.agree(spent + time.perf_counter() - began)
    workload = _workload(settings, sizes, runtime, crew)
    steps = workload.num_steps((budget - spent) * _RESERVE, rates)
    num_stages = workload.num_rounds + 1
    if is_online(settings, sizes):  # as many steps as all rounds after round 0, in one stage
        num_stages = num_rounds_of(settings, sizes) + begins_with_labels(settings, sizes)
    fewest = _FEWEST_STEPS * num_stages
    if steps < fewest:
        needed = 1.1 * (spent + workload.seconds(fewest, rates) / _RESERVE)
        raise SettingError(
            f"budget={budget:.0f}s is too short for this data here; give about {needed:.0f}s, "
            f"or a smaller model= or {_size_keys(material)}"
        )
    steps -= steps % (workload.num_rounds + 1)
    say(
        f"{steps} steps of {settings.batch_size} images for each model "
        f"({rates.weighted:.0f} images/s) to fit {budget / 60:.3g} min"
    )
    return settings.model_copy(update={"steps": steps})


def _size_keys(material: Material[Split]) -> str:
    is_dense = material.catalog.task == "segmentation"
    return "data.crop=, data.max_side=" if is_dense else "data.image_size="


def _settled(settings: Settings, candidate: Candidate, material: Material[Split]) -> Settings:
    """The candidate's settings; a peer with a model of its own has weights where there are some."""
    filled = material.filled(settings, candidate)
    if settings.weights != "auto" or candidate.weights == "none":
        return filled
    peers = {"a": filled.peers.a, "b": filled.peers.b}
    for name, peer in peers.items():
        if peer.model and peer.weights is None:
            own = candidate._replace(model=peer.model)
            if not _is_available(own, settings, material):
                peers[name] = peer.model_copy(update={"weights": "none"})
    return filled.model_copy(update={"peers": filled.peers.model_copy(update=peers)})


def _is_available(candidate: Candidate, settings: Settings, material: Material[Split]) -> bool:
    """Whether a candidate's weights are cached or can be fetched.

    Raises:
        EnvironmentFault: they cannot, and nothing else was asked for.
    """
    if candidate.weights != "pretrained":
        return True
    try:
        build(
            candidate.model,
            len(material.catalog.classes),
            seed=0,
            image_size=candidate.image_size,
            pretrained=True,
            is_dense=material.catalog.task == "segmentation",
        )
    except EnvironmentFault:
        if settings.weights == "pretrained":
            raise
        return False
    return True


def _has_epochs(settings: Settings, sizes: Sizes) -> bool:
    return settings.initial.epochs is not None and (
        settings.student.epochs is not None or not num_rounds_of(settings, sizes)
    )


def _measure(
    settings: Settings, material: Material[Split], sizes: Sizes, runtime: Runtime, crew: Runtime
) -> Rates:
    """The rates of round 0's step, of a student's step, and of labeling, all of one crew."""
    shapes, num_classes = material.shapes(settings), len(material.catalog.classes)
    seconds = min(_MEASURE_LIMIT, (settings.budget or 1800.0) * _MEASURE_SHARE)
    # A plan of one step a stage, to measure just the steps that the run will take.
    stages = plan(settings.model_copy(update={"steps": 1, "folds": 0}), sizes)
    trained = [each for each in stages if isinstance(each, TrainStage) and each.role == "round"]
    kinds = {(each.model, each.preprocessing): each.peer for each in trained}
    measured, alone = [], replace(crew, rank=0, world_size=1)
    for peer in kinds.values():
        first = next(each for each in trained if each.peer == peer)
        students = (each for each in trained if each.peer == peer)
        student = next((each for each in students if each.pseudo or each.online), first)
        plain = replace(first, online=None)
        net = build(
            first.model,
            num_classes,
            seed=0,
            image_size=max(shapes.view),
            pretrained=first.weights == "pretrained",
            is_dense=shapes.is_dense,
        ).to(runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        methods = [
            make_method(_of_one(each, crew.world_size), _same, _same_twice, num_classes, alone)
            for each in (plain, student)
        ]
        measured.append(
            measure(
                net,
                shapes,
                num_classes,
                student.fit,
                methods[0],
                methods[1],
                crew,
                seconds,
            )
        )
    # Two different peers: the rate at which both together get through the same images. All ranks
    # go by the same figures, or they would take different numbers of steps.
    return Rates(
        *(runtime.agree(len(rates) / sum(1 / rate for rate in rates))
          for rates in zip(*measured, strict=True))
    )  # fmt: skip


def _of_one(stage: TrainStage, num_ranks: int) -> TrainStage:
    """The stage with one rank's share of its batch."""
    batch_size, num_labeled = stage.fit.batch_size, stage.fit.num_labeled
    of_one = replace(
        stage.fit, batch_size=batch_size // num_ranks, num_labeled=num_labeled // num_ranks
    )
    return replace(stage, fit=of_one)


def _same(batch: Batch, position: Position) -> Batch:
    return batch


def _same_twice(batch: Batch, position: Position) -> tuple[Batch, Batch]:
    return batch, batch


def _reading_rate(settings: Settings, material: Material[Split]) -> float:
    """Images a second that are handed out."""
    num = min(len(material.catalog), 4 * settings.batch_size)
    began = time.perf_counter()
    material.read(settings, num)
    return num / max(time.perf_counter() - began, 1e-9)


def _workload(settings: Settings, sizes: Sizes, runtime: Runtime, crew: Runtime) -> Workload:
    num_rounds, labels_itself = num_rounds_of(settings, sizes), is_online(settings, sizes)
    has_first_round = begins_with_labels(settings, sizes)
    num_baselines = {"equal": 1, "pair": 2}.get(settings.baseline, 0) if num_rounds else 0
    num_peers = len(peer_names(settings))
    if crew.world_size < runtime.world_size:  # two crews train and label as if for one peer
        num_peers, num_baselines = 1, min(1, num_baselines)
    return Workload(
        batch_size=settings.batch_size,
        num_rounds=0 if labels_itself else num_rounds,  # of labeling
        first_share=first_share(settings, num_rounds) if has_first_round else 0.0,
        num_peers=num_peers,
        num_plain_runs=num_baselines + int(bool(settings.oracle and sizes.num_hidden)),
        num_pool=sizes.num_pool,
        num_runs=settings.folds + 1,
    )
