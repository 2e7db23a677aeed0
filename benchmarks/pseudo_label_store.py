"""How small, how exact and how fast the store of pixels' pseudo labels is, on a network's maps.

Run `python benchmarks/pseudo_label_store.py FOLDER [--steps 120] [--threads 1]`; FOLDER holds
`images/`, `masks/` (index PNG, 255 left out) of one size and `classes.txt`. A small U-Net learns
from every eighth frame and labels the others, once when it has hardly begun (noisy maps, the worst
case) and once at the end. Compared with planes of float32: 4 bytes a pixel each for label and
confidence, the most confident share of each class kept exactly, ties by the same hash. Speeds are
ratios to training steps and to decoding the frame itself, taken in turns. No correctness is
checked here.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from dmt.core import (
    IGNORE_INDEX,
    cut_histogram,
    decode_confidence,
    histogram,
    predict,
    tie_bits,
)
from dmt.core.levels import make_levels
from dmt.data.decode import decode
from dmt.data.pixel_labels import NUM_BELOW, PixelLabels, PixelLabelWriter
from dmt.data.pixel_planes import pack_label, pack_level

BATCH = 4
FLOAT_BYTES = 8  # a pixel: label and confidence as float32
SEED, WHERE = 0, "benchmark"


class Maps(NamedTuple):
    """What a network says of all frames."""

    label: Tensor  # int64 (N, H, W)
    confidence: Tensor  # float32 (N, H, W)
    code: Tensor  # int32 (N, H, W)


class Frames(NamedTuple):
    paths: list[Path]
    images: Tensor  # uint8 (N, 3, H, W)
    masks: Tensor  # int64 (N, H, W)
    num_classes: int


def load(folder: Path) -> Frames:
    paths = sorted((folder / "images").iterdir())
    images = np.stack([decode(path) for path in paths])
    masks = [np.asarray(Image.open(folder / "masks" / f"{path.stem}.png")) for path in paths]
    num_classes = len((folder / "classes.txt").read_text().split())
    channels_first = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return Frames(paths, channels_first, torch.from_numpy(np.stack(masks)).long(), num_classes)


class Network(nn.Module):
    """A small U-Net that takes bytes of any size."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        import segmentation_models_pytorch as smp

        encoder = "tu-mobilenetv3_small_100"
        self.net = smp.Unet(encoder, encoder_weights=None, classes=num_classes)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        normal = F.pad((images.float() - 110) / 60, (0, -width % 32, 0, -height % 32))
        logits: Tensor = self.net(normal)
        return logits[:, :, :height, :width]


class Trainer:
    """Plain supervised steps at full size, the same at any time."""

    def __init__(self, frames: Frames, labeled: Tensor, num_steps: int) -> None:
        torch.manual_seed(SEED)
        self.net = Network(frames.num_classes)
        self._frames, self._labeled = frames, labeled
        self._optimizer = torch.optim.AdamW(self.net.parameters(), 3e-3)
        self._schedule = torch.optim.lr_scheduler.PolynomialLR(self._optimizer, num_steps, 0.9)

    def step(self) -> None:
        self.net.train()
        ids = self._labeled[torch.randint(len(self._labeled), (BATCH,))]
        images, masks = self._frames.images[ids], self._frames.masks[ids]
        if torch.rand(()) < 0.5:
            images, masks = images.flip(3), masks.flip(2)
        loss = F.cross_entropy(self.net(images), masks, ignore_index=IGNORE_INDEX)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._schedule.step()


@torch.no_grad()
def label_all(net: nn.Module, images: Tensor) -> Maps:
    net.eval()
    found = [predict(net(batch)) for batch in images.split(BATCH)]
    return Maps(*(torch.cat(each) for each in zip(*found, strict=True)))


