"""DeepLab-v2 itself: its branches, its start and its backbones; names and files are elsewhere."""

import pytest
import torch
from torch import Tensor, nn

from dmt.models.build import build
from dmt.models.deeplab_v2 import DeepLabV2
from dmt.models.wide_resnet import WideResNet, WideResNetFeatures


def test_branches_are_summed_and_see_as_far_as_their_dilation() -> None:
    model = DeepLabV2(nn.Identity(), 1, 1, (2, 5))
    for branch in model.aspp:
        nn.init.ones_(branch.weight)
        nn.init.constant_(branch.bias, 0.5)
    image = torch.zeros(1, 1, 15, 15)
    image[..., 7, 7] = 1
    expected = torch.ones(15, 15)  # two biases of one half
    for dilation in (2, 5):
        at = [7 - dilation, 7, 7 + dilation]
        for row in at:
            expected[row, at] += 1
    torch.testing.assert_close(model(image)[0, 0], expected)


def test_start() -> None:
    torch.manual_seed(0)
    model = DeepLabV2(nn.Identity(), 256, 21)
    assert [branch.dilation[0] for branch in model.aspp] == [6, 12, 18, 24]
    for branch in model.aspp:
        assert branch.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert not branch.bias.any()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert model.align_corners


@pytest.mark.parametrize("dilations", [(), (0,), (6, -1)])
def test_impossible_dilations(dilations: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least"):
        DeepLabV2(nn.Identity(), 1, 1, dilations)


def test_a_backbone_may_give_a_list() -> None:
    class Pyramid(nn.Module):
        def forward(self, images: Tensor) -> list[Tensor]:
            return [images[:, :1], images]

    assert DeepLabV2(Pyramid(), 3, 2, (1,))(torch.zeros(1, 3, 4, 4)).shape == (1, 2, 4, 4)


def test_the_trunk_of_a_wide_resnet_is_the_classifiers() -> None:
    whole, trunk = WideResNet(16, 2, num_classes=4).eval(), WideResNetFeatures(16, 2).eval()
    state = whole.state_dict()
    trunk.load_state_dict({name: state[name] for name in trunk.state_dict()})
    assert set(state) - set(trunk.state_dict()) == {"classifier.weight", "classifier.bias"}
    images = torch.randn(2, 3, 13, 16)
    features = trunk(images)
    assert features.shape == (2, trunk.num_features, 4, 4)
    torch.testing.assert_close(whole.classifier(features.mean(dim=(2, 3))), whole(images))
    weight = WideResNetFeatures(16, 4).group3[0].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.03)


def test_dilations_come_from_the_name() -> None:
    network = build("deeplab_v2:wrn_10_1:1-3-12", 5, seed=0, image_size=16, is_dense=True)
    assert [branch.dilation[0] for branch in network.module.aspp] == [1, 3, 12]
    assert (network.stride, network.align_corners) == (4, True)
    whole = build("deeplab_v2:wrn_10_1", 5, seed=0, image_size=16, is_dense=True)
    assert [branch.dilation[0] for branch in whole.module.aspp] == [6, 12, 18, 24]


def test_a_timm_resnet_is_dilated_from_stride_8_on() -> None:
    pytest.importorskip("timm")
    network = build("deeplab_v2:resnet18", 2, seed=0, image_size=32, is_dense=True)
    backbone = network.module.backbone.eval()
    assert network.stride == 8
    with torch.no_grad():
        assert [each.shape for each in backbone(torch.zeros(1, 3, 65, 97))] == [(1, 512, 9, 13)]
    # As in the authors' networks, the first block of a group keeps the dilation before it.
    found = [
        backbone.get_submodule(f"layer{group}.{block}.conv1").dilation[0]
        for group in (2, 3, 4)
        for block in (0, 1)
    ]
    assert found == [1, 1, 1, 2, 2, 4]
