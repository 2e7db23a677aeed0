"""Weights from files of every usual layout: what fits, what is reported, and what is refused."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dmt.errors import SettingError
from dmt.models.build import Network, build
from dmt.models.local_weights import LoadReport, Unfitting, load_local
from dmt.models.weights import save

DEEPLAB = "deeplab_v2:wrn_10_1:6-12"


def _network(spec: str = DEEPLAB, num_classes: int = 3, seed: int = 1) -> Network:
    is_dense = ":" in spec
    return build(spec, num_classes, seed=seed, image_size=32, is_dense=is_dense)


def _state(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def _equal(left: dict[str, Tensor], right: dict[str, Tensor], prefix: str = "") -> bool:
    names = [name for name in left if name.startswith(prefix)]
    assert names
    return all(torch.equal(left[name], right[name]) for name in names)


def _refused(network: Network, path: Path, **more: str) -> str:
    before = _state(network)
    with pytest.raises(SettingError) as error:
        load_local(network, path, **more)
    assert _equal(before, _state(network))
    text = str(error.value)
    assert str(path) in text
    assert "\n" not in text
    assert not text.endswith(".")
    return text


def test_a_file_of_our_own_runs(tmp_path: Path) -> None:
    source, network = _network(seed=2), _network()
    save(source, tmp_path / "w.safetensors", {})
    report = load_local(network, tmp_path / "w.safetensors")
    assert _equal(_state(source), _state(network))
    assert (report.loaded, report.missing, report.unfitting, report.unused) == (
        report.total,
        (),
        (),
        (),
    )
    assert report.sentence() == (
        f"weights of {tmp_path / 'w.safetensors'}: {report.total} of {report.total} tensors fit"
    )


def test_other_classes_leave_the_last_layer_as_it_was(tmp_path: Path) -> None:
    source, network = _network(num_classes=21, seed=2), _network()
    before = _state(network)
    save(source, tmp_path / "w.safetensors", {})
    report = load_local(network, tmp_path / "w.safetensors")
    after = _state(network)
    assert _equal(_state(source), after, "module.backbone.")
    assert _equal(before, after, "module.aspp.")
    assert report.unfitting[0] == Unfitting("aspp.0.weight", (21, 64, 3, 3), (3, 64, 3, 3))
    assert report.loaded == report.total - 4
    assert "left as initialised: aspp.0.weight (21 there, 3 here), " in report.sentence()


def test_a_classifier_starts_a_segmenter_and_the_reverse(tmp_path: Path) -> None:
    classifier, segmenter = _network("wrn_10_1", seed=2), _network()
    save(classifier, tmp_path / "w.safetensors", {})
    report = load_local(segmenter, tmp_path / "w.safetensors")
    assert torch.equal(segmenter.module.backbone.stem.weight, classifier.module.stem.weight)
    assert set(report.unused) == {"module.classifier.weight", "module.classifier.bias"}
    assert report.missing == ("aspp.0.weight", "aspp.0.bias", "aspp.1.weight", "aspp.1.bias")
    again = _network("wrn_10_1", seed=3)
    save(segmenter, tmp_path / "s.safetensors", {})
    report = load_local(again, tmp_path / "s.safetensors")
    assert torch.equal(again.module.stem.weight, classifier.module.stem.weight)
    assert report.missing == ("classifier.weight", "classifier.bias")


def test_preprocessing_is_not_taken_but_a_difference_is_said(tmp_path: Path) -> None:
    source = build(DEEPLAB, 3, seed=2, image_size=32, mean=[0.5] * 3, is_dense=True)
    network = _network()
    mean = network.mean.clone()
    save(source, tmp_path / "w.safetensors", {})
    report = load_local(network, tmp_path / "w.safetensors")
    assert torch.equal(network.mean, mean)
    assert not report.same_colors
    assert "another mean or std" in report.sentence()


WRAPPERS: list[Any] = [
    lambda state: state,
    lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {0: {}}}},
    lambda state: {"model": state, "optimizer": None, "lr_scheduler": None},
    lambda state: {"model_state_dict": state},
    lambda state: {"net": {f"module.{name}": each for name, each in state.items()}},
    lambda state: {"a": {"b": {f"_orig_mod.model.{name}": each for name, each in state.items()}}},
    lambda state: {name: each.half() for name, each in state.items()},
    lambda state: {name: each for name, each in state.items() if "num_batches" not in name},
    lambda state: {
        f"{who}.{name}": each + (who == "student_ema")
        for who in ("student_ema", "student")
        for name, each in state.items()
    },
]


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("zipped", [True, False])
def test_wherever_the_tensors_lie_in_a_file(wrapper: Any, zipped: bool, tmp_path: Path) -> None:
    source, network = _network(seed=2), _network()
    state = {name.removeprefix("module."): tensor for name, tensor in _state(source).items()}
    torch.save(wrapper(state), tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    report = load_local(network, tmp_path / "w.pth")
    assert (report.loaded, report.missing, report.unfitting) == (report.total, (), ())
    expected, found = _state(source), _state(network)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-4)


def _as_authors(name: str) -> str:
    """Of the DMT authors' DeepLab: a backbone, and convolutions in a list of the classifier."""
    return re.sub(r"^aspp\.(\d)", r"classifier.0.convs.\1", name)