def float_selection(maps: Maps, fraction: float, num_classes: int) -> NDArray[np.bool_]:
    """round(α·N) of each class by float32 confidence, ties by hash: bool (N·H·W,)."""
    label, confidence = maps.label.view(-1).numpy(), maps.confidence.view(-1).numpy()
    kept = np.zeros(len(label), np.bool_)
    num_pixels = maps.label[0].numel()
    for each in range(num_classes):
        members = (label == each).nonzero()[0]
        num_keep = int(np.floor(fraction * len(members) + 0.5))
        if num_keep == 0:
            continue
        values = confidence[members]
        lowest = np.partition(values, len(values) - num_keep)[len(values) - num_keep]
        kept[members[values > lowest]] = True
        tied = torch.from_numpy(members[values == lowest])
        ties = tie_bits(SEED, WHERE, tied // num_pixels, tied % num_pixels)
        num_ties = num_keep - int((values > lowest).sum())
        kept[tied[ties.argsort()[:num_ties]].numpy()] = True
    return kept


def write_store(folder: Path, maps: Maps, fraction: float, num_classes: int) -> float:
    """Write it; seconds that packing took."""
    writer = PixelLabelWriter(folder, num_classes)
    for id, (label, code) in enumerate(zip(maps.label, maps.code, strict=True)):
        writer.add(id, label, code)
    start = time.perf_counter()
    writer.finish(writer.counts, fraction=fraction, is_class_balanced=True, seed=SEED, where=WHERE)
    return time.perf_counter() - start


def in_turns(ways: dict[str, Callable[[], object]], repeats: int = 7) -> dict[str, float]:
    """Median seconds of each way."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, call in ways.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def show_stores(maps: Maps, frames: Frames, others: Tensor, trainer: Trainer) -> None:
    num_images, num_pixels = len(maps.label), maps.label.numel()
    print("   share  bytes/pixel  float32/store  selected differs  packing    reading one thread")
    for fraction in (0.2, 0.5, 1.0):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            seconds = write_store(folder, maps, fraction, frames.num_classes)
            store = PixelLabels(folder)
            ids = [row * num_images // 40 for row in range(40)]

            def read(store: PixelLabels = store, ids: list[int] = ids) -> None:
                for id in ids:
                    store.read(id)

            def read_frames(ids: list[int] = ids) -> None:
                for id in ids:
                    decode(frames.paths[int(others[id])])

            took = in_turns({"read": read, "jpeg": read_frames, "step": trainer.step})
            speed = len(ids) / took["read"]
            ours = np.concatenate([store.read(id).is_selected.ravel() for id in range(num_images)])
            exact = float_selection(maps, fraction, frames.num_classes)
            print(
                f"   {fraction:5.1f}{store.num_bytes / num_pixels:13.4f}"
                f"{FLOAT_BYTES * num_pixels / store.num_bytes:15.1f}"
                f"{(ours != exact).sum() / exact.sum():18.4%}"
                f"{num_pixels / seconds / 1e6:6.1f} Mpx/s"
                f"{speed:9.0f} images/s = {speed * num_pixels / num_images / 1e6:.0f} Mpx/s"
                f" = {speed * took['step'] / BATCH:.0f} × training,"
                f" {took['jpeg'] / took['read']:.1f} × decoding the frame"
            )


def show_levels(maps: Maps, student: Maps, num_classes: int) -> None:
    """How much finer levels cost and what they buy, on every eighth frame."""
    counts = histogram(maps.label, maps.code, num_classes)
    teacher, student = (Maps(*(plane[::8] for plane in each)) for each in (maps, student))
    is_surer = teacher.confidence >= student.confidence
    differs = teacher.label != student.label
    code_error = (decode_confidence(teacher.code) - teacher.confidence).abs().mean()
    print(f"   16-bit codes alone: mean |Δ confidence| {float(code_error):.6f}")
    print("   share  levels kept  bytes/pixel  mean |Δ|  c_T ≥ c_S flips  of disagreements")
    for fraction in (0.2, 1.0):
        cut = cut_histogram(counts, fraction, is_class_balanced=True)
        for num_above in (8, 16, 32, 64, 128):
            levels = make_levels(counts, cut, NUM_BELOW, num_above)
            level = levels.of_code[teacher.label, teacher.code.long()]
            confidence = levels.confidence[teacher.label, level.long()]
            kept = level >= NUM_BELOW
            flips = (confidence >= student.confidence) != is_surer
            num_bytes = sum(
                len(pack_label(label.byte().numpy())) + len(pack_level(plane.numpy()))
                for label, plane in zip(teacher.label, level, strict=True)
            )
            error = (confidence - teacher.confidence).abs()[kept].mean()
            print(
                f"   {fraction:5.1f}{num_above:13d}{num_bytes / level.numel():13.4f}"
                f"{float(error):10.5f}{float(flips[kept].float().mean()):17.3%}"
                f"{float(flips[kept & differs].float().mean()):18.3%}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=120, help="of four images each")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    assert arguments.steps >= 3, "a beginning, a student and an end are needed"
    torch.set_num_threads(arguments.threads)
    frames = load(arguments.folder)
    is_labeled = torch.arange(len(frames.paths)) % 8 == 0
    others = (~is_labeled).nonzero().squeeze(1)
    trainer = Trainer(frames, is_labeled.nonzero().squeeze(1), arguments.steps)
    nets: dict[int, nn.Module] = {}
    noisy, student = max(1, arguments.steps // 12), arguments.steps * 2 // 3
    for step in range(1, arguments.steps + 1):
        trainer.step()
        if step in (noisy, student, arguments.steps):
            nets[step] = copy.deepcopy(trainer.net)
    images, masks = frames.images[others], frames.masks[others]
    student_maps = label_all(nets[student], images)
    for step in (noisy, arguments.steps):
        maps = label_all(nets[step], images)
        is_right = (maps.label == masks)[masks != IGNORE_INDEX].float().mean()
        print(
            f"teacher after {step} steps: {len(images)} frames of {images.shape[3]}×"
            f"{images.shape[2]}, {float(is_right):.1%} of the pixels right, "
            f"mean confidence {float(maps.confidence.mean()):.3f}; {torch.get_num_threads()} thread"
        )
        show_stores(maps, frames, others, trainer)
        show_levels(maps, student_maps, frames.num_classes)


if __name__ == "__main__":
    main()
