"""timm and the hub: absent, broken, off-line or there; with the true timm where it is installed."""

import importlib
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dmt.errors import EnvironmentFault, SettingError
from dmt.models import timm_models
from dmt.models.build import are_cached, build

needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")


class _Tiny(nn.Module):
    """As much of a timm model as we touch."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(3, num_classes)
        self.feature_info = [{"reduction": 4}, {"reduction": 16}]
        self.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
        self.num_resets = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(images.mean(dim=(2, 3)))

    def reset_classifier(self, num_classes: int) -> None:
        self.num_resets += 1
        self.head = nn.Linear(3, num_classes)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """A timm that knows `tiny` (weights on the hub) and `fixed` (one image size, no weights)."""
    calls: list[dict[str, object]] = []
    configs = {
        "tiny": SimpleNamespace(
            fixed_input_size=False, num_classes=6, hf_hub_id="timm/tiny@v1", hf_hub_filename=None
        ),
        "fixed": SimpleNamespace(
            fixed_input_size=True, num_classes=6, hf_hub_id=None, hf_hub_filename=None
        ),
    }

    def create_model(name: str, *, num_classes: int, **options: object) -> nn.Module:
        calls.append({"name": name, **options})
        if name == "fixed" and options.get("img_size", 16) != 16:
            raise AssertionError("Input size must be 16")
        return _Tiny(num_classes)

    def get_pretrained_cfg(name: str) -> SimpleNamespace | None:
        if name == "tiny.nope":
            raise RuntimeError("Invalid pretrained tag")
        return configs.get(name)

    timm = ModuleType("timm")
    vars(timm).update(
        list_models=lambda: list(configs),
        is_model=lambda name: name in configs,
        get_pretrained_cfg=get_pretrained_cfg,
        create_model=create_model,
    )
    monkeypatch.setitem(sys.modules, "timm", timm)
    return calls


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A hub's client with an empty cache and no network."""
    hub = ModuleType("huggingface_hub")

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Name or service not known\nand more")

    def must_not_be_called(*_: object, **__: object) -> None:
        raise AssertionError("the download retries for long; ask first")

    vars(hub).update(
        try_to_load_from_cache=lambda repo, file, revision: None,
        hf_hub_url=lambda repo, file, revision: f"https://hub.invalid/{repo}/{file}",
        get_hf_file_metadata=unreachable,
        hf_hub_download=must_not_be_called,
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    return hub


@pytest.mark.parametrize("spec", ["tiny", "timm:tiny"])
def test_a_model_by_name(calls: list[dict[str, object]], spec: str) -> None:
    network = build(spec, 4, seed=0, image_size=32)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 4)
    assert network.stride == 16
    torch.testing.assert_close(network.mean.flatten(), torch.full((3,), 127.5))
    assert calls == [{"name": "tiny", "pretrained": False, "pretrained_cfg_overlay": None}]


def test_a_model_of_one_size_is_built_for_the_images(calls: list[dict[str, object]]) -> None:
    build("fixed", 4, seed=0, image_size=16)
    assert calls[-1]["img_size"] == 16
    with pytest.raises(SettingError, match=r"32×32 pixels \(Input size must be 16\)"):
        build("fixed", 4, seed=0, image_size=32)


@pytest.mark.parametrize("spec", ["tinny", "tiny.nope"])
@pytest.mark.usefixtures("calls")
def test_the_nearest_name_is_suggested(spec: str) -> None:
    with pytest.raises(SettingError, match="did you mean tiny"):
        build(spec, 4, seed=0, image_size=32)


@pytest.mark.usefixtures("calls", "hub")
def test_without_network_one_sentence_with_the_cures() -> None:
    with pytest.raises(EnvironmentFault, match=r"of tiny cannot be had \(Name or") as error:
        build("tiny", 4, seed=0, image_size=32, pretrained=True)
    text = str(error.value)
    assert "\n" not in text
    for cure in ("connect once", "HF_HOME", "weights=none"):
        assert cure in text
    assert not are_cached("tiny")


