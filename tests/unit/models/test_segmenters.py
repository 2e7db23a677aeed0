"""One contract over every model for pixels: sizes, gradients, seeds, files; errors are beside."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dmt.errors import SettingError
from dmt.models import timm_models
from dmt.models.build import Network, build
from dmt.models.smp_models import ARCHITECTURES
from dmt.models.weights import read_metadata, restore, save

SMALL = "tu-mobilenetv3_small_050"
ENCODERS = {"dpt": "tu-test_vit", "segformer": "mit_b0", "pspnet": "resnet18"}
SIZES = {"pan": 128}  # its decoder halves the last map three times more
OWN = ["deeplab_v2:wrn_10_1", "deeplab_v2:wrn_10_1:6-12"]
needs_library = pytest.mark.skipif(
    find_spec("segmentation_models_pytorch") is None or find_spec("timm") is None,
    reason="segmentation_models_pytorch or timm is not installed",
)
ALL = [
    *OWN,
    *(
        pytest.param(spec, marks=needs_library)
        for spec in [
            "deeplab_v2:resnet10t",
            *(f"{each}:{ENCODERS.get(each, SMALL)}" for each in ARCHITECTURES),
        ]
    ),
]


def _network(spec: str, seed: int = 1, num_classes: int = 3) -> Network:
    size = SIZES.get(spec.partition(":")[0], 32)
    return build(spec, num_classes, seed=seed, image_size=size, is_dense=True)


def _images(*size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("spec", ALL)
def test_contract(spec: str, tmp_path: Path) -> None:
    network = _network(spec)
    assert network.is_dense
    assert network.training
    # At the smallest crop, in train mode, with as few images as BatchNorm can do with.
    size = network.image_size
    logits = network(_images(2, 3, size, size))
    assert logits.shape == (2, 3, size, size)
    logits.square().sum().backward()
    without = {name for name, each in network.named_parameters() if each.grad is None}
    assert all(_is_beyond(spec, name) for name in without)
    network.eval()
    with torch.no_grad():
        for height, width in ((33, 47), (1, 1), (size + 1, 9)):  # no stride divides them
            assert network(_images(1, 3, height, width)).shape == (1, 3, height, width)
        images = _images(1, 3, 41, 64)
        expected = network(images)
        assert torch.equal(network(images.float()), expected)
        save(network, tmp_path / "w.safetensors", {})
        assert torch.equal(restore(tmp_path / "w.safetensors")(images), expected)


def _is_beyond(spec: str, parameter: str) -> bool:
    """Whether a part of the encoder lies behind the last map that the architecture looks at."""
    if spec.startswith("pspnet"):
        return "encoder.layer3" in parameter or "encoder.layer4" in parameter
    return spec.startswith("dpt") and ("model.norm." in parameter or "model.head." in parameter)


@pytest.mark.parametrize(
    "spec", [OWN[0], *(pytest.param(f"{each}:{SMALL}", marks=needs_library) for each in ("unet",))]
)
def test_the_seed_alone_decides(spec: str) -> None:
    torch.manual_seed(3)
    first = _network(spec, seed=5).state_dict()
    expected = torch.rand(3)
    torch.manual_seed(3)
    again = _network(spec, seed=5).state_dict()
    assert torch.equal(torch.rand(3), expected)  # the global generator was left alone
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    other = _network(spec, seed=6).state_dict()
    assert not all(torch.equal(tensor, other[name]) for name, tensor in first.items())


@needs_library
@pytest.mark.parametrize("spec", ["UNet:resnet18", "DeepLabV3Plus:tu-mobilenetv3_small_050"])
def test_an_architecture_in_any_case(spec: str) -> None:
    assert _network(spec)(_images(2, 3, 32, 32)).shape == (2, 3, 32, 32)


@needs_library
def test_a_model_that_pools_often_pads_what_is_smaller_than_its_crop() -> None:
    network = _network(f"pan:{SMALL}")
    assert (network.min_side, network.padded(40), network.padded(130)) == (128, 128, 144)
    with pytest.raises(SettingError, match=r"32×32 pixels .*set data\.crop") as error:
        build(f"pan:{SMALL}", 3, seed=0, image_size=32, is_dense=True)
    assert "\n" not in str(error.value)


@needs_library
def test_a_model_of_one_size_says_so_of_larger_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_models, "has_fixed_size", lambda name: True)
    network = _network(f"fpn:{SMALL}")
    assert network(_images(2, 3, 9, 20)).shape == (2, 3, 9, 20)
    assert (network.padded(1), network.max_side) == (32, 32)
    with pytest.raises(SettingError, match=r"32×32 pixels only, not of 33×20; .*window") as error:
        network(_images(2, 3, 33, 20))
    assert "\n" not in str(error.value)


@needs_library
def test_one_image_of_one_feature_cannot_train() -> None:
    network = _network(f"unet:{SMALL}")
    with pytest.raises(SettingError, match="at least two images a batch") as error:
        network(_images(1, 3, 32, 32))
    assert "\n" not in str(error.value)
    assert network.eval()(_images(1, 3, 32, 32)).shape == (1, 3, 32, 32)


def test_another_error_of_a_module_stays_what_it_is() -> None:
    network = _network(OWN[0])
    network.module.register_forward_hook(_raise)
    with pytest.raises(ValueError, match="quite another"):
        network(_images(2, 3, 32, 32))


def _raise(*_: object) -> None:
    raise ValueError("quite another")


class _Coarse(nn.Module):
    """Gives back the first channel as two classes' logits, at a quarter of the size."""

    align_corners = False

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        return images[:, :2, ::4, ::4]


