"""Two real ranks against one process: the same labels, losses and sentences."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rank_work import METHODS, work

from dmt.data.pixel_labels import PixelLabels
from dmt.data.pseudo_labels import ImageLabels
from dmt.engine.runtime import Runtime
from trees import write_image_masks

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two ranks found, what one process found, and where the stores are."""
    folder = tmp_path_factory.mktemp("found")
    scenes = write_image_masks(folder / "scenes", 5, 11, num_test=3, size=(32, 40))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
    common = os.environ | {
        "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }  # fmt: skip
    two = folder / "two"
    two.mkdir()
    ranks = [
        subprocess.Popen(
            [sys.executable, str(here / "rank_work.py"), str(scenes), str(two)],
            env=common | {"RANK": str(rank)}, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    one = work(scenes, folder / "one", Runtime(torch.device("cpu")))
    for rank in ranks:
        _, err = rank.communicate(timeout=240)
        assert rank.returncode == 0, err
    by_rank = [torch.load(two / f"found{rank}.pt", weights_only=True) for rank in range(2)]
    return {"one": one, "two": by_rank, "folder": folder}


def test_labels_and_thresholds_of_images_are_equal_to_the_bit(found) -> None:
    one, two = (ImageLabels(found["folder"] / each / "digits") for each in ("one", "two"))
    assert len(one) == 1400
    assert torch.equal(one.ids, two.ids)
    assert torch.equal(one.label, two.label)
    assert torch.equal(one.code, two.code)
    assert torch.equal(one.is_selected, two.is_selected)
    assert torch.equal(one.cut().code, two.cut().code)
    assert (found["folder"] / "two" / "digits" / "label.part1.npy").is_file()


def test_labels_and_thresholds_of_pixels_are_equal_to_the_bit(found) -> None:
    one, two = (PixelLabels(found["folder"] / each / "scenes") for each in ("one", "two"))
    assert one.ids.tolist() == two.ids.tolist()
    assert one.thresholds == two.thresholds
    for id_ in one.ids.tolist():
        for first, second in zip(one.read(id_), two.read(id_), strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("data", ["digits", "scenes"])
def test_every_rank_says_and_judges_what_one_process_does(found, data: str) -> None:
    for rank in found["two"]:
        assert rank[data] == found["one"][data]


@pytest.mark.parametrize("method", METHODS)
def test_a_step_of_two_ranks_is_that_of_one(found, method: str) -> None:
    """Mixup pairs among them: only the order of additions differs."""
    one = found["one"][method]
    for rank in found["two"]:
        torch.testing.assert_close(rank[method], one, rtol=1e-4, atol=1e-7)
    first, second = (rank[method]["gradient"] for rank in found["two"])
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert sum(float(each.abs().sum()) for each in first) > 0


def test_the_odd_rank_is_named_by_all(found) -> None:
    first, second = (rank["said"] for rank in found["two"])
    assert [each for each in first if "/rank" not in each] == [
        each for each in second if "/rank" not in each
    ]
    assert "rank 1 was given other settings" in first[0]
    assert "sync_batch_norm=true is for CUDA, and this is cpu" in first[1]
    assert "rank 1 was shown other data than the other ranks (2 files against 3" in first[2]
    assert "rank 1 was shown another " in first[3]
    assert "1 images to learn from, and 2 ranks" in first[4]
    assert len(first) == 5


def test_ranks_talk(found) -> None:
    for rank in found["two"]:
        assert rank["talk"]["joined"].tolist() == [0, 1]
        assert rank["talk"]["text"] == "rank 0 ü"
        # (0.9 · 1 + 0.1 + 0.9 · 3 + 0.1) / 2: what BatchNorm kept is the mean of the ranks.
        assert rank["talk"]["mean"].item() == pytest.approx(1.9)
