"""The store of pseudo labels: what is kept, how ties fall, and stores that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dmt.core import NUM_CODES, histogram, predict, tie_bits, uniform
from dmt.data import pseudo_labels
from dmt.data.pseudo_labels import ImageLabels
from dmt.errors import RunError


def write(
    folder: Path,
    label: Tensor,
    code: Tensor,
    *,
    ids: Tensor | None = None,
    num_classes: int = 4,
    fraction: float = 0.5,
    balanced: bool = False,
    seed: int = 0,
    where: str = "round1/label/a",
) -> ImageLabels:
    ImageLabels.write(
        folder,
        torch.arange(len(label)) if ids is None else ids,
        label,
        code,
        num_classes,
        fraction=fraction,
        is_class_balanced=balanced,
        seed=seed,
        where=where,
    )
    return ImageLabels(folder)


@pytest.mark.parametrize("num_classes", [2, 10, 256, 257, 1000])
def test_what_was_written_is_read(tmp_path: Path, num_classes: int) -> None:
    ids = torch.tensor([7, 3, 5_000_000_000])
    label = torch.tensor([0, num_classes - 1, 1])
    code = torch.tensor([0, NUM_CODES - 1, 777], dtype=torch.int32)
    store = write(tmp_path / "labels", label, code, ids=ids, num_classes=num_classes)
    assert len(store) == 3
    assert store.num_classes == num_classes
    for found, given in ((store.ids, ids), (store.label, label), (store.code, code.long())):
        assert found.dtype == torch.int64
        assert torch.equal(found, given)
    assert torch.equal(store.histogram(), histogram(label, code, num_classes))


@pytest.mark.parametrize(
    ("ids", "is_packed"),
    [
        (torch.arange(1000), True), (torch.arange(3, 3000, 3), True),
        (torch.tensor([0]), True), (torch.tensor([63]), True), (torch.tensor([64]), False),
        (torch.tensor([5, 4]), False), (torch.tensor([5, 5]), False),
        (torch.tensor([1, 2, 10_000_000]), False), (torch.empty(0, dtype=torch.int64), False),
    ],
    ids=str,
)  # fmt: skip
def test_numbers_of_images_take_a_bit_where_they_ascend(
    tmp_path: Path, ids: Tensor, is_packed: bool
) -> None:
    code = torch.arange(len(ids), dtype=torch.int32)
    store = write(tmp_path, ids % 4, code, ids=ids)
    assert torch.equal(store.ids, ids)
    assert store.ids.dtype == torch.int64
    assert (np.load(tmp_path / "ids.npy").dtype == np.uint8) == is_packed
    if len(ids) >= 1000:
        num_bytes = sum(each.stat().st_size for each in tmp_path.iterdir())
        assert num_bytes < 4 * len(ids)  # of which the code takes two, the label one


def test_a_store_with_plain_numbers_is_read(tmp_path: Path) -> None:
    """As written by 0.1 and before."""
    ids = torch.arange(40) + 5
    store = write(tmp_path, ids % 4, ids.int(), ids=ids)
    np.save(tmp_path / "ids.npy", ids.numpy())
    before, after = store.is_selected, ImageLabels(tmp_path)
    assert torch.equal(after.ids, ids)
    assert torch.equal(after.is_selected, before)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("part", [1, 7, 60])
def test_parts_of_any_size_select_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int, balanced: bool
) -> None:
    label = (uniform(1, num=60) * 4).long()
    code = (uniform(2, num=60) * 5).int()  # many ties
    store = write(tmp_path, label, code, balanced=balanced)
    whole = store.is_selected
    monkeypatch.setattr(pseudo_labels, "_PART", part)
    assert torch.equal(store.is_selected, whole)
    assert torch.equal(store.histogram(), histogram(label, code, 4))


@pytest.mark.parametrize("balanced", [False, True])
def test_what_is_looked_at_at_once_does_not_grow_with_the_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, balanced: bool
) -> None:
    monkeypatch.setattr(pseudo_labels, "_PART", 50)
    label, code = torch.arange(1000) % 4, torch.arange(1000).int()
    store = write(tmp_path, label, code, balanced=balanced)
    seen: list[int] = []

    def counted(*where: object) -> Tensor:
        seen.append(len(where[-1]))  # type: ignore[arg-type]
        return tie_bits(*where)  # type: ignore[arg-type]

    monkeypatch.setattr(pseudo_labels, "tie_bits", counted)
    assert int(store.is_selected.sum()) == 500
    assert max(seen) <= 50


def test_the_confidence_is_the_teachers(tmp_path: Path) -> None:
    found = predict(6 * uniform(0, num=400).view(100, 4))
    store = write(tmp_path, found.label, found.code)
    torch.testing.assert_close(store.confidence, found.confidence, atol=3e-4, rtol=0)


@pytest.mark.parametrize(
    ("num", "fraction", "kept"),
    [
        (10, 0.1, 1),
        (10, 1.0, 10),
        (10, 0.0, 0),
        (1, 1.0, 1),
        (1, 0.2, 1),
        (2, 0.2, 1),
        (333, 0.2, 67),
    ],
)
@pytest.mark.parametrize("num_codes", [1, 5, NUM_CODES])
def test_exactly_the_share_is_kept(
    tmp_path: Path, num: int, fraction: float, kept: int, num_codes: int
) -> None:
    label = (uniform(1, num=num) * 4).long()
    code = (uniform(2, num=num) * num_codes).int()
    store = write(tmp_path, label, code, fraction=fraction)
    assert int(store.is_selected.sum()) == kept


def test_balanced_keeps_the_share_of_every_class(tmp_path: Path) -> None:
    label = torch.tensor([0] * 10 + [1] * 100 + [3] * 5)
    code = (uniform(2, num=115) * 20).int()
    kept = write(tmp_path, label, code, fraction=0.4, balanced=True).is_selected
    assert [int(kept[label == each].sum()) for each in range(4)] == [4, 40, 0, 2]


def test_ties_fall_by_the_image_and_not_by_its_place_in_the_store(tmp_path: Path) -> None:
    label, code = torch.zeros(200, dtype=torch.int64), torch.full((200,), 9)
    ids = torch.arange(200) * 3
    one = write(tmp_path / "one", label, code, ids=ids)
    turned = write(tmp_path / "turned", label, code, ids=ids.flip(0))
    kept = set(one.ids[one.is_selected].tolist())
    assert kept == set(turned.ids[turned.is_selected].tolist())
    assert 30 < int(one.is_selected[:100].sum()) < 70  # by index it would be 100
    for other in (
        write(tmp_path / "seed", label, code, ids=ids, seed=1),
        write(tmp_path / "where", label, code, ids=ids, where="round2/label/a"),
    ):
        assert kept != set(other.ids[other.is_selected].tolist())


def test_columns_are_small(tmp_path: Path) -> None:
    write(tmp_path, torch.zeros(1000, dtype=torch.int64), torch.zeros(1000))
    assert np.load(tmp_path / "label.npy").dtype == np.uint8
    assert np.load(tmp_path / "code.npy").dtype == np.uint16


def test_a_store_is_replaced_whole(tmp_path: Path) -> None:
    write(tmp_path, torch.tensor([0, 1, 2]), torch.tensor([1, 2, 3]))
    store = write(tmp_path, torch.tensor([3]), torch.tensor([4]))
    assert store.label.tolist() == [3]


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="labels"):
        ImageLabels(tmp_path / "labels")


def test_a_store_that_was_cut_off_has_no_manifest_and_is_refused(tmp_path: Path) -> None:
    write(tmp_path, torch.tensor([0]), torch.tensor([1]))
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(RunError, match="manifest"):
        ImageLabels(tmp_path)


@pytest.mark.parametrize("name", ["ids", "label", "code"])
def test_a_missing_column_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, torch.tensor([0]), torch.tensor([1]))
    (tmp_path / f"{name}.npy").unlink()
    with pytest.raises(RunError, match="cannot be read"):
        ImageLabels(tmp_path)


@pytest.mark.parametrize("size", [0, 20, 130])
def test_a_shortened_column_is_refused(tmp_path: Path, size: int) -> None:
    write(tmp_path, torch.zeros(50, dtype=torch.int64), torch.zeros(50))
    path = tmp_path / "label.npy"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(RunError, match="cannot be read"):
        ImageLabels(tmp_path)


def test_columns_of_different_lengths_are_refused(tmp_path: Path) -> None:
    write(tmp_path, torch.zeros(50, dtype=torch.int64), torch.zeros(50))
    np.save(tmp_path / "label.npy", np.zeros(49, np.uint8))
    with pytest.raises(RunError, match="differ in length"):
        ImageLabels(tmp_path)


def test_a_manifest_of_something_else_is_refused(tmp_path: Path) -> None:
    write(tmp_path, torch.tensor([0]), torch.tensor([1]))
    (tmp_path / "manifest.json").write_text('{"num": 1}')
    with pytest.raises(RunError, match="cannot be read"):
        ImageLabels(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot write"):
        write(tmp_path / "file" / "labels", torch.tensor([0]), torch.tensor([1]))


def test_parts_are_read_as_one(tmp_path: Path) -> None:
    label, code = torch.arange(7) % 4, torch.arange(7) * 100
    whole = write(tmp_path / "whole", label, code)

    def write_part(part: int, num_parts: int, rows: slice) -> None:
        ImageLabels.write(
            tmp_path / "parts", torch.arange(7)[rows], label[rows], code[rows], 4,
            fraction=0.5, is_class_balanced=False, seed=0, where="round1/label/a",
            num=7, part=part, num_parts=num_parts,
        )  # fmt: skip

    for part, rows in ((0, slice(4)), (1, slice(4, 4)), (2, slice(4, 7))):
        write_part(part, 3, rows)
    parts = ImageLabels(tmp_path / "parts")
    assert len(parts) == 7
    for found, given in (
        (parts.ids, whole.ids),
        (parts.label, whole.label),
        (parts.code, whole.code),
        (parts.is_selected, whole.is_selected),
    ):
        assert torch.equal(found, given)
    write_part(0, 1, slice(7))  # again, by one
    assert not list((tmp_path / "parts").glob("*.part*"))
    assert ImageLabels(tmp_path / "parts").label.tolist() == label.tolist()


def test_a_part_of_another_length_is_refused(tmp_path: Path) -> None:
    write(tmp_path, torch.arange(4) % 2, torch.arange(4))
    manifest = tmp_path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"num_parts": 1', '"num_parts": 2'))
    with pytest.raises(RunError, match="cannot be read"):
        ImageLabels(tmp_path)
    for name in ("ids", "label", "code"):
        np.save(tmp_path / f"{name}.part1.npy", np.zeros(1, np.uint8))
    with pytest.raises(RunError, match="differ in length"):
        ImageLabels(tmp_path)
