"""What labeling a pool holds in memory, in a process of its own: not the pool."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_BEGIN = """
import resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
def highest():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
"""
_PIXELS = """
from dmt.data.pixel_labels import PixelLabelWriter
def write(num):
    writer = PixelLabelWriter(Path(sys.argv[1]), 4)
    label, code = torch.randint(4, (128, 128)), torch.randint(1 << 16, (128, 128))
    for id in range(num):
        writer.add(id, label.roll(id), code.roll(id))
    writer.finish(writer.counts, fraction=0.5, is_class_balanced=True, seed=0, where="x", workers=2)
write(40)
before = highest()
write(640)
print(highest() - before)
"""
_IMAGES = """
from dmt.data.pseudo_labels import ImageLabels
def write(num):
    label = torch.randint(10, (num,), dtype=torch.int32)
    code = torch.randint(1 << 16, (num,), dtype=torch.int32)
    ImageLabels.write(Path(sys.argv[1]), torch.arange(num), label, code, 10, fraction=0.5,
                      is_class_balanced=False, seed=0, where="x")
write(10_000)
before = highest()
write(1_010_000)
print(highest() - before)
"""


def _added(script: str, folder: Path) -> int:
    """Bytes that the larger pool asks for beside the smaller one."""
    words = [sys.executable, "-c", _BEGIN + script, str(folder)]
    return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def test_pixels_are_not_held(tmp_path: Path) -> None:
    planes = 600 * 128 * 128 * 3  # a byte of label and two of confidence a pixel
    assert _added(_PIXELS, tmp_path) < planes / 4


def test_an_image_takes_less_than_a_hundred_bytes(tmp_path: Path) -> None:
    assert _added(_IMAGES, tmp_path) < 100 * 1_000_000
