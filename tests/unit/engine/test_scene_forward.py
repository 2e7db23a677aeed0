"""Scenes through a network: whole, by windows, in batches; modes, ranks, settings."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dmt.core import predict
from dmt.data.scenes import ScenePool
from dmt.engine import scene_forward
from dmt.engine.runtime import Runtime
from dmt.engine.scene_forward import (
    Inference,
    _starts,
    forward_scenes,
    scene_logits,
    shard_ids,
)
from dmt.errors import SettingError

CPU = Runtime(torch.device("cpu"))
SIZES = [(12, 17), (9, 31), (12, 17), (1, 1), (40, 5), (12, 17), (9, 31)]


class Pixelwise(nn.Module):
    """Every pixel's logits from its own colour; keeps the size and the mode of each forward."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(3, num_classes, 1)
        generator = torch.Generator().manual_seed(num_classes)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=2, generator=generator)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        assert images.dtype == torch.uint8
        assert not self.training
        assert not torch.is_grad_enabled()
        self.seen.append(tuple(images.shape))
        return self.inner(images.float() / 255)


class FromBorder(nn.Module):
    """Logits that depend on where a pixel lies in what the network is given."""

    def forward(self, images: Tensor) -> Tensor:
        batch, _, height, width = images.shape
        rows = torch.arange(height).view(1, 1, height, 1).expand(batch, 1, height, width)
        return torch.cat([rows, torch.zeros_like(rows)], dim=1).float()


def noise(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.fixture
def pool() -> ScenePool:
    images = [noise(height, width, 3).numpy() for height, width in SIZES]
    return ScenePool(np.array(SIZES, dtype=np.int64), lambda id: images[id])


@pytest.mark.parametrize("num_classes", [2, 7])
@pytest.mark.parametrize("size", [(20, 33), (8, 8), (5, 40), (40, 5), (1, 1)])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
def test_windows_and_the_whole_image_agree_for_a_pixelwise_net(
    num_classes: int, size: tuple[int, int], overlap: float
) -> None:
    net, images = Pixelwise(num_classes), noise(2, 3, *size)
    whole = scene_logits(net, images, Inference(), CPU)
    by_window = scene_logits(net, images, Inference((8, 11), overlap), CPU)
    assert whole.shape == by_window.shape == (2, num_classes, *size)
    assert whole.dtype == by_window.dtype == torch.float32
    assert torch.allclose(whole.softmax(1), by_window.softmax(1), atol=1e-6)
    assert torch.allclose(whole.log_softmax(1), by_window.log_softmax(1), atol=1e-5)


def test_overlapping_windows_are_averaged_as_probabilities() -> None:
    result = scene_logits(FromBorder(), noise(1, 3, 6, 3), Inference((4, 3), 0.5), CPU)
    first = [torch.tensor([float(row), 0.0]).softmax(0) for row in range(4)]
    expected = [first[0], first[1], (first[2] + first[0]) / 2, (first[3] + first[1]) / 2]
    expected += [first[2], first[3]]
    for row, probs in enumerate(expected):
        assert torch.allclose(result[0, :, row, 1].softmax(0), probs, atol=1e-6)


def test_a_certain_network_stays_finite() -> None:
    class Certain(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            logits = torch.zeros(len(images), 3, *images.shape[-2:])
            logits[:, 0] = 300
            return logits

    result = scene_logits(Certain(), noise(1, 3, 9, 9), Inference((4, 4)), CPU)
    assert result.isfinite().all()
    prediction = predict(result)
    assert (prediction.label == 0).all()
    assert (prediction.confidence == 1).all()


@pytest.mark.parametrize("side", [1, 7, 8, 9, 16, 23, 100])
@pytest.mark.parametrize("window", [1, 3, 7])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.9])
def test_windows_cover_a_side_evenly(side: int, window: int, overlap: float) -> None:
    window = min(window, side)
    starts = _starts(side, window, overlap)
    assert (starts[0], starts[-1]) == (0, side - window)
    gaps = np.diff(starts)
    if len(gaps):
        assert gaps.min() >= 1
        assert gaps.max() <= max(1, window * (1 - overlap) + 1e-6)
        assert gaps.max() - gaps.min() <= 1
    counts = np.zeros(side, dtype=int)
    for start in starts:
        counts[start : start + window] += 1
    assert counts.min() >= 1


def test_windows_go_through_in_batches_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    images, inference = noise(1, 3, 20, 20), Inference((8, 8), 0.5)
    net = Pixelwise(4)
    together = scene_logits(net, images, inference, CPU)
    assert net.seen == [(16, 3, 8, 8)]
    monkeypatch.setattr(scene_forward, "PIXELS_AT_ONCE", 5 * 64)
    apart = scene_logits(net, images, inference, CPU)
    assert net.seen[1:] == [(5, 3, 8, 8)] * 3 + [(1, 3, 8, 8)]
    assert torch.allclose(together, apart, atol=1e-5)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("budget", [1, 450, 1 << 20])
