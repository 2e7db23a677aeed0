"""Settings that are fine alone and mean nothing together, or to a task or method: refused here."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

from dmt.config import Peers, Settings
from dmt.data.catalog import Catalog
from dmt.engine.plan import HYPER_PARAMETERS, PRESETS, is_continuing, peer_names
from dmt.errors import SettingError

# Keys that one of the tasks knows nothing of: taken silently, they would mean nothing.
_OF_SEGMENTATION = {
    "aspp_dilations", "allow_unlabeled_classes",
    *(f"data.{name}" for name in (
        "max_side", "crop", "photometric", "window", "overlap", "group", "block", "test_group",
        "labeled_list", "val_images",
    )),
    "online.photometric", "online.cutmix",
}  # fmt: skip
_OF_CLASSIFICATION = {
    "labels_per_class",
    *(f"data.{name}" for name in (
        "image_size", "shift", "rotate", "fill", "randaugment", "magnitude", "cutout",
        "val_per_class", "unlabeled", "large_pool",
    )),
    "online.randaugment", "online.cutout",
}  # fmt: skip
# `rounds` and `selection.fractions` are not among them: with epochs they say how long an online
# method trains.
_OF_ROUNDS = {"schedule", "peers.labeled_subset", "selection.kind", "weighting.ramp"}
_ROUNDS, _NONE = "rounds that begin with a labeling", "labels at every step"
_IN_A_CHAIN = {"mutual": "self-training", "dst": "dmt"}  # whose plan is that of another there
_OF_STRONG_VIEW = {f"online.{name}" for name in ("randaugment", "cutout", "photometric", "cutmix")}


def check_task(catalog: Catalog, keys: Collection[str]) -> None:
    """Refuse keys that the data's task does not know.

    Raises:
        SettingError: the first of them.
    """
    is_dense = catalog.task == "segmentation"
    for key in sorted(set(keys) & (_OF_CLASSIFICATION if is_dense else _OF_SEGMENTATION)):
        other = "images with one label each" if is_dense else "segmentation"
        raise SettingError(
            f"{key} is for {other}, but {catalog.name} is a {catalog.task}; leave it out"
        )


def foreign_keys(
    method: str, keys: Collection[str], schedule: Literal["pair", "chain"] = "pair"
) -> set[str]:
    """Those of the keys that mean nothing to a method, whatever their values.

    Args:
        method: its name.
        keys: dotted.
        schedule: of methods with rounds; in a chain there is no second peer.
    """
    preset = PRESETS[method]
    online = preset.online
    is_single = preset.num_peers == 1 or (online is None and schedule == "chain")
    of_rounds = _OF_ROUNDS - ({"peers.labeled_subset"} if preset.has_first_round else set())
    if online is not None and online.fractions is not None:
        of_rounds -= {"selection.kind"}

    def is_foreign(key: str) -> bool:
        if key.startswith("peers.b.") or (key == "peers.labeled_subset" and is_single):
            return is_single
        if online is None or not key.startswith("online."):
            return key in of_rounds if online else key.startswith("online.")
        name = key.removeprefix("online.")
        return (
            (key in _OF_STRONG_VIEW and online.is_same_view)
            or (name in {"gamma_ramp", "teacher"} and preset.rule == "ones")
            or (name in HYPER_PARAMETERS and getattr(online, name) is None)
        )

    return {key for key in keys if is_foreign(key)}


def check_method(catalog: Catalog, settings: Settings, typed: Collection[str]) -> None:
    """Refuse a method that the task has not, and settings that mean nothing to it.

    Raises:
        SettingError: the first of them.
    """
    name, preset = settings.method, PRESETS[settings.method]
    if catalog.task not in preset.tasks:
        others = ", ".join(other for other, each in PRESETS.items() if catalog.task in each.tasks)
        raise SettingError(
            f"method={name} is for images with one label each, but {catalog.name} is a "
            f"{catalog.task}; there are {others}"
        )
    of_online = sorted(key for key in typed if key.startswith("online."))
    if preset.online is None:
        if of_online:
            others = ", ".join(other for other, each in PRESETS.items() if each.online)
            raise SettingError(
                f"{of_online[0]} is for methods that label at every step ({others}), not for "
                f"method={name}; leave it out"
            )
        twin = _IN_A_CHAIN.get(name)
        if settings.schedule == "chain" and twin is not None:
            raise SettingError(
                f"with schedule=chain method={name} is {twin} under another name, as every round "
                f"has one new network; set method={twin} or schedule=pair"
            )
        return
    ignored = sorted(foreign_keys(name, [*of_online, *({"selection.kind"} & set(typed))]))
    for is_wrong, sentence in (
        (bool(ignored), f"{(ignored or [''])[0]} means nothing to method={name}; leave it out"),
        (
            settings.schedule == "chain",
            f"schedule=chain is for {_ROUNDS}, and method={name} {_NONE}; leave it out",
        ),
        (
            settings.peers.labeled_subset == "dms" and not preset.has_first_round,
            f"peers.labeled_subset=dms is for {_ROUNDS}, and method={name} shows both peers the "
            "same batches; leave it out",
        ),
        (
            settings.baseline == "round0",
            f"baseline=round0 is for {_ROUNDS}, and method={name} {_NONE}; set baseline=equal",
        ),
        (
            "weighting.ramp" in typed,
            f"weighting.ramp is for {_ROUNDS}, and method={name} {_NONE}; set online.gamma_ramp",
        ),
        (
            preset.online.teacher == "average" and not settings.student.ema_decay,
            f"method={name} learns from averaged weights; set student.ema_decay above 0",
        ),
        (
            settings.online.teacher == "peer-average" and not settings.student.ema_decay,
            "online.teacher=peer-average is of averaged weights; set student.ema_decay above 0",
        ),
        (
            "student.start" in typed and settings.student.start == "fresh",
            f"student.start=fresh is for {_ROUNDS}, and method={name} {_NONE}; leave it out",
        ),
    ):
        if is_wrong:
            raise SettingError(sentence)


def check_combinations(settings: Settings, typed: Collection[str]) -> None:
    """Refuse settings that would be taken and then mean nothing.

    Raises:
        SettingError: the first such pair, and what to set instead.
    """
    is_single = len(peer_names(settings)) == 1
    is_over_run = settings.student.lr_span == "run"
    fractions = settings.selection.fractions
    for is_wrong, sentence in (
        (
            settings.init_from is not None and bool(settings.folds),
            "folds judges by labels that init_from's run has seen; leave one of the two out",
        ),
        (
            is_over_run and not is_continuing(settings),
            "student.lr_span=run needs schedule=pair and student.start=continue; set "
            "student.lr_span=stage",
        ),
        (
            is_over_run and settings.baseline == "round0",
            "baseline=round0 would compare with a model whose learning rate is still high; set "
            "student.lr_span=stage, or baseline=equal",
        ),
        (
            settings.oracle and bool(settings.folds),
            "oracle=true is not judged with folds; leave one of them out",
        ),
        (
            fractions is not None and len(fractions) != settings.rounds,
            f"selection.fractions names {len(fractions or [])} for rounds={settings.rounds}; "
            "give one a round, or leave it out",
        ),
        (
            is_single and settings.peers.b != Peers().b,
            f"peers.b is set, but method={settings.method} schedule={settings.schedule} trains "
            "one model at a time; leave it out",
        ),
        (
            is_single and settings.peers.labeled_subset == "dms",
            "peers.labeled_subset=dms makes two peers different; it needs schedule=pair and a "
            "method of two models",
        ),
        (
            bool(settings.aspp_dilations)
            and not any(
                re.fullmatch(r"deeplab_v2:[^:]+", name or settings.model)
                for name in (settings.model, settings.peers.a.model, settings.peers.b.model)
            ),
            "aspp_dilations is for model=deeplab_v2:BACKBONE without dilations in its name; leave "
            "one of the two out",
        ),
        (
            "data.overlap" in typed and settings.data.window is None,
            "data.overlap is of windows; set data.window= as well, or leave it out",
        ),
        (
            settings.parallel_peers and (is_single or PRESETS[settings.method].online is not None),
            f"parallel_peers=true is for two peers in {_ROUNDS}, which method={settings.method} "
            f"schedule={settings.schedule} has not; leave it out",
        ),
        (
            settings.shard and settings.precision == "fp16",
            "shard=true is for bf16 and fp32; the scaled gradients of fp16 were not tried with it",
        ),
        (
            settings.shard and settings.parallel_peers,
            "shard=true and parallel_peers=true were not tried together; leave one of the two out",
        ),
        (
            settings.shard and settings.sync_batch_norm,
            "shard=true and sync_batch_norm=true were not tried together; leave one of the two out",
        ),
        (
            is_single and settings.baseline == "pair",
            "baseline=pair is for a pair of peers; set baseline=equal",
        ),
    ):
        if is_wrong:
            raise SettingError(sentence)
