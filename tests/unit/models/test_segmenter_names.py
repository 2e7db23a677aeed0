"""Names of models for pixels: mistakes, the other task, missing packages, factories, the hub."""

import importlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

from dmt.errors import DmtError, EnvironmentFault, SettingError
from dmt.models import hub, timm_models
from dmt.models.build import Network, are_cached, build

needs_library = pytest.mark.skipif(
    find_spec("segmentation_models_pytorch") is None or find_spec("timm") is None,
    reason="segmentation_models_pytorch or timm is not installed",
)

FACTORIES = """
import torch
from torch import nn

def full(num_classes): return nn.Conv2d(3, num_classes, 3, padding=1)
def coarse(num_classes): return nn.Conv2d(3, num_classes, 3, stride=4, padding=1)
def rows(num_classes): return nn.Sequential(full(num_classes), nn.Flatten(2), nn.AvgPool1d(8))
def off_by_one(num_classes): return full(num_classes + 1)

class Picky(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv = full(num_classes)
    def forward(self, images):
        assert images.shape[2] % 8 == 0 and images.shape[3] % 8 == 0
        return self.conv(images)

class Fixed(Picky):
    def forward(self, images):
        assert images.shape[2:] == (24, 24)
        return self.conv(images)

class Dictionary(Picky):
    def forward(self, images):
        return {"out": self.conv(images)}
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "segmenters_of_a_test"
    (tmp_path / f"{name}.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def _build(spec: str, **more: bool) -> Network:
    return build(spec, 2, seed=0, image_size=32, is_dense=True, **more)


def _refused(spec: str, kind: type[DmtError] = SettingError, **more: bool) -> str:
    with pytest.raises(kind) as error:
        _build(spec, **more)
    text = str(error.value)
    assert "\n" not in text
    assert not text.endswith(".")
    return text


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("deeplab_v2", "such as deeplab_v2:resnet101 or deeplab_v2:wrn_16_1"),
        ("deeplab_v2:", "needs a backbone"),
        ("deeplab_v2:wrn_10_1:6,12", "such as deeplab_v2:wrn_10_1:6-12-18-24"),
        ("deeplab_v2:wrn_10_1:0", "deeplab_v2:wrn_10_1:6-12-18-24"),
        ("deeplab_v2:wrn_10_1:6:12", "and nothing else"),
        ("deeplab_v2:wrn_11_1", "wrn_10_1 or wrn_16_1"),
        ("wrn_16_1", "take model=deeplab_v2:wrn_16_1"),
    ],
)
def test_a_wrong_name_says_the_right_one(spec: str, hint: str) -> None:
    assert hint in _refused(spec)


@needs_library
@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("deeplab_v2:resnet18x", "did you mean resnet18"),
        ("deeplab_v2:vgg11", "no feature map of stride 8; take"),
        ("unet", "such as model=unet:resnet18"),
        ("unett:resnet18", "did you mean unet"),
        ("unet-plus-plus:resnet18", "did you mean unetplusplus"),
        ("deeplab_v3:tu-resnet18", "did you mean deeplabv3"),
        ("unet:resnet181", "did you mean resnet18"),
        ("unet:mobilenetv3_small_100", "did you mean tu-mobilenetv3_small_100"),
        ("unet:tu-mobilenetv3_smal_100", "did you mean tu-mobilenetv3_small_100"),
        ("unet:qqqq", "`resnet18` is one"),
        ("dpt:resnet18", "take another encoder"),
        ("resnet18", "take model=deeplab_v2:resnet18 or unet:tu-resnet18"),
        ("qqqq", "`unet` and `deeplab_v2` are two"),
    ],
)
def test_a_wrong_name_of_a_library_says_the_right_one(spec: str, hint: str) -> None:
    assert hint in _refused(spec)


@pytest.mark.parametrize("spec", ["deeplab_v2:wrn_16_1", "unet:resnet18", "FPN:tu-x"])
def test_a_model_for_pixels_is_none_for_images(spec: str) -> None:
    with pytest.raises(SettingError, match="one class an image; take a classifier") as error:
        build(spec, 2, seed=0, image_size=32)
    assert "\n" not in str(error.value)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    text = _refused("unet:resnet18", EnvironmentFault)
    assert "pip install segmentation-models-pytorch" in text
    assert "model=deeplab_v2:wrn_16_1" in text
    assert "did you mean unet" in _refused("unett:resnet18")
    assert not are_cached("unet:resnet18")


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    assert "model=deeplab_v2:wrn_16_1" in _refused("deeplab_v2:resnet18", EnvironmentFault)
    assert "take model=deeplab_v2:wrn_16_1" in _refused("resnet18")


def test_a_library_that_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(importlib, "import_module", broken)
    assert "dmt doctor" in _refused("unet:resnet18", EnvironmentFault)


@pytest.mark.parametrize(
    ("attribute", "stride", "max_side"),
    [("full", 1, None), ("coarse", 1, None), ("Picky", 8, None)],
)
def test_a_factory_for_pixels(
    factories: str, attribute: str, stride: int, max_side: int | None
) -> None:
    network = build(f"{factories}:{attribute}", 4, seed=0, image_size=30, is_dense=True)
    assert (network.stride, network.max_side) == (stride, max_side)
    assert network(torch.zeros(2, 3, 13, 22)).shape == (2, 4, 13, 22)


def test_a_factory_of_one_size(factories: str) -> None:
    network = build(f"{factories}:Fixed", 4, seed=0, image_size=24, is_dense=True)
    assert network(torch.zeros(2, 3, 13, 22)).shape == (2, 4, 13, 22)
    with pytest.raises(SettingError, match="window"):
        network(torch.zeros(2, 3, 25, 24))


@pytest.mark.parametrize(
    ("attribute", "reason"),
    [
        ("rows", r"(2, 2, height, width) for two images, not (2, 2, 128)"),
        ("off_by_one", "not (2, 3, 32, 32)"),
        ("Dictionary", "not dict"),
        ("Fixed", "cannot take images of 32×32 pixels"),
    ],
)
def test_a_factory_that_does_not_fit(factories: str, attribute: str, reason: str) -> None:
    assert reason in _refused(f"{factories}:{attribute}")


def test_a_factory_for_pixels_is_no_classifier(factories: str) -> None:
    with pytest.raises(SettingError, match=r"one row of 2 logits an image, .*not \(2, 2, 32, 32\)"):
        build(f"{factories}:full", 2, seed=0, image_size=32)


def test_code_that_only_a_run_folder_names_is_not_run(factories: str) -> None:
    assert "trust_code=true" in _refused(f"{factories}:full", allowed_factory=False)
    assert factories not in sys.modules


@pytest.mark.parametrize("spec", ["deeplab_v2:wrn_10_1", "json:loads"])
def test_what_has_no_pretrained_weights_says_so(spec: str) -> None:
    assert "weights=none" in _refused(spec, EnvironmentFault, pretrained=True)
    assert not are_cached(spec)


@needs_library
@pytest.mark.parametrize("spec", ["deeplab_v2:resnet10t", "unet:resnet18", "unet:tu-resnet10t"])
def test_off_line_one_sentence(spec: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    client = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(client, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(client, "HF_HUB_OFFLINE", True)
    assert "HF_HOME" in _refused(spec, EnvironmentFault, pretrained=True)
    assert not are_cached(spec)


@needs_library
@pytest.mark.parametrize("spec", ["deeplab_v2:{}", "unet:tu-{}"])
def test_timm_weights_start_the_backbone(
    spec: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = "test_resnet"
    with torch.random.fork_rng(devices=[]):
        source = importlib.import_module("timm").create_model(name)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    monkeypatch.setattr(timm_models, "cached_weights", lambda name: tmp_path / "w.safetensors")
    network = _build(spec.format(name), pretrained=True)
    assert are_cached(spec.format(name))
    found = network.state_dict()
    inside = "backbone." if spec.startswith("deeplab") else "encoder.model."
    for tensor in ("layer4.0.conv1.weight", "bn1.running_var"):
        assert torch.equal(found[f"module.{inside}{tensor}"], source.state_dict()[tensor])
    config = source.pretrained_cfg
    torch.testing.assert_close(network.mean.flatten(), 255 * torch.tensor(config["mean"]))


@needs_library
def test_the_librarys_own_weights_start_the_encoder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = _build("unet:resnet18").module.encoder.state_dict()
    source = {name: tensor.float() + 1 for name, tensor in source.items()}
    save_file(source, tmp_path / "model.safetensors")
    config = {"mean": [51, 51, 51], "std": [255, 255, 255], "input_range": [0, 255]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(hub, "cached", lambda address: tmp_path / address.file)
    network = _build("unet:resnet18", pretrained=True)
    assert are_cached("unet:resnet18")
    assert torch.equal(network.module.encoder.conv1.weight, source["conv1.weight"])
    torch.testing.assert_close(network.mean.flatten(), torch.full((3,), 51.0))
    (tmp_path / "model.safetensors").write_bytes(b"cut short")
    assert "do not fit" in _refused("unet:resnet18", EnvironmentFault, pretrained=True)
