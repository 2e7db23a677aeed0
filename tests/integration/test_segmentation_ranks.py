"""Two processes that train a segmentation together: the pseudo labels are those of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dmt.core import predict
from dmt.data.layouts import open_catalog
from dmt.data.pixel_labels import PixelLabels, PixelLabelWriter
from dmt.data.scenes import open_scenes
from dmt.engine.runtime import Runtime
from dmt.engine.scene_forward import Inference, forward_scenes
from dmt.models.weights import restore
from tiny_scenes import WORDS, pixels_of
from trees import write_image_masks

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """The data, a run of two rounds on it, and what it printed."""
    folder = tmp_path_factory.mktemp("ranks")
    # An odd number of pool images: the ranks' shares differ.
    data = write_image_masks(folder / "scenes", 5, 5, num_test=3, size=(32, 40))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "dmt", "train", str(data), *WORDS, "batch_size=4", "steps=6", "rounds=2",
         "student.labeled_share=0.5", "workers=0", "precision=fp32", "out=run", "--json"],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return data, folder / "run", done.stdout


def test_one_voice_one_record_one_table(two_ranks) -> None:
    data, run, out = two_ranks
    summary = json.loads(out)
    assert summary["hardware"].endswith("2 processes")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    keys = [(line["event"], line["stage"], line.get("step"), line.get("kind")) for line in lines]
    assert len(keys) == len(set(keys))
    assert summary["images_seen"]["trained"] == 2 * 6 * 4
    # Every held-out pixel is counted once, whichever rank saw it.
    num_pixels = sum(
        int((pixels_of(path) != 255).sum()) for path in (data / "test" / "masks").iterdir()
    )
    assert all(np.sum(each["counts"]) == num_pixels for each in summary["confusion"])


def test_pseudo_labels_of_two_ranks_are_those_of_one(two_ranks, tmp_path: Path) -> None:
    """The same weights, the same pool, one process: every pixel, and which of them are kept."""
    data, run, _ = two_ranks
    together = PixelLabels(run / "rounds/1/a/pseudo_labels")
    assert len(together) == 5
    network = restore(run / "rounds/0/a/model.safetensors").eval()
    network = network.to(memory_format=torch.channels_last)  # as in a run: rounding may differ
    pool, _ = open_scenes(open_catalog(data), max_side=None, workers=0, memory_limit=1 << 30,
                          bad_images="stop")  # fmt: skip
    runtime = Runtime(torch.device("cpu"))
    writer = PixelLabelWriter(tmp_path / "alone", 3)
    for id_, logits in forward_scenes(network, pool, together.ids, Inference(), runtime, 0):
        said = predict(logits.unsqueeze(0))
        writer.add(id_, said.label[0], said.code[0])
    writer.finish(writer.counts, fraction=together.fraction, is_class_balanced=True, seed=0,
                  where="round1/label/a", num_parts=1)  # fmt: skip
    alone = PixelLabels(tmp_path / "alone")
    assert alone.num_predicted.tolist() == together.num_predicted.tolist()
    assert alone.num_selected.tolist() == together.num_selected.tolist()
    for id_ in together.ids.tolist():
        one, two = alone.read(id_), together.read(id_)
        np.testing.assert_array_equal(one.label, two.label)
        np.testing.assert_array_equal(one.is_selected, two.is_selected)
        np.testing.assert_array_equal(one.confidence, two.confidence)
