"""From a name to a network: seeds, preprocessing, factories, mistakes; timm's part is beside."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from dmt.errors import EnvironmentFault, SettingError
from dmt.models.build import CIFAR10_MEAN, CIFAR10_STD, Network, are_cached, build

FACTORIES = """
import torch
from torch import nn

class Flat(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.linear = nn.Linear(3 * 8 * 8, num_classes)
    def forward(self, images):
        return self.linear(images.flatten(1))

class Auxiliary(Flat):
    def forward(self, images):
        logits = super().forward(images)
        return (logits, logits) if self.training else logits

class Zoo:
    flat = Flat

def good(num_classes): return Flat(num_classes)
def normed(num_classes): return nn.Sequential(nn.BatchNorm2d(3), Flat(num_classes))
def off_by_one(num_classes): return Flat(num_classes + 1)
def no_module(num_classes): return "a model"
def no_argument(): return Flat(3)
def failing(num_classes): raise OSError("no disk\\nsecond line")
number = 3
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "factories_of_a_test"
    (tmp_path / f"{name}.py").write_text(FACTORIES)
    (tmp_path / "breaks_on_import.py").write_text("raise ValueError('half written')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def _one_sentence(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert not text.endswith(".")
    return text


def _weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_wide_resnet_takes_bytes_and_gives_logits() -> None:
    network = build("wrn_10_1", 5, seed=1, image_size=8)
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    assert network.training
    assert network(images).shape == (4, 5)
    assert (network.stride, network.num_classes, network.image_size) == (4, 5, 8)
    network.eval()
    assert torch.equal(network(images), network(images.float()))


def test_preprocessing_belongs_to_the_network() -> None:
    network = build("wrn_10_1", 2, seed=0, image_size=8)
    images = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    expected = (1 - torch.tensor(CIFAR10_MEAN)) / torch.tensor(CIFAR10_STD)
    torch.testing.assert_close(network.normalize(images)[0, :, 0, 0], expected)
    assert not any(name in dict(network.named_parameters()) for name in ("mean", "std"))


def test_bgr_statistics_are_in_the_models_order() -> None:
    network = build(
        "wrn_10_1",
        2,
        seed=0,
        image_size=8,
        mean=(0.1, 0.2, 0.3),
        std=(1, 1, 1),
        channel_order="bgr",
    )
    red = torch.zeros(1, 3, 8, 8)
    red[:, 0] = 255
    torch.testing.assert_close(
        network.normalize(red)[0, :, 0, 0], torch.tensor([-0.1, -0.2, 1 - 0.3])
    )


def test_memory_format_survives_normalisation() -> None:
    network = build("wrn_10_1", 2, seed=0, image_size=8)
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8).to(memory_format=torch.channels_last)
    assert network.normalize(images).is_contiguous(memory_format=torch.channels_last)


def test_images_are_not_changed_in_place() -> None:
    images = torch.rand(2, 3, 8, 8) * 255
    before = images.clone()
    build("wrn_10_1", 2, seed=0, image_size=8)(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("seed", [0, -(2**63), 2**64 - 1])
def test_the_seed_alone_decides(seed: int) -> None:
    torch.manual_seed(3)
    first = _weights(build("wrn_10_1", 3, seed=seed, image_size=8))
    torch.rand(10)
    second = _weights(build("wrn_10_1", 3, seed=seed, image_size=32))
    assert torch.equal(first, second)
    assert not torch.equal(first, _weights(build("wrn_10_1", 3, seed=7, image_size=8)))


def test_the_global_generator_is_untouched(factories: str) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    build("wrn_10_1", 3, seed=1, image_size=8)
    build(f"{factories}:good", 3, seed=1, image_size=8)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(
    ("spec", "near"),
    [
        ("wrn_27_2", "wrn_22_2 or wrn_28_2"),
        ("wrn_29_10", "wrn_28_10 or wrn_34_10"),
        ("wrn_4_1", "take wrn_10_1"),
        ("wrn_28_0", "take wrn_28_1"),
        ("wrn-28-2", "wrn_28_2"),
        ("WRN282", "wrn_28_2"),
    ],
)
def test_a_wrong_wide_resnet_names_a_right_one(spec: str, near: str) -> None:
    with pytest.raises(SettingError, match=near) as error:
        build(spec, 10, seed=0, image_size=32)
    assert spec in _one_sentence(error)


def test_images_too_small() -> None:
    with pytest.raises(SettingError, match="at least 8 pixels") as error:
        build("wrn_10_1", 10, seed=0, image_size=7)
    _one_sentence(error)


@pytest.mark.parametrize("spec", ["wrn_28_2", "json:loads"])
def test_what_has_no_pretrained_weights_says_so(spec: str) -> None:
    with pytest.raises(EnvironmentFault, match="weights=none") as error:
        build(spec, 10, seed=0, image_size=32, pretrained=True)
    _one_sentence(error)
    assert not are_cached(spec)


@pytest.mark.parametrize("attribute", ["good", "Zoo.flat", "normed"])
def test_a_factory_in_the_working_folder(factories: str, attribute: str) -> None:
    path_before = list(sys.path)
    first = build(f"{factories}:{attribute}", 4, seed=5, image_size=8)
    again = build(f"{factories}:{attribute}", 4, seed=5, image_size=8)
    assert isinstance(first, Network)
    assert first.training
    assert sys.path == path_before
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert first(torch.zeros(3, 3, 8, 8)).shape == (3, 4)


def test_the_dry_run_moves_no_running_statistics(factories: str) -> None:
    norm = build(f"{factories}:normed", 4, seed=5, image_size=8).module[0]
    assert norm.num_batches_tracked == 0
    assert torch.equal(norm.running_mean, torch.zeros(3))


@pytest.mark.parametrize(
    ("attribute", "reason"),
    [
        ("off_by_one", r"\(2, 4\) for two images, not \(2, 5\)"),
        ("Auxiliary", "not tuple"),
        ("no_module", "must return a torch.nn.Module, not str"),
        ("no_argument", "num_classes=4 failed"),
        ("failing", "OSError: no disk"),
        ("number", "names no function but a int"),
        ("missing", "cannot be imported"),
    ],
)
def test_a_factory_that_does_not_work(factories: str, attribute: str, reason: str) -> None:
    with pytest.raises(SettingError, match=reason) as error:
        build(f"{factories}:{attribute}", 4, seed=0, image_size=8)
    assert f"{factories}:{attribute}" in _one_sentence(error)


def test_a_factory_that_takes_no_such_images(factories: str) -> None:
    with pytest.raises(SettingError, match="9×9 pixels") as error:
        build(f"{factories}:good", 4, seed=0, image_size=9)
    assert "data.image_size" in _one_sentence(error)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [("no_such_package_of_ours:net", "No module named"), ("breaks_on_import:net", "half written")],
)
@pytest.mark.usefixtures("factories")
def test_a_factory_that_cannot_be_imported(spec: str, reason: str) -> None:
    with pytest.raises(SettingError, match=reason) as error:
        build(spec, 4, seed=0, image_size=8)
    _one_sentence(error)


def test_code_that_only_a_run_folder_names_is_not_run(factories: str) -> None:
    with pytest.raises(SettingError, match="trust_code=true") as error:
        build(f"{factories}:good", 4, seed=0, image_size=8, allowed_factory=False)
    _one_sentence(error)
    assert factories not in sys.modules


@pytest.mark.parametrize("spec", ["", "hf-hub:timm/resnet18", "a/b", "../x:y", "timm:"])
def test_what_no_name_can_be(spec: str) -> None:
    with pytest.raises(SettingError, match="no model is called"):
        build(spec, 4, seed=0, image_size=32)