@pytest.mark.usefixtures("calls")
def test_a_model_without_weights() -> None:
    with pytest.raises(EnvironmentFault, match="the hub has none"):
        build("fixed", 4, seed=0, image_size=16, pretrained=True)
    assert not are_cached("fixed")


@pytest.mark.parametrize(("num_classes", "num_resets"), [(6, 1), (4, 0)])
def test_cached_weights_are_used_without_network_under_a_new_classifier(
    calls: list[dict[str, object]],
    hub: ModuleType,
    tmp_path: Path,
    num_classes: int,
    num_resets: int,
) -> None:
    asked = []
    path = str(tmp_path / "model.safetensors")

    def cached(repo: str, file: str, revision: str | None) -> str:
        asked.append((repo, file, revision))
        return path

    vars(hub).update(try_to_load_from_cache=cached)
    assert are_cached("timm:tiny")
    network = build("tiny", num_classes, seed=0, image_size=32, pretrained=True)
    assert set(asked) == {("timm/tiny", "model.safetensors", "v1")}
    assert calls[-1]["pretrained_cfg_overlay"] == {"file": path, "custom_load": False}
    assert network.module.num_resets == num_resets


def test_a_reachable_hub_is_downloaded_from(
    calls: list[dict[str, object]], hub: ModuleType
) -> None:
    vars(hub).update(
        get_hf_file_metadata=lambda url, timeout: None,
        hf_hub_download=lambda repo, file, revision: f"/cache/{repo}/{file}",
    )
    build("tiny", 4, seed=0, image_size=32, pretrained=True)
    overlay = calls[-1]["pretrained_cfg_overlay"]
    assert overlay == {"file": "/cache/timm/tiny/model.safetensors", "custom_load": False}


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(EnvironmentFault, match="pip install torchvision timm") as error:
        build("resnet18", 4, seed=0, image_size=32)
    assert "timm, which is not installed" in str(error.value)
    assert not are_cached("resnet18")


def test_torchvision_of_another_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(EnvironmentFault, match="torchvision::nms does not exist") as error:
        build("resnet18", 4, seed=0, image_size=32)
    assert "dmt doctor" in str(error.value)
    assert "same build" in str(error.value)


@needs_timm
@pytest.mark.parametrize(
    ("spec", "image_size", "stride"),
    [
        ("resnet18", 32, 32),
        ("timm:vit_tiny_patch16_224", 48, 16),
        ("mobilenetv3_small_050", 64, 32),
    ],
)
def test_true_timm(spec: str, image_size: int, stride: int) -> None:
    first = build(spec, 7, seed=3, image_size=image_size)
    again = build(spec, 7, seed=3, image_size=image_size)
    assert first.stride == stride
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


@needs_timm
def test_true_timm_suggests_its_names() -> None:
    with pytest.raises(SettingError, match="resnet18"):
        build("resnet18x", 7, seed=3, image_size=32)
    with pytest.raises(SettingError, match="no model is called"):
        build("resnet18.nope", 7, seed=3, image_size=32)


@needs_timm
def test_true_hub_offline_fails_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    timm_models.names()  # timm's import is not what is timed
    start = time.monotonic()
    with pytest.raises(EnvironmentFault, match="weights=none"):
        build("resnet18", 7, seed=3, image_size=32, pretrained=True)
    assert time.monotonic() - start < 15  # its own retries would take longer
    assert not are_cached("resnet18")


@needs_timm
def test_true_timm_takes_all_but_the_classifier_from_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = "vit_tiny_patch16_224"
    with torch.random.fork_rng(devices=[]):
        source = importlib.import_module("timm").create_model(name)
    path = tmp_path / "model.safetensors"
    save_file(source.state_dict(), path)
    monkeypatch.setattr(timm_models, "cached_weights", lambda name: path)
    for num_classes in (7, 1000):
        network = build(name, num_classes, seed=3, image_size=32, pretrained=True)
        block = network.module.blocks[0].attn.qkv.weight
        assert torch.equal(block, source.blocks[0].attn.qkv.weight)
        assert network.module.head.out_features == num_classes
    assert not torch.equal(network.module.head.weight, source.head.weight)
