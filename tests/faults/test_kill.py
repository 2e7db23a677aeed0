"""A run that is killed at any named point, or at any moment, ends as if nothing had happened."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest
from harness import (
    KILLED,
    OF_COMPARING,
    OF_RESUMING,
    Case,
    Whole,
    Zygote,
    assert_equal,
    cases,
    finish,
    kill_at,
    occurrence,
    points_of,
    set_workers,
    undisturbed,
)
from power_loss import Survives

from dmt.faults import FILES, POINTS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")

_OF_IMAGES = ("ids.npy", "label.npy", "code.npy", "manifest.json")
_OF_LABELING = (*_OF_IMAGES, "labels removed", "labeling")
_FOUR = ("digits-pair", "digits-chain", "scenes-pair", "scenes-chain")
# Some of everything: files of each kind at each step, the record, the loops, the ends.
_SOME = [
    ("digits-pair", ".lock taken"),
    ("digits-pair", "data.json written"),
    ("digits-pair", "metrics.jsonl half"),
    ("digits-pair", "metrics.jsonl cut"),
    ("digits-pair", "state.pt half"),
    ("digits-pair", "state.pt renamed"),
    ("digits-pair", "model.safetensors synced"),
    ("digits-pair", "progress.json renamed"),
    ("digits-online", "step gradients"),
    ("digits-online", "state.pt renamed"),
    ("digits-online", "model.safetensors kept@1"),  # of peer a, before that of b
    ("digits-chain", "step gradients"),
    ("digits-chain", "code.npy kept"),
    ("digits-chain", "summary.json kept"),
    ("digits-pair", "examples.json half"),
    ("scenes-chain", "examples.json kept"),
    ("scenes-pair", "part0.planes half"),
    ("scenes-pair", "part0.json opened"),
    ("scenes-pair", "judge done"),
    ("scenes-chain", "part0.spool added"),
    ("scenes-chain", "step recorded"),
]
_SOME_CUTS: list[tuple[str, str, Survives]] = [
    ("digits-pair", "progress.json renamed", "names"),
    ("digits-pair", "state.pt kept", "nothing"),
    ("digits-pair", "stage finished@3", "names"),  # a labeling
    ("scenes-pair", "part0.json renamed", "names"),
]


def _points(name: str) -> list[str]:
    other = (*OF_COMPARING, *(_OF_IMAGES if name.startswith("scenes") else ("part0.",)))
    if name.endswith("online"):
        other += _OF_LABELING
    return [point for point in POINTS if not point.startswith(other)]


_ALL = [(name, point) for name in (*_FOUR, "digits-online") for point in _points(name)]
_ALL_CUTS: list[tuple[str, str, Survives]] = [
    (name, point, survives)
    for name, begins in (("digits-pair", ""), ("scenes-chain", "part0."))
    for point in _points(name)
    if point.startswith(begins) and point not in OF_RESUMING
    for survives in get_args(Survives)
    # Names without content make a difference where files are written, nowhere else.
    if survives == "nothing" or point.startswith((*FILES, "state", "metrics"))
]


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as opened:
        yield opened


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    return cases(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(
    zygote: Zygote, data: dict[str, Case], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Whole]:
    """The undisturbed run of a case, done once."""
    done: dict[str, Whole] = {}

    def get(name: str) -> Whole:
        if name not in done:
            done[name] = undisturbed(zygote, data[name], tmp_path_factory.mktemp("whole") / "in")
        return done[name]

    return get


def test_every_point_is_in_the_table_and_reached(zygote, whole, tmp_path: Path) -> None:
    seen = whole("digits-pair").points + whole("scenes-pair").points
    kill_at(zygote, whole("digits-pair"), "metrics.jsonl cuts", tmp_path / "in")
    seen += zygote.points(("resume", "run"), tmp_path / "in")
    assert sorted([*seen, *OF_COMPARING]) == sorted(POINTS)
    for name in ("digits-pair", "scenes-pair", "digits-online"):
        assert points_of(whole(name)) == _points(name)


def test_the_comparison_sees_a_difference(whole, tmp_path: Path) -> None:
    run = whole("digits-pair").run
    for name, old, new in (
        ("metrics.jsonl", b'"loss": ', b'"loss": 1'),
        ("metrics.jsonl", b'{"event": "finished"', b'{"event": "ended"'),
        ("summary.json", b'"num_held_out": ', b'"num_held_out": 1'),
        ("rounds/1/a/model.safetensors", b"F32", b"F16"),
    ):
        copy = tmp_path / "copy"
        shutil.copytree(run, copy)
        assert_equal(copy, run)
        content = (copy / name).read_bytes()
        assert old in content
        (copy / name).write_bytes(content.replace(old, new, 1))
        with pytest.raises(AssertionError):
            assert_equal(copy, run)
        shutil.rmtree(copy)


def _kill_and_compare(zygote: Zygote, wanted: Whole, point: str, folder: Path) -> None:
    kill_at(zygote, wanted, point, folder)
    finish(zygote, wanted.case, folder)
    assert_equal(folder / "run", wanted.run)


@pytest.mark.parametrize(("name", "point"), _SOME)
def test_killed_at_a_point(name: str, point: str, zygote, whole, tmp_path: Path) -> None:
    _kill_and_compare(zygote, whole(name), point, tmp_path / "in")


def test_killed_after_the_last_stage_before_its_checkpoint_is_gone(
    zygote, whole, tmp_path: Path
) -> None:
    wanted, point = whole("digits-chain"), "progress.json kept"
    (tmp_path / "in").mkdir()
    last = f"{point}@{wanted.points[point]}"
    assert zygote.call(wanted.case.train, tmp_path / "in", crash_at=last).code == KILLED
    assert (tmp_path / "in" / "run" / "checkpoint" / "state.pt").exists()
    finish(zygote, wanted.case, tmp_path / "in")
    assert_equal(tmp_path / "in" / "run", wanted.run)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "point"), [each for each in _ALL if each not in _SOME])
def test_killed_at_every_point(name: str, point: str, zygote, whole, tmp_path: Path) -> None:
    _kill_and_compare(zygote, whole(name), point, tmp_path / "in")


def _cut_and_compare(
    zygote: Zygote, wanted: Whole, point: str, survives: Survives, folder: Path
) -> None:
    (folder / "in").mkdir(parents=True)
    ended = zygote.call(
        wanted.case.train,
        folder / "in",
        crash_at=point if "@" in point else occurrence(point, wanted.points, wanted.case.name),
        power={"to": str(folder / "after"), "survives": survives},
    )
    assert ended.code == KILLED, ended
    _assert_kept(folder / "in" / "run", folder / "after" / "run")
    if not (folder / "after" / "run").exists():  # not even its name had reached the disk
        assert zygote.call(wanted.case.train, folder / "after").code == 0
    else:
        finish(zygote, wanted.case, folder / "after")
    assert_equal(folder / "after" / "run", wanted.run)


def _assert_kept(killed: Path, left: Path) -> None:
    """Of what the disk showed before the power went, no more is lost than the last thing done."""
    if (killed / "metrics.jsonl").exists() or (killed / "checkpoint").exists():
        assert (left / "data.json").exists()
    assert _num_finished(left) >= _num_finished(killed) - 1


def _num_finished(run: Path) -> int:
    path = run / "checkpoint" / "progress.json"
    return len(json.loads(path.read_text())["finished"]) if path.exists() else 0


@pytest.mark.parametrize(("name", "point", "survives"), _SOME_CUTS)
def test_power_lost_at_a_point(
    name: str, point: str, survives: Survives, zygote, whole, tmp_path: Path
) -> None:
    _cut_and_compare(zygote, whole(name), point, survives, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "point", "survives"), [each for each in _ALL_CUTS if each not in _SOME_CUTS]
)
def test_power_lost_at_every_point(
    name: str, point: str, survives: Survives, zygote, whole, tmp_path: Path
) -> None:
    _cut_and_compare(zygote, whole(name), point, survives, tmp_path)


def _kill_at_random(zygote: Zygote, wanted: Whole, num_kills: int, folder: Path, seed: int) -> int:
    """Kill sessions of one run at random moments, with 0, 1 or 4 threads that read in turn."""
    draw = random.Random(seed)
    folder.mkdir(parents=True)
    began = zygote.call(wanted.case.train, folder, kill_after=draw.uniform(0, wanted.seconds))
    killed = int(began.code == KILLED)
    while killed < num_kills and not (folder / "run" / "summary.json").exists():
        set_workers(folder / "run", draw.choice([0, 1, 4]))
        words = ("resume", "run")
        if not (folder / "run" / "data.json").exists():
            words = wanted.case.train
        killed += (
            zygote.call(words, folder, kill_after=draw.uniform(0, wanted.seconds)).code == KILLED
        )
    finish(zygote, wanted.case, folder)
    assert_equal(folder / "run", wanted.run)
    return killed


def test_killed_at_random_moments(zygote, whole, tmp_path: Path) -> None:
    killed = sum(
        _kill_at_random(zygote, whole(name), 3, tmp_path / name, seed)
        for seed, name in enumerate(("digits-chain", "photos-streamed"))
    )
    assert killed >= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", [*_FOUR, "scenes-streamed", "photos-streamed", "shapes-pair"])
def test_killed_twenty_times_at_random_moments(name: str, zygote, whole, tmp_path: Path) -> None:
    killed = trial = 0
    while killed < 20 and trial < 100:
        folder = tmp_path / str(trial)
        killed += _kill_at_random(zygote, whole(name), 20 - killed, folder, trial)
        trial += 1
    assert killed == 20
