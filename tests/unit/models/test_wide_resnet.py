"""The wide ResNet: its size, shapes, start and memory format; not how it is named or stored."""

import pytest
import torch
from torch import nn

from dmt.models.wide_resnet import WideResNet


@pytest.mark.parametrize(
    ("depth", "width", "num_parameters"),
    [(28, 2, 1_467_610), (16, 1, 175_066), (10, 1, 77_850)],
)
def test_number_of_parameters(depth: int, width: int, num_parameters: int) -> None:
    network = WideResNet(depth, width, num_classes=10)
    assert sum(p.numel() for p in network.parameters()) == num_parameters


def test_depth_counts_the_convolutions() -> None:
    for depth in (10, 28):
        modules = WideResNet(depth, 2, num_classes=10).modules()
        assert sum(isinstance(module, nn.Conv2d) for module in modules) == depth


@pytest.mark.parametrize("height", [8, 9, 32, 33])
def test_any_size_from_eight(height: int) -> None:
    network = WideResNet(10, 1, num_classes=7)
    assert network(torch.zeros(2, 3, height, height + 3)).shape == (2, 7)


def test_other_number_of_channels() -> None:
    assert WideResNet(10, 1, 4, in_channels=1)(torch.zeros(2, 1, 8, 8)).shape == (2, 4)


@pytest.mark.parametrize("arguments", [(27, 2, 10), (4, 2, 10), (28, 0, 10), (28, 2, 0)])
def test_impossible_shapes_are_refused(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        WideResNet(*arguments)


def test_convolutions_start_at_he_fan_out_and_biases_at_zero() -> None:
    torch.manual_seed(0)
    network = WideResNet(16, 4, num_classes=10)
    conv = network.group3[0].conv2
    assert conv.weight.std().item() == pytest.approx((2 / (9 * conv.out_channels)) ** 0.5, rel=0.02)
    biases = [p for name, p in network.named_parameters() if name.endswith("bias")]
    assert all(torch.equal(bias, torch.zeros_like(bias)) for bias in biases)


def test_identity_shortcut_hands_the_input_through() -> None:
    block = WideResNet(16, 1, num_classes=2).group1[1]
    nn.init.zeros_(block.conv2.weight)
    inputs = torch.randn(2, 16, 8, 8)
    before = inputs.clone()
    assert torch.equal(block(inputs), before)
    assert torch.equal(inputs, before)


def test_channels_last_gives_the_same_logits_and_gradients() -> None:
    torch.manual_seed(0)
    network = WideResNet(10, 1, num_classes=5).double()
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        network.to(memory_format=memory_format).zero_grad()
        logits = network(images.to(memory_format=memory_format))
        logits.square().sum().backward()
        results.append((logits.detach(), network.stem.weight.grad.clone()))
    torch.testing.assert_close(results[0], results[1])