def test_every_image_goes_through_once_whatever_the_batches(
    pool: ScenePool, workers: int, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene_forward, "PIXELS_AT_ONCE", budget)
    monkeypatch.setattr(scene_forward, "_FEWEST", 1)
    net = Pixelwise(3)
    asked = torch.tensor([6, 0, 3, 4, 2, 1])
    found = dict(forward_scenes(net, pool, asked, Inference(), CPU, workers))
    assert sorted(found) == [0, 1, 2, 3, 4, 6]
    assert sum(shape[0] for shape in net.seen) == len(asked)
    assert all(n == 1 or n * h * w <= budget for n, _, h, w in net.seen)
    if budget > 450:
        assert len(net.seen) == 4  # sizes
    for id, logits in found.items():
        alone = torch.from_numpy(pool.image(id).copy()).permute(2, 0, 1).unsqueeze(0)
        assert logits.shape == (3, *SIZES[id])
        assert torch.allclose(logits, scene_logits(net, alone, Inference(), CPU)[0], atol=1e-5)


def test_the_same_ids_come_in_the_same_order(pool: ScenePool) -> None:
    ids = torch.tensor([6, 0, 3, 4, 2, 1])
    orders = [
        [id for id, _ in forward_scenes(net, pool, ids, inference, CPU, workers)]
        for net, inference, workers in (
            (Pixelwise(3), Inference(), 0),
            (Pixelwise(5), Inference((4, 4)), 3),
        )
    ]
    assert orders[0] == orders[1]


def test_no_ids_give_nothing(pool: ScenePool) -> None:
    none = torch.empty(0, dtype=torch.int64)
    assert list(forward_scenes(Pixelwise(3), pool, none, Inference(), CPU, 2)) == []


def test_each_parts_mode_is_put_back(pool: ScenePool) -> None:
    net = Pixelwise(3).train()
    net.inner.eval()
    with closing(forward_scenes(net, pool, torch.arange(7), Inference(), CPU, 2)) as results:
        next(results)
        assert (net.training, net.inner.training) == (True, False)
    list(forward_scenes(net, pool, torch.arange(7), Inference(), CPU, 2))
    assert (net.training, net.inner.training) == (True, False)
    assert torch.is_grad_enabled()


def test_modes_are_put_back_when_the_network_fails() -> None:
    class Failing(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("out of memory")

    net = Failing().train()
    for inference in (Inference(), Inference((2, 2))):
        with pytest.raises(RuntimeError, match="out of memory"):
            scene_logits(net, noise(1, 3, 5, 5), inference, CPU)
        assert net.training
    assert torch.is_grad_enabled()


def test_ranks_take_whole_batches_and_each_image_once(pool: ScenePool) -> None:
    ids, seen = torch.tensor([6, 0, 3, 4, 2, 1]), []
    for rank in range(2):
        runtime, net = Runtime(torch.device("cpu"), rank=rank, world_size=2), Pixelwise(3)
        found = [id for id, _ in forward_scenes(net, pool, ids, Inference(), runtime, 0)]
        assert len(found) == 3
        seen += found
    assert sorted(seen) == sorted(ids.tolist())


def test_mixed_precision_still_gives_float32() -> None:
    runtime = Runtime(torch.device("cpu"), "bf16")
    net, images = Pixelwise(3), noise(1, 3, 9, 10)
    exact = scene_logits(net, images, Inference(), CPU).softmax(1)
    for inference in (Inference(), Inference((4, 4))):
        logits = scene_logits(net, images, inference, runtime)
        assert logits.dtype == torch.float32
        assert (logits.softmax(1) - exact).abs().max() < 0.05


def test_ranks_share_all_ids_and_none_twice() -> None:
    ids = torch.arange(100, 111)
    parts = [
        shard_ids(ids, Runtime(torch.device("cpu"), rank=rank, world_size=4)) for rank in range(4)
    ]
    assert sorted(torch.cat(parts).tolist()) == ids.tolist()
    assert [len(part) for part in parts] == [3, 3, 3, 2]
    assert torch.equal(shard_ids(ids, CPU), ids)


@pytest.mark.parametrize(
    ("name", "value"),
    [("window", (0, 4)), ("window", (4,)), ("overlap", 1.0), ("overlap", -0.1)],
)
def test_settings_out_of_range_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(SettingError, match=f"^{name} is "):
        Inference(**{name: value})
