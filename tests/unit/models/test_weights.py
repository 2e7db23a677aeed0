"""Weights files: round trips, equal bytes, and every way in which a file can be the wrong one."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dmt.errors import RunError, SettingError
from dmt.models.build import Network, build
from dmt.models.weights import load_into, read_metadata, restore, save


def _network(seed: int = 1, num_classes: int = 3, spec: str = "wrn_10_1") -> Network:
    return build(spec, num_classes, seed=seed, image_size=8)


def _same(left: Network, right: Network) -> bool:
    theirs = right.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in left.state_dict().items())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    network = _network()
    network(torch.randn(4, 3, 8, 8))  # so that running statistics are not what they start as
    save(network, tmp_path / "model.safetensors", {"classes": '["a", "b", "ü"]', "round": "2"})
    return tmp_path / "model.safetensors"


def test_round_trip(saved: Path) -> None:
    other = _network(seed=2)
    load_into(other, saved)
    again = saved.with_name("again.safetensors")
    save(other, again, read_metadata(saved))
    assert again.read_bytes() == saved.read_bytes()
    assert other.module.norm.num_batches_tracked == 1


def test_metadata_says_how_to_build_it(saved: Path) -> None:
    assert read_metadata(saved) == {
        "channel_order": "rgb",
        "classes": '["a", "b", "ü"]',
        "image_size": "8",
        "model": "wrn_10_1",
        "num_classes": "3",
        "output": "image",
        "round": "2",
    }


def test_equal_bytes_whatever_the_order_of_metadata(tmp_path: Path) -> None:
    words = {f"key{number}": str(number) for number in range(20)}
    contents = set()
    for turn, pairs in enumerate((list(words.items()), list(words.items())[::-1])):
        save(_network(), tmp_path / f"{turn}.safetensors", dict(pairs))
        contents.add((tmp_path / f"{turn}.safetensors").read_bytes())
    assert len(contents) == 1


def test_the_file_is_plain_safetensors_and_nothing_is_left_beside_it(saved: Path) -> None:
    tensors = load_file(saved)
    network = _network(seed=2)
    network.load_state_dict(tensors)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_channels_last_weights_are_stored_as_usual(tmp_path: Path) -> None:
    network = _network().to(memory_format=torch.channels_last)
    save(network, tmp_path / "w.safetensors", {})
    other = _network(seed=2)
    load_into(other, tmp_path / "w.safetensors")
    assert _same(network, other)


def test_restore_needs_nothing_but_the_file(tmp_path: Path) -> None:
    network = build(
        "wrn_16_1", 4, seed=9, image_size=12, mean=(0, 0, 0), std=(1, 1, 1), channel_order="bgr"
    ).eval()
    save(network, tmp_path / "w.safetensors", {})
    restored = restore(tmp_path / "w.safetensors")
    images = torch.randint(0, 256, (2, 3, 12, 12), dtype=torch.uint8)
    assert not restored.training
    assert (restored.spec, restored.image_size) == ("wrn_16_1", 12)
    assert torch.equal(restored(images), network(images))


def test_a_file_from_before_there_were_masks_holds_a_classifier(tmp_path: Path) -> None:
    network = _network().eval()
    words = {"model": "wrn_10_1", "num_classes": "3", "image_size": "8", "channel_order": "rgb"}
    save_file(network.state_dict(), tmp_path / "w.safetensors", metadata=words)
    restored = restore(tmp_path / "w.safetensors")
    assert not restored.is_dense
    assert _same(network, restored)


def test_restore_does_not_run_code_that_only_the_file_names(tmp_path: Path) -> None:
    network = _network()
    network.spec = "somebody.elses:code"
    save(network, tmp_path / "w.safetensors", {})
    with pytest.raises(SettingError, match="trust_code=true"):
        restore(tmp_path / "w.safetensors")


def test_restore_of_a_file_from_elsewhere(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(RunError, match="does not say which model"):
        restore(tmp_path / "w.safetensors")


def _damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    match how:
        case "missing":
            path.unlink()
        case "folder":
            path.unlink()
            path.mkdir()
        case "empty":
            path.write_bytes(b"")
        case "short":
            path.write_bytes(content[: len(content) // 2])
        case "header":
            path.write_bytes(content[:100])
        case "text":
            path.write_text("these are no weights at all, but a few words")


@pytest.mark.parametrize("how", ["missing", "folder", "empty", "short", "header", "text"])
def test_a_damaged_file_is_one_sentence(saved: Path, how: str) -> None:
    _damage(saved, how)
    network = _network(seed=2)
    for read in (read_metadata, restore, lambda path: load_into(network, path)):
        with pytest.raises(RunError) as error:
            read(saved)
        assert str(saved) in str(error.value)
        assert "\n" not in str(error.value)
    assert _same(network, _network(seed=2))


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"num_classes": 5}, r"classifier.bias is \(3,\) there and \(5,\) here"),
        ({"spec": "wrn_10_2"}, r"of 1 tensors .* it lacks module\.group1\.0\.shortcut"),
        ({"spec": "wrn_16_1"}, r"it lacks module\.group1\.1"),
    ],
)
def test_weights_of_another_network_change_nothing(
    saved: Path, other: dict[str, object], reason: str
) -> None:
    network = _network(seed=2, **other)
    with pytest.raises(RunError, match=reason):
        load_into(network, saved)
    assert _same(network, _network(seed=2, **other))
