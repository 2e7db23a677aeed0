"""A forward that leaves BatchNorm as it was; not how the statistics are used in training."""

import pytest
import torch
from torch import nn

from dmt.models.norm import frozen_batch_norm
from dmt.models.wide_resnet import WideResNet


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def _equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left)


def _nested(norm: type[nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), nn.Sequential(norm(4))))


@pytest.mark.parametrize(
    "module",
    [WideResNet(10, 1, 3), _nested(nn.BatchNorm2d), _nested(nn.SyncBatchNorm)],
    ids=["wide_resnet", "nested", "sync"],
)
def test_sees_the_batch_and_changes_nothing(module: nn.Module) -> None:
    module.train()
    images = 3 + 2 * torch.randn(4, 3, 8, 8)
    before = _state(module)
    with frozen_batch_norm(module):
        frozen = module(images)
    assert _equal(before, _state(module))
    usual = module(images)
    assert torch.equal(frozen, usual)  # the batch's own statistics, to the bit
    assert not _equal(before, _state(module))  # so the layers track again afterwards


def test_layers_in_eval_mode_use_their_running_statistics() -> None:
    module = _nested(nn.BatchNorm2d)
    module(torch.randn(4, 3, 8, 8))
    module.eval()
    images = 5 + torch.randn(4, 3, 8, 8)
    with frozen_batch_norm(module):
        inside = module(images)
    assert torch.equal(inside, module(images))


def test_restored_after_an_error_and_untracked_layers_stay_so() -> None:
    module = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3, track_running_stats=False))
    with pytest.raises(RuntimeError, match="boom"), frozen_batch_norm(module):
        raise RuntimeError("boom")
    assert [layer.track_running_stats for layer in module] == [True, False]


def test_gradients_flow_as_usual() -> None:
    module = nn.BatchNorm1d(3)
    inputs = torch.randn(8, 3)
    with frozen_batch_norm(module):
        module(inputs)[:4].sum().backward()
    frozen = module.weight.grad.clone()
    module.zero_grad()
    module(inputs)[:4].sum().backward()
    assert torch.equal(frozen, module.weight.grad)