def _as_coco(name: str) -> str:
    """Of the file for COCO that they start from: no prefix, and a fifth layer."""
    return re.sub(r"^aspp\.(\d)", r"layer5.conv2d_list.\1", name.removeprefix("backbone."))


def _as_torchvision(name: str) -> str:
    """Of torchvision's DeepLab-v3, whose pyramid is another one."""
    return re.sub(r"^aspp\.(\d)", r"classifier.0.convs.\1.0", name)


@pytest.mark.parametrize("rename", [_as_authors, _as_coco, _as_torchvision])
def test_layouts_of_a_dilated_resnet(rename: Any, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    source = _network("deeplab_v2:test_resnet", num_classes=4, seed=2)
    network = _network("deeplab_v2:test_resnet:6-12", num_classes=4)
    tensors = {
        rename(name.removeprefix("module.")): tensor
        for name, tensor in _state(source).items()
        if name.startswith("module.")
    }
    torch.save({"model": tensors}, tmp_path / "w.pt")
    report = load_local(network, tmp_path / "w.pt", what="peers.b.weights")
    assert _equal(
        {name: each for name, each in _state(source).items() if "backbone" in name},
        _state(network),
    )
    if rename is _as_torchvision:
        assert report.missing == ("aspp.0.weight", "aspp.0.bias", "aspp.1.weight", "aspp.1.bias")
        assert len(report.unused) == 8
    else:
        assert (report.missing, len(report.unused)) == ((), 4)  # two branches more than ours
        assert torch.equal(network.module.aspp[1].weight, source.module.aspp[1].weight)
        assert "4 of the file's are not used: " in report.sentence()


def test_torchvisions_resnet_is_the_same_function(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    models = pytest.importorskip("torchvision.models")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        source = models.resnet50(replace_stride_with_dilation=[False, True, True]).eval()
    torch.save(source.state_dict(), tmp_path / "w.pth")
    network = _network("deeplab_v2:resnet50")
    report = load_local(network, tmp_path / "w.pth")
    assert report.unused == ("fc.bias", "fc.weight")
    backbone = network.module.backbone.eval()
    images = torch.randn(1, 3, 49, 64)
    with torch.no_grad():
        trunk = nn.Sequential(*list(source.children())[:-2])
        torch.testing.assert_close(backbone(images)[0], trunk(images))


@pytest.mark.parametrize(
    ("spec", "inside"),
    [
        ("unet:resnet18", "module.encoder."),
        ("unet:tu-resnet18", "module.encoder.model."),
        ("resnet18", "module."),
    ],
)
def test_torchvision_or_timm_files_in_other_networks(
    spec: str, inside: str, tmp_path: Path
) -> None:
    timm = pytest.importorskip("timm")
    if ":" in spec:
        pytest.importorskip("segmentation_models_pytorch")
    with torch.random.fork_rng(devices=[]):
        source = timm.create_model("resnet18").state_dict()
    save_file(source, tmp_path / "w.safetensors")
    network = _network(spec)
    report = load_local(network, tmp_path / "w.safetensors")
    for name in ("conv1.weight", "layer4.1.bn2.running_var"):
        assert torch.equal(_state(network)[inside + name], source[name])
    if spec == "resnet18":
        assert report.unfitting[0] == Unfitting("fc.weight", (1000, 512), (3, 512))
    else:
        assert report.unused == ("fc.bias", "fc.weight")
        assert all(name.startswith(("decoder.", "segmentation_head.")) for name in report.missing)


def test_feature_extractors_flatten_names(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    with torch.random.fork_rng(devices=[]):
        source = timm.create_model("test_convnext").state_dict()
    save_file(source, tmp_path / "w.safetensors")
    network = _network("deeplab_v2:test_convnext")
    report = load_local(network, tmp_path / "w.safetensors")
    assert report.missing[0] == "aspp.0.weight"
    assert all(name.startswith("head.") for name in report.unused)


def test_the_authors_wide_resnet(tmp_path: Path) -> None:
    source, network = _network("wrn_16_1", seed=2), _network("wrn_16_1")
    theirs = {}
    for name, tensor in _state(source).items():
        other = name.removeprefix("module.")
        if other in ("mean", "std"):
            continue
        other = re.sub(r"group(\d)\.(\d)", r"block\1.layer.\2", other)
        for ours, it in (("norm1", "bn1"), ("norm2", "bn2"), ("shortcut", "convShortcut")):
            other = other.replace(ours, it)
        other = re.sub(r"^norm\.", "bn1.", other)
        other = re.sub(r"^stem\.", "conv1.", re.sub(r"^classifier\.", "fc.", other))
        theirs[f"module.{other}"] = tensor
    torch.save({"model": theirs}, tmp_path / "w.pt")
    report = load_local(network, tmp_path / "w.pt")
    assert _equal(_state(source), _state(network))
    assert (report.loaded, report.unused) == (report.total, ())


def test_a_file_of_another_architecture_names_both_sides(tmp_path: Path) -> None:
    save(_network("wrn_28_2", seed=2), tmp_path / "w.safetensors", {})
    text = _refused(_network(), tmp_path / "w.safetensors", what="peers.b.weights")
    assert text.startswith(f"peers.b.weights={tmp_path / 'w.safetensors'} does not fit")
    torch.save({"layers.0.qkv": torch.zeros(3)}, tmp_path / "w.pt")
    text = _refused(_network(), tmp_path / "w.pt")
    assert "only 0 of the " in text
    assert "the model wants backbone.stem.weight" in text
    assert "the file has layers.0.qkv" in text


class _Thing:
    """What only code could bring back."""


def _write(path: Path, how: str) -> None:
    state = _state(_network())
    match how:
        case "missing":
            return
        case "folder":
            path.mkdir()
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("these are no weights at all")
        case "short" | "short_old":
            torch.save(state, path, _use_new_zipfile_serialization=how == "short")
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2])
        case "cut_in_a_name":
            torch.save(state, path, _use_new_zipfile_serialization=False)
            content = path.read_bytes()
            path.write_bytes(content[: content.index(b"_rebuild_tensor") + 8])
        case "object":
            torch.save({"state_dict": state, "args": _Thing()}, path)
        case "module":
            torch.save(_network(), path)
        case "list":
            torch.save([1, 2], path)
        case "no_tensors":
            torch.save({"epoch": 3}, path)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("how", ["missing", "folder", "empty", "text", "short"])
def test_a_damaged_file(how: str, suffix: str, tmp_path: Path) -> None:
    _write(tmp_path / f"w.{suffix}", how)
    text = _refused(_network(), tmp_path / f"w.{suffix}")
    assert ("there is no file" in text) == (how in ("missing", "folder"))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("short_old", "cut short"),
        ("cut_in_a_name", "cut short"),
        ("object", r"more than tensors \(\S*_Thing\)"),
        ("module", r"more than tensors \(dmt\.models\.network\.Network\)"),
        ("list", "holds no named tensors"),
        ("no_tensors", "holds no named tensors"),
    ],
)
def test_a_file_that_is_no_weights(how: str, reason: str, tmp_path: Path) -> None:
    _write(tmp_path / "w.pt", how)
    assert re.search(reason, _refused(_network(), tmp_path / "w.pt"))


def test_the_sentence() -> None:
    report = LoadReport(
        "f.pth",
        5,
        12,
        tuple(f"m.{number}" for number in range(5)),
        (Unfitting("a.weight", (21, 8), (5, 8)), Unfitting("b", (2, 3), (3, 2))),
        ("fc.bias",),
    )
    assert report.sentence() == (
        "weights of f.pth: 5 of 12 tensors fit; left as initialised: a.weight (21 there, 5 here), "
        "b (2×3 there, 3×2 here), m.0, m.1 and 3 more; 1 of the file's is not used: fc.bias"
    )