def _wrapped(module: nn.Module, *, stride: int = 4, align_corners: bool = False) -> Network:
    return Network(
        module,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        stride=stride,
        is_dense=True,
        align_corners=align_corners,
        spec="ours",
        num_classes=2,
        image_size=8,
    )


def test_padding_is_right_and_below_and_normalises_to_zero() -> None:
    network = _wrapped(_Coarse())
    images = torch.full((1, 3, 5, 7), 255.0)
    logits = network(images)
    seen = network.module.seen
    assert logits.shape == (1, 2, 5, 7)
    assert seen.shape == (1, 3, 8, 8)
    torch.testing.assert_close(seen[..., :5, :7], torch.full((1, 3, 5, 7), 2.0))
    assert not seen[..., 5:, :].any()
    assert not seen[..., 7:].any()


def test_a_size_that_fits_is_neither_padded_nor_resampled() -> None:
    network = _wrapped(nn.Identity())
    images = torch.rand(1, 3, 8, 12) * 255
    assert torch.equal(network(images), network.normalize(images))


@pytest.mark.parametrize(
    ("side", "aligned", "other"),
    [(321, 321, 328), (505, 505, 512), (512, 513, 512), (1, 1, 8), (8, 9, 8), (10, 17, 16)],
)
def test_the_side_that_is_padded_to(side: int, aligned: int, other: int) -> None:
    assert _wrapped(nn.Identity(), stride=8, align_corners=True).padded(side) == aligned
    assert _wrapped(nn.Identity(), stride=8).padded(side) == other


def test_aligned_corners_keep_the_values_at_the_corners() -> None:
    network = _wrapped(_Coarse(), align_corners=True)
    images = torch.rand(1, 3, 9, 13) * 255
    logits, coarse = network(images), network.coarse_logits(images)
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        torch.testing.assert_close(logits[..., row, column], coarse[..., row, column])
    # Here even every fourth pixel in between lies on a feature.
    torch.testing.assert_close(logits[..., ::4, ::4], coarse)


@pytest.mark.parametrize("align_corners", [True, False])
def test_a_constant_map_stays_constant(align_corners: bool) -> None:
    network = _wrapped(_Coarse(), align_corners=align_corners)
    # Sizes that need no padding, whose margin is another constant.
    size = (9, 17) if align_corners else (8, 16)
    logits = network(torch.full((1, 3, *size), 255, dtype=torch.uint8))
    torch.testing.assert_close(logits, torch.full((1, 2, *size), 2.0))


def test_the_peer_for_coco_sees_bytes_in_bgr_less_a_mean() -> None:
    mean = [104.008, 116.669, 122.675]
    network = build(
        OWN[0],
        2,
        seed=0,
        image_size=32,
        mean=[each / 255 for each in mean],
        std=[1 / 255] * 3,
        channel_order="bgr",
        is_dense=True,
    )
    images = _images(1, 3, 4, 4)
    expected = images.flip(1) - torch.tensor(mean).view(1, 3, 1, 1)
    torch.testing.assert_close(network.normalize(images), expected, rtol=0, atol=1e-3)


def test_preprocessing_and_kind_survive_a_file(tmp_path: Path) -> None:
    network = build(
        OWN[1],
        2,
        seed=0,
        image_size=32,
        mean=[0.1, 0.2, 0.3],
        std=[1 / 255] * 3,
        channel_order="bgr",
        is_dense=True,
    ).eval()
    save(network, tmp_path / "w.safetensors", {})
    assert read_metadata(tmp_path / "w.safetensors")["output"] == "pixels"
    images = _images(1, 3, 21, 30)
    restored = restore(tmp_path / "w.safetensors")
    assert torch.equal(restored.normalize(images), network.normalize(images))
    assert torch.equal(restored(images), network(images))


def test_memory_format_survives_padding() -> None:
    network = _wrapped(_Coarse())
    network(_images(2, 3, 5, 7).to(memory_format=torch.channels_last))
    assert network.module.seen.is_contiguous(memory_format=torch.channels_last)
