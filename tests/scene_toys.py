"""What tests of scenes share: a network that tells pixels by colour, and trees with masks.

No tests here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from dmt.data.catalog import Catalog, MaskFiles, Part
from dmt.data.masks import Coding
from dmt.engine.runtime import Runtime
from dmt.engine.scene_forward import Inference
from dmt.engine.segmenter import Segmenter

NAMES = ("red", "green", "blue")
Bytes = NDArray[np.uint8]


class Channels(nn.Module):
    """Each pixel's class is its brightest channel; `sure` scales the logits."""

    def __init__(self, sure: float = 8.0) -> None:
        super().__init__()
        self.sure = sure
        self.sizes: list[tuple[int, int]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append((images.shape[2], images.shape[3]))
        return self.sure * images.float() / 255


def segmenter(*nets: nn.Module, classes: tuple[str, ...] = NAMES, **how: Any) -> Segmenter:
    """A segmenter of whole images on the CPU; `other` and `max_side` are None if not given."""
    other, max_side = how.pop("other", None), how.pop("max_side", None)
    runtime = Runtime(torch.device("cpu"))
    return Segmenter(nets or (Channels(),), other, classes, max_side, Inference(), runtime, **how)


def noise(height: int, width: int, seed: int = 0) -> Bytes:
    """An image, uint8 (H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, pixels: Bytes) -> Path:
    """Write an image or a mask, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def catalog(
    root: Path,
    scenes: dict[str, tuple[Bytes, Bytes | None]],
    *,
    parts: dict[str, Part] | None = None,
    classes: tuple[str, ...] = NAMES,
) -> Catalog:
    """Write images and masks (None: unlabeled) under `root` and list them as a layout would."""
    names = sorted(scenes)
    for name in names:
        image, mask = scenes[name]
        save(root / "images" / f"{name}.png", image)
        if mask is not None:
            save(root / "masks" / f"{name}.png", mask)
    has_mask = [scenes[name][1] is not None for name in names]
    return Catalog(
        name=root.name,
        layout="image-mask-folders",
        root=root,
        classes=classes,
        paths=tuple(f"images/{name}.png" for name in names),
        labels=np.array([0 if has else -1 for has in has_mask], dtype=np.int64),
        parts=np.array([(parts or {}).get(name, Part.TRAIN) for name in names], dtype=np.uint8),
        images=None,
        problems=(),
        masks=MaskFiles(
            tuple(
                f"masks/{name}.png" if has else ""
                for name, has in zip(names, has_mask, strict=True)
            ),
            Coding(len(classes)),
        ),
    )
