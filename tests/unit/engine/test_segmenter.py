"""Scenes from toy networks whose answers are known: sizes, bands, agreement, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from dmt.data.sizes import fit_within
from dmt.engine import segmenter as segmenter_module
from dmt.engine.runtime import Runtime
from dmt.engine.scene_forward import Inference
from dmt.engine.segmenter import Segmenter
from dmt.errors import DataError

CPU = Runtime(torch.device("cpu"))
NAMES = ("red", "green", "blue")


class Channels(nn.Module):
    """Each pixel's class is its brightest channel; `sure` scales the logits."""

    def __init__(self, sure: float = 8.0) -> None:
        super().__init__()
        self.sure = sure
        self.sizes: list[tuple[int, int]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append((images.shape[2], images.shape[3]))
        return self.sure * images.float() / 255


def segmenter(
    *nets: nn.Module, other: nn.Module | None = None, max_side: int | None = None, **how: Any
) -> Segmenter:
    return Segmenter(nets, other, NAMES, max_side, Inference(), CPU, **how)


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def softmax(image: NDArray[np.uint8], sure: float) -> Tensor:
    return (sure * torch.from_numpy(image).permute(2, 0, 1).float() / 255).softmax(dim=0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (12, 7), (40, 64)])
def test_label_and_confidence_are_of_the_mean(shape: tuple[int, int]) -> None:
    image = noise(*shape)
    (scene,) = segmenter(Channels(8), Channels(2)).predict([image], keep_probs=True)
    mean = (softmax(image, 8) + softmax(image, 2)) / 2
    assert (scene.label.dtype, scene.label.shape) == (np.uint8, shape)
    assert scene.probs is not None
    np.testing.assert_allclose(scene.probs, mean, atol=1e-6)
    np.testing.assert_allclose(scene.confidence, mean.amax(dim=0), atol=1e-6)
    assert (scene.label == mean.argmax(dim=0).numpy()).all()


def test_agreement_is_what_two_networks_share() -> None:
    image = noise(6, 5)
    shared = torch.minimum(softmax(image, 8), softmax(image, 2)).sum(dim=0)
    pair = segmenter(Channels(8), Channels(2))
    chain = segmenter(Channels(8), other=Channels(2))
    for found in (pair.predict([image])[0], chain.predict([image])[0]):
        np.testing.assert_allclose(found.agreement, shared, atol=1e-6)
    assert pair.has_agreement
    # The other one of a chain has no say.
    np.testing.assert_allclose(
        chain.predict([image])[0].confidence, softmax(image, 8).amax(dim=0), atol=1e-6
    )
    alone = segmenter(Channels())
    assert not alone.has_agreement
    assert alone.predict([image])[0].agreement is None


def test_twins_agree_wholly() -> None:
    scene = segmenter(Channels(), Channels()).predict([noise(9, 9)])[0]
    assert scene.agreement is not None
    np.testing.assert_allclose(scene.agreement, 1, atol=1e-6)
    assert scene.agreement.max() <= 1


@pytest.mark.parametrize("shape", [(50, 90), (90, 50), (33, 100), (200, 1), (1, 200)])
def test_larger_images_are_brought_down_and_scenes_back_up(shape: tuple[int, int]) -> None:
    net = Channels()
    image = np.zeros((*shape, 3), dtype=np.uint8)
    image[..., 1] = 200
    scene = segmenter(net, max_side=32).predict([image])[0]
    assert net.sizes == [fit_within(*shape, 32)]
    assert scene.label.shape == scene.confidence.shape == shape
    assert (scene.label == 1).all()


@pytest.mark.parametrize("band", [1, 700, 1 << 24])
@pytest.mark.parametrize("shape", [(61, 47), (47, 61), (64, 32)])
def test_bands_are_torchs_bilinear(band: int, shape: tuple[int, int], monkeypatch) -> None:
    monkeypatch.setattr(segmenter_module, "_BAND", band)
    logits = torch.randn(3, *fit_within(*shape, 16), generator=torch.Generator().manual_seed(1))

    class Fixed(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return logits[None]

    scene = segmenter(Fixed(), max_side=16).predict([noise(*shape)], keep_probs=True)[0]
    wanted = F.interpolate(
        logits.softmax(dim=0)[None], size=shape, mode="bilinear", align_corners=False
    )[0]
    assert scene.probs is not None
    np.testing.assert_allclose(scene.probs, wanted, atol=1e-6)
    assert (scene.label == scene.probs.argmax(axis=0)).all()


def test_probs_are_kept_only_where_asked() -> None:
    assert segmenter(Channels()).predict([noise(4, 4)])[0].probs is None


def test_any_kind_of_image(tmp_path: Path) -> None:
    image = noise(7, 11)
    path = tmp_path / "x.png"
    Image.fromarray(image).save(path)
    kinds = [path, str(path), Image.fromarray(image), image, torch.from_numpy(image)]
    scenes = segmenter(Channels(), workers=0).predict(kinds)
    assert len(scenes) == len(kinds)
    for scene in scenes:
        assert (scene.label == scenes[0].label).all()
    assert len(segmenter(Channels()).predict(np.stack([image, image]))) == 2
    assert segmenter(Channels()).predict([]) == []


def test_files_are_upright(tmp_path: Path) -> None:
    image = Image.fromarray(noise(4, 9))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "x.png", exif=exif)
    scene = segmenter(Channels()).predict([tmp_path / "x.png"])[0]
    upright = np.rot90(np.asarray(image), k=-1)
    assert scene.label.shape == (9, 4)
    assert (scene.label == upright.argmax(axis=2)).all()


@pytest.mark.parametrize("workers", [0, 3])
def test_images_are_asked_for_as_they_are_used(workers: int) -> None:
    num_asked = 0

    def images() -> Iterator[NDArray[np.uint8]]:
        nonlocal num_asked
        for seed in range(100):
            num_asked += 1
            yield noise(3, 3, seed)

    scenes = segmenter(Channels(), workers=workers).predict_each(images())
    assert num_asked == 0
    for seed, scene in zip(range(5), scenes, strict=False):
        assert (scene.label == noise(3, 3, seed).argmax(axis=2)).all()
    assert num_asked < 20


def test_what_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.png is not an image"):
        segmenter(Channels()).predict([tmp_path / "bad.png"])
    for wrong in (np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(TypeError, match=r"uint8 \(H, W, 3\)"):
            segmenter(Channels()).predict([wrong])


def test_full_size_probabilities_never_exist_at_once(monkeypatch) -> None:
    """Of a 2 MP image seen at 64 pixels, every tensor made stays within a band."""
    largest = 0
    interpolate = F.interpolate

    def counting(small: Tensor, **how: Any) -> Tensor:
        nonlocal largest
        result: Tensor = interpolate(small, **how)
        largest = max(largest, result.numel())
        return result

    monkeypatch.setattr(F, "interpolate", counting)
    monkeypatch.setattr(segmenter_module, "_BAND", 1 << 18)
    scene = segmenter(Channels(), max_side=64).predict([np.zeros((1000, 2000, 3), np.uint8)])[0]
    assert scene.label.shape == (1000, 2000)
    assert 0 < largest <= 1 << 18
