"""How fast the batched views are beside per-image ones, as ratios; no correctness is checked here.

Run `python benchmarks/augment.py [--device cuda] [--threads 1]`; on a busy machine one thread
measures the work, more measure the waiting. Every row makes the same strong
view (flip, shift by up to an eighth, one RandAugment operation) of 512 images; the rows take turns,
so that a change in the machine's load meets all of them.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torch import Tensor

from dmt.data.transforms import Augmentation, strong, weak

BATCH = 512
GREY = (128, 128, 128)


def pil_affine(picture: Image.Image, *matrix: float) -> Image.Image:
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, fillcolor=GREY)


def pil_cutout(picture: Image.Image, share: float) -> Image.Image:
    width, height = picture.size
    x, y = random.random() * width, random.random() * height
    half_x, half_y = share * width / 2, share * height / 2
    box = (x - half_x, y - half_y, x + half_x, y + half_y)
    ImageDraw.Draw(picture).rectangle(box, GREY)
    return picture


def pil_operation(picture: Image.Image) -> Image.Image:
    """One of the 16 operations at a random magnitude."""
    share = random.randint(1, 10) / 10
    signed = share * random.choice((-1, 1))
    factor = 0.1 + 1.8 * share
    operations: list[Callable[[], Image.Image]] = [
        lambda: ImageOps.autocontrast(picture),
        lambda: ImageOps.equalize(picture),
        lambda: ImageOps.invert(picture),
        lambda: picture.rotate(30 * signed, fillcolor=GREY),
        lambda: ImageOps.posterize(picture, max(1, int(4 * share))),
        lambda: ImageOps.solarize(picture, int(256 * share)),
        lambda: ImageOps.solarize(picture.point(lambda v: min(255, v + int(110 * share)))),
        lambda: ImageEnhance.Color(picture).enhance(factor),
        lambda: ImageEnhance.Contrast(picture).enhance(factor),
        lambda: ImageEnhance.Brightness(picture).enhance(factor),
        lambda: ImageEnhance.Sharpness(picture).enhance(factor),
        lambda: pil_affine(picture, 1, 0.3 * signed, 0, 0, 1, 0),
        lambda: pil_affine(picture, 1, 0, 0, 0.3 * signed, 1, 0),
        lambda: pil_cutout(picture, 0.5 * share),
        lambda: pil_affine(picture, 1, 0, 0.45 * signed * picture.width, 0, 1, 0),
        lambda: pil_affine(picture, 1, 0, 0, 0, 1, 0.45 * signed * picture.height),
    ]
    return random.choice(operations)()


def with_pil(images: Tensor) -> Tensor:
    """A loader worker's way: array to picture, crop, flip, operation, array, one by one."""
    done = []
    for array in images.permute(0, 2, 3, 1).contiguous().numpy():
        picture = Image.fromarray(array)
        limit_x, limit_y = picture.width // 8, picture.height // 8
        x, y = random.randint(-limit_x, limit_x), random.randint(-limit_y, limit_y)
        picture = pil_affine(picture, 1, 0, x, 0, 1, y)
        if random.random() < 0.5:
            picture = ImageOps.mirror(picture)
        done.append(np.asarray(pil_operation(picture)))
    return torch.from_numpy(np.stack(done)).permute(0, 3, 1, 2).contiguous()


def with_torchvision(size: int) -> Callable[[Tensor], Tensor] | None:
    """torchvision's own RandAugment (14 operations) on one tensor at a time, or None without it."""
    try:
        from torchvision.transforms import v2
    except (ImportError, RuntimeError):
        return None
    view = v2.Compose(
        [
            v2.RandomCrop(size, padding=size // 8, fill=128),
            v2.RandomHorizontalFlip(),
            v2.RandAugment(num_ops=1, magnitude=15, fill=128),
        ]
    )
    return lambda images: torch.stack([view(image) for image in images])


def seconds(call: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(size: int, repeats: int, device: torch.device) -> None:
    """Print one table: images/s of every way, and how many times slower than `strong` it is."""
    cpu_images = torch.randint(0, 256, (BATCH, 3, size, size), dtype=torch.uint8)
    images, ids = cpu_images.to(device), torch.arange(BATCH)
    turned = Augmentation(scale=(0.9, 1.1), rotate=10.0)
    ways: dict[str, Callable[[], object]] = {
        "dmt strong": lambda: strong(images, ids, Augmentation(), 0, "benchmark"),
        "dmt strong, 2 operations": lambda: strong(
            images, ids, Augmentation(randaugment=2), 0, "benchmark"
        ),
        "dmt weak": lambda: weak(images, ids, Augmentation(), 0, "benchmark"),
        "dmt weak, zoom and turn": lambda: weak(images, ids, turned, 0, "benchmark"),
        "PIL, image by image": lambda: with_pil(cpu_images),
    }
    torchvision_view = with_torchvision(size)
    if torchvision_view is not None:
        ways["torchvision v2, image by image"] = lambda: torchvision_view(cpu_images)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for call in ways.values():
        call()
    for _ in range(repeats):
        for name, call in ways.items():
            times[name].append(seconds(call, device))
    base = statistics.median(times["dmt strong"])
    print(f"{size}×{size}, batch {BATCH}, {device}, {torch.get_num_threads()} threads")
    print(f"{'':34}{'images/s':>12}{'time / dmt strong':>20}")
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"{name:34}{BATCH / middle:12,.0f}{middle / base:20.2f}")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", help="where the batched views run")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for size in (8, 32, 96):
        measure(size, arguments.repeats, torch.device(arguments.device))


if __name__ == "__main__":
    main()
