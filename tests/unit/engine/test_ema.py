"""The averaged network: its warm-up, what is averaged and what is copied, and going on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dmt.engine.ema import Ema


def line(value: float) -> nn.Linear:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, value)
    return module


def value_of(ema: Ema) -> float:
    assert isinstance(ema.module, nn.Linear)
    return ema.module.weight.item()


def test_early_steps_keep_little_history() -> None:
    ema = Ema(line(0.0), 0.999)
    kept = 1.0
    for step in range(5):
        ema.update(line(1.0))
        kept *= (1 + step) / (10 + step)
        assert value_of(ema) == pytest.approx(1 - kept)


def test_later_decay_is_the_share_of_history_kept() -> None:
    ema = Ema(line(0.0), 0.9)
    for _ in range(200):  # past the warm-up, which ends where (1 + t) / (10 + t) is 0.9
        ema.update(line(0.0))
    ema.update(line(1.0))
    assert value_of(ema) == pytest.approx(0.1)
    ema.update(line(0.0))
    assert value_of(ema) == pytest.approx(0.09)


def test_running_statistics_are_averaged_and_counters_copied() -> None:
    norm = nn.BatchNorm1d(1)
    ema = Ema(norm, 0.5)
    assert norm.running_mean is not None
    assert norm.num_batches_tracked is not None
    norm.running_mean.fill_(10.0)
    norm.num_batches_tracked.fill_(7)
    ema.update(norm)
    average = ema.module
    assert isinstance(average, nn.BatchNorm1d)
    assert average.running_mean is not None
    assert average.num_batches_tracked is not None
    assert average.running_mean.item() == pytest.approx(9.0)  # the first decay is 1/10
    assert average.num_batches_tracked.item() == 7


def test_the_network_in_training_is_left_alone() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    ema = Ema(module, 0.9)
    ema.update(module)
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert not ema.module.training
    assert not any(parameter.requires_grad for parameter in ema.module.parameters())
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


def test_it_goes_on_from_its_state() -> None:
    ema = Ema(line(0.0), 0.999)
    for _ in range(3):
        ema.update(line(1.0))
    state = ema.state_dict()
    other = Ema(line(5.0), 0.999)
    other.load_state_dict(state)
    for each in (ema, other):
        each.update(line(2.0))
    assert value_of(other) == value_of(ema)


def test_a_weight_that_two_layers_share_moves_once() -> None:
    module = nn.Sequential(line(0.0), line(0.0))
    shared = module[0].weight
    module[1].register_parameter("weight", shared)
    ema = Ema(module, 0.9)
    with torch.no_grad():
        shared.fill_(1.0)
    ema.update(module)
    assert ema.module.get_parameter("0.weight").item() == pytest.approx(0.9)
