"""The recipes as the paper states them, and its ablations: a recipe and a method each.

The commands are those of docs/methods.md, taken from there; nothing is trained.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dmt.api import checked_settings, resolved
from dmt.comparisons.words import read_question
from dmt.config import Settings, resolve
from dmt.data.catalog import Catalog
from dmt.data.layouts import open_catalog
from dmt.engine.plan import PRESETS, Sizes, plan
from dmt.engine.stage import LabelStage, Stage, TrainStage, Weights
from tiny_scenes import write_films, write_pairs

METHODS_PAGE = Path(__file__).parents[2] / "docs" / "methods.md"
METHODS = ("supervised", "self-training", "dst", "mutual", "naive", "flip", "online", "dmt")


def _commands() -> list[list[str]]:
    """Every `dmt compare` of the page, as the words behind it."""
    text = METHODS_PAGE.read_text(encoding="utf-8")
    (methods,) = re.findall(r"^\$ M=(\S+)$", text, re.MULTILINE)
    lines = re.findall(r"^\$ dmt compare (.*)$", text, re.MULTILINE)
    return [shlex.split(line.replace("$M", methods)) for line in lines]


COMMANDS = _commands()


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[str, Catalog]]:
    """Of a name on the page, tiny data of that kind."""
    folder = tmp_path_factory.mktemp("data")
    make: dict[str, Callable[[], object]] = {
        "VOC2012": lambda: write_pairs(folder / "VOC2012", "abc"),
        "camvid-half": lambda: write_films(
            folder / "camvid-half", ("0001TP", "0006R0", "0016E5"), 2
        ),
        "cifar10-jpeg": lambda: _write_classes(folder / "cifar10-jpeg"),
    }

    @cache
    def opened(name: str) -> tuple[str, Catalog]:
        if name in make:
            make[name]()
            name = str(folder / name)
        return name, open_catalog(name)

    return opened


def _write_classes(root: Path) -> None:
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (root / part / name).mkdir(parents=True)
            for index in range(3):
                (root / part / name / f"{index}.png").write_bytes(b"")


def stages_of(settings: Settings, sizes: Sizes) -> dict[str, Stage]:
    return {stage.name: stage for stage in plan(settings, sizes)}


def training(stages: dict[str, Stage], name: str) -> TrainStage:
    stage = stages[name]
    assert isinstance(stage, TrainStage)
    return stage


def test_the_page_has_the_ablations_on_all_five() -> None:
    found = [(words[0], words[1].removeprefix("recipe=")) for words in COMMANDS]
    assert list(dict.fromkeys(found)) == [
        ("VOC2012", "voc-1over50"), ("digits", "digits"), ("shapes", "shapes"),
        ("cifar10-jpeg", "cifar10-mini"), ("camvid-half", "camvid"),
    ]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: "-".join(words[:3]))
def test_an_ablation_is_a_method_and_nothing_else(
    words: list[str], catalogs, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("coco-resnet101.pth").touch()
    data, catalog = catalogs(words[0])
    question = read_question(words[1:])
    assert question.methods == METHODS
    schedule = resolved(catalog, data, question.settings).schedule
    assert schedule == "pair"
    sizes = Sizes(200, 10000, 10000, is_dense=catalog.task == "segmentation")
    budgets = set()
    for job in question.jobs[: len(METHODS) - 1]:
        settings = checked_settings(catalog, data, question.words(job, schedule))
        stages = stages_of(settings, sizes)
        preset = PRESETS[job.method]
        trained = [stage for stage in stages.values() if isinstance(stage, TrainStage)]
        own = [stage for stage in trained if stage.role == "round"]
        assert {stage.peer for stage in own} == set("ab"[: preset.num_peers])
        budgets.add(sum(stage.num_images for stage in own) // preset.num_peers)
        budgets.add(training(stages, "baseline/a").num_images)
        learning = [stage for stage in own if stage.pseudo or stage.online]
        weighting = settings.weighting
        wanted = Weights(
            preset.rule, weighting.agreement_gamma, weighting.disagreement_gamma,
            weighting.ramp and preset.online is None,
        )  # fmt: skip
        assert {stage.weighting for stage in learning} == {wanted}
        teachers = {
            (stage.peer, stage.student)
            for stage in stages.values()
            if isinstance(stage, LabelStage)
        }
        if job.method == "online":
            (stage,) = learning
            assert stage.online is not None
            assert (stage.online.kind, stage.online.threshold) == ("confident", 0.9)
            assert stage.online.is_same_view
            assert not teachers
        else:
            assert teachers == ({("a", "a")} if preset.num_peers == 1 else {("a", "b"), ("b", "a")})
    assert len(budgets) == 1, "as many images each, and the supervised model too"


_VOC: dict[str, Any] = {
    "model": "deeplab_v2:resnet101:6-12", "batch_size": 8, "num_labeled": 1, "gamma": 5,
    "initial_lr": 0.002, "lr": 0.001, "lr_schedule": "poly", "epochs": 4, "ramp": False,
}  # fmt: skip
_CITYSCAPES = _VOC | {
    "num_labeled": 2, "gamma": 3, "initial_lr": 0.004, "lr": 0.004, "epochs": 10
}  # fmt: skip
_CIFAR10: dict[str, Any] = {
    "model": "wrn_28_2", "batch_size": 512, "gamma": 4, "initial_lr": 0.2, "lr": 0.1,
    "lr_schedule": "cosine", "epochs": 750, "ramp": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "num_labels", "num_pool", "paper"),
    [
        ("voc-1over106", 100, 10482, _VOC | {"initial_epochs": 300}),
        ("voc-1over50", 211, 10371, _VOC | {"initial_epochs": 134}),
        ("voc-1over20", 530, 10052, _VOC | {"initial_epochs": 134}),
        ("voc-1over8", 1322, 9260, _VOC | {"initial_epochs": 85}),
        ("voc-1464", 1464, 9118, _VOC | {"initial_epochs": 85, "epochs": 5}),
        ("cityscapes-1over8", 371, 2604, _CITYSCAPES | {"initial_epochs": 170}),
        ("cityscapes-1over30", 100, 2875, _CITYSCAPES | {"initial_epochs": 630}),
        ("cifar10-4000", 4000, 45800, _CIFAR10 | {"initial_epochs": 543, "num_labeled": 64}),
        ("cifar10-1000", 1000, 48800, _CIFAR10 | {"initial_epochs": 2120, "num_labeled": 16}),
    ],
)
def test_hyper_parameters_of_the_paper(
    recipe: str, num_labels: int, num_pool: int, paper: dict[str, Any]
) -> None:
    settings = resolve([f"recipe={recipe}"], dataset=None, default_recipe=None)
    is_dense = not recipe.startswith("cifar")
    stages = stages_of(settings, Sizes(num_labels, num_pool, 0, is_dense=is_dense))
    first = training(stages, "round0/a")
    assert first.model == paper["model"]
    assert first.fit.num_steps == round(paper["initial_epochs"] * num_labels / paper["batch_size"])
    for stage in (each for each in stages.values() if isinstance(each, TrainStage)):
        fit = stage.fit
        assert (fit.optimizer, fit.momentum, fit.weight_decay) == ("sgd", 0.9, 5e-4)
        assert (fit.lr_schedule, fit.lr_span) == (paper["lr_schedule"], None), "it restarts"
        assert fit.lr == paper["lr" if stage.pseudo else "initial_lr"]
        assert fit.batch_size == paper["batch_size"]
        assert fit.mixup == (0 if is_dense else 0.75)
        assert fit.ema_decay == (0 if is_dense else 0.999)
        assert is_dense or fit.keep_max == bool(stage.pseudo)
        if stage.pseudo:
            assert fit.num_labeled == paper["num_labeled"]
            gamma = paper["gamma"]
            assert stage.weighting == Weights("dmt", gamma, gamma, paper["ramp"])
            # A pass over the pool, of images over those that are selected.
            share = 1 if is_dense else stage.round / 5
            images = paper["epochs"] * int(share * num_pool + 0.5)
            assert fit.num_steps == round(images / (fit.batch_size - fit.num_labeled))
            # A pair goes on from its own weights, a chain begins anew.
            assert stage.start == (f"round{stage.round - 1}/{stage.peer}" if is_dense else None)
    labelings = [each for each in stages.values() if isinstance(each, LabelStage)]
    assert [each.fraction for each in labelings if each.peer == "a"] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1.0]
    )
    assert {each.is_class_balanced for each in labelings} == {is_dense}
    assert {each.peer for each in labelings} == ({"a", "b"} if is_dense else {"a"})


@pytest.mark.parametrize("recipe", ["voc-1over50", "cityscapes-1over8"])
def test_peers_of_the_paper_begin_differently(recipe: str) -> None:
    """One from COCO on BGR 0–255 less a mean, the other as its network has it."""
    settings = resolve([f"recipe={recipe}"], dataset=None, default_recipe=None)
    stages = stages_of(settings, Sizes(211, 10371, 0, is_dense=True))
    first, second = training(stages, "round0/a"), training(stages, "round0/b")
    assert (first.weights, second.weights) == ("coco-resnet101.pth", "pretrained")
    assert first.preprocessing.channel_order == "bgr"
    assert first.preprocessing.std == pytest.approx((1 / 255,) * 3, abs=1e-8)
    assert second.preprocessing.mean is None
    data = settings.data
    assert data.scale == (0.5, 1.5)
    assert data.crop == ((321, 321) if recipe.startswith("voc") else (256, 512))
    assert data.max_side == (None if recipe.startswith("voc") else 1024)
