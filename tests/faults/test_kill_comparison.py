"""A comparison that is killed, and asked again, ends as if nothing had happened.

Single runs are in `test_kill`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import KILLED, OF_COMPARING, Zygote, assert_equal, timeless

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")

_WORDS = (
    "compare", "digits", "methods=supervised,self-training,dmt-online", "seeds=0", "steps=4",
    "rounds=1", "model=wrn_10_1", "batch_size=16", "device=cpu", "data.val_per_class=2",
    "labels_per_class=2", "selection.fractions=[1]", "checkpoint_every=1e-9", "out=c",
)  # fmt: skip
_RUNS = ("self-training-s0", "dmt-online-s0")


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as opened:
        yield opened


@pytest.fixture(scope="module")
def whole(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Counter[str]]:
    """The comparison that nobody killed, and how often it reached each point."""
    folder = tmp_path_factory.mktemp("whole")
    return folder / "c", zygote.points(_WORDS, folder)


def _shared(path: Path) -> dict[str, object]:
    return {
        each.name: timeless(json.loads(each.read_text()))
        if each.suffix == ".json"
        else each.read_bytes()
        for each in (path / "shared").iterdir()
    }


def test_every_point_is_reached(whole: tuple[Path, Counter[str]]) -> None:
    # Round 0 and the baseline of self-training are kept and taken by dmt-online, which keeps round
    # 0 of its second peer.
    assert [whole[1][point] for point in OF_COMPARING] == [3, 3, 2]


def test_killed_again_and_again(
    zygote: Zygote, whole: tuple[Path, Counter[str]], tmp_path: Path
) -> None:
    for point in (
        "compare.json renamed",
        "shared network kept",
        "shared stage kept",  # by self-training, which takes its own stage when it goes on
        "shared stage taken",
        "shared stage kept",  # the baseline
        "shared stage taken",  # round 0 of peer a, by dmt-online
        "shared stage kept",  # that of peer b
        "state.pt renamed",  # in the steps of dmt-online's two peers
        "model.safetensors kept@1",  # of peer a, before that of b
        "shared stage taken",  # the baseline, by dmt-online
        "compare.json half",
    ):
        ended = zygote.call(_WORDS, tmp_path, crash_at=point)
        assert ended.code == KILLED, (point, ended)
    ended = zygote.call(_WORDS, tmp_path)
    assert ended.code == 0, ended.err
    path, _ = whole
    for run in _RUNS:
        assert_equal(tmp_path / "c" / run, path / run)
    assert _shared(tmp_path / "c") == _shared(path)
    found, wanted = (
        timeless(json.loads((each / "compare.json").read_text())) for each in (tmp_path / "c", path)
    )
    assert found == wanted
