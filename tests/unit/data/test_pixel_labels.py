"""The store of pixels' pseudo labels: what is kept, how near the confidence is, damage, several
ranks. Its size on real maps is measured by `benchmarks/pseudo_label_store.py`."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dmt.core import (
    NUM_CODES,
    cut_histogram,
    decode_confidence,
    histogram,
    is_selected,
    predict,
    tie_bits,
    uniform,
)
from dmt.core.levels import make_levels
from dmt.data import pixel_planes
from dmt.data.pixel_labels import PixelLabels, PixelLabelWriter
from dmt.errors import RunError

K = 5
WHERE = "round1/label/a"
SIZES = {7: (40, 60), 3: (31, 1), 5_000_000_000: (1, 17), 0: (64, 64)}

Maps = dict[int, tuple[Tensor, Tensor]]


def smooth_maps(num_classes: int = K) -> Maps:
    """Labels and codes of smooth random logits, an image for each of `SIZES`."""
    maps = {}
    for id, (height, width) in SIZES.items():
        coarse = 12 * uniform(1, id, num=num_classes * 12).view(1, num_classes, 3, 4)
        logits = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
        found = predict(logits)
        maps[id] = (found.label[0], found.code[0])
    return maps


def constant_map(code: int, size: int = 30) -> Maps:
    shape = (size, size)
    return {4: (torch.zeros(shape).long(), torch.full(shape, code, dtype=torch.int32))}


def write(
    folder: Path,
    maps: Maps,
    *,
    num_classes: int = K,
    fraction: float = 0.3,
    balanced: bool = True,
    seed: int = 0,
    where: str = WHERE,
    num_parts: int = 1,
) -> PixelLabels:
    writers = [PixelLabelWriter(folder, num_classes, part) for part in range(num_parts)]
    for place, (id, (label, code)) in enumerate(maps.items()):
        writers[place % num_parts].add(id, label, code)
    counts = torch.stack([writer.counts for writer in writers]).sum(0)
    for writer in writers:
        writer.finish(
            counts,
            fraction=fraction,
            is_class_balanced=balanced,
            seed=seed,
            where=where,
            num_parts=num_parts,
        )
    return PixelLabels(folder)


def selected(store: PixelLabels) -> dict[int, list[bool]]:
    return {id: store.read(id).is_selected.ravel().tolist() for id in store.ids.tolist()}


def all_of(maps: Maps) -> tuple[Tensor, Tensor]:
    label = torch.cat([label.reshape(-1) for label, _ in maps.values()])
    return label, torch.cat([code.reshape(-1) for _, code in maps.values()])


def test_what_was_written_is_read(tmp_path: Path) -> None:
    maps = smooth_maps()
    store = write(tmp_path / "round1" / "a", maps)
    assert (len(store), store.num_classes, store.fraction) == (4, K, 0.3)
    assert store.ids.tolist() == sorted(SIZES)
    for id, size in SIZES.items():
        planes = store.read(id)
        assert [plane.dtype for plane in planes] == [np.uint8, np.float32, np.bool_]
        assert {plane.shape for plane in planes} == {size}
        assert planes.label.tolist() == maps[id][0].tolist()
        assert all(plane.flags.writeable for plane in planes)


def test_labels_may_be_bytes_and_classes_255(tmp_path: Path) -> None:
    label = (uniform(0, num=900) * 255).byte().view(30, 30)
    code = (uniform(1, num=900) * NUM_CODES).int().view(30, 30)
    planes = write(tmp_path, {1: (label, code)}, num_classes=255, fraction=1.0).read(1)
    assert planes.label.tolist() == label.tolist()
    torch.testing.assert_close(
        torch.from_numpy(planes.confidence), decode_confidence(code), atol=0, rtol=0
    )  # a handful of codes in each class: every one has a level of its own


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.3, 0.99, 1.0])
@pytest.mark.parametrize("num_codes", [NUM_CODES, 40])
def test_selection_is_that_of_the_16_bit_codes(
    tmp_path: Path, balanced: bool, fraction: float, num_codes: int
) -> None:
    maps = smooth_maps()
    step = NUM_CODES // num_codes  # few codes: many ties
    maps = {id: (label, code // step * step) for id, (label, code) in maps.items()}
    store = write(tmp_path, maps, fraction=fraction, balanced=balanced, seed=3)
    counts = histogram(*all_of(maps), K)
    cut = cut_histogram(counts, fraction, is_class_balanced=balanced)
    total = torch.zeros(K, dtype=torch.int64)
    for id, (label, code) in maps.items():
        ties = tie_bits(3, WHERE, id, torch.arange(label.numel())).view(label.shape)
        kept = is_selected(label, code, ties, cut)
        assert store.read(id).is_selected.tolist() == kept.tolist()
        total += label[kept].bincount(minlength=K)
    assert torch.equal(store.num_selected, total)
    assert torch.equal(store.num_predicted, counts.sum(1))


def test_fraction_one_keeps_every_pixel(tmp_path: Path) -> None:
    maps = smooth_maps()
    maps[9] = constant_map(NUM_CODES - 1)[4]
    maps[10] = constant_map(0)[4]
    store = write(tmp_path, maps, fraction=1.0)
    assert all(all(kept) for kept in selected(store).values())


def test_each_class_keeps_its_share(tmp_path: Path) -> None:
    store = write(tmp_path, smooth_maps(), fraction=0.3)
    share = store.num_selected / store.num_predicted.clamp(min=1)
    assert share[store.num_predicted > 300].sub(0.3).abs().max() < 0.01


def test_nothing_of_too_few_pixels_becomes_the_surest(tmp_path: Path) -> None:
    code = torch.tensor([[5, 9, 9, 7]])
    store = write(tmp_path, {2: (torch.tensor([[0, 1, 3, 3]]), code)}, fraction=0.1)
    assert store.read(2).is_selected.tolist() == [[False, True, True, False]]
    assert store.thresholds[0] is None
    assert store.thresholds[1] == pytest.approx(float(decode_confidence(torch.tensor(9))))


def test_fraction_zero_keeps_nothing(tmp_path: Path) -> None:
    store = write(tmp_path, constant_map(7), fraction=0.0)
    assert not store.read(4).is_selected.any()
    assert store.thresholds == [None] * K


def test_ties_fall_by_pixel_and_image_and_not_by_row_or_order(tmp_path: Path) -> None:
    label, code = constant_map(77, size=100)[4]
    maps = {4: (label, code), 5: (label, code)}
    one = selected(write(tmp_path / "one", maps, fraction=0.5))
    assert 4700 < sum(one[4]) < 5300
    assert 2200 < sum(one[4][:5000]) < 2800
    assert one[4] != one[5]
    turned = dict(reversed(list(maps.items())))
    assert selected(write(tmp_path / "turned", turned, fraction=0.5)) == one
    assert selected(write(tmp_path / "seed", maps, fraction=0.5, seed=1)) != one
    assert selected(write(tmp_path / "where", maps, fraction=0.5, where="round2")) != one


def test_the_threshold_is_the_lowest_confidence_kept(tmp_path: Path) -> None:
    maps = smooth_maps()
    store = write(tmp_path, maps, fraction=0.4)
    lowest = [2.0] * K
    for id, (label, code) in maps.items():
        kept = torch.from_numpy(store.read(id).is_selected)
        for each in label[kept].unique().tolist():
            codes = code[kept & (label == each)]
            lowest[each] = min(lowest[each], float(decode_confidence(codes.min())))
    assert store.thresholds == [value if value <= 1 else None for value in lowest]


def test_confidence_is_near_the_teachers_and_nearest_where_it_is_kept(tmp_path: Path) -> None:
    maps = smooth_maps()
    store = write(tmp_path, maps, fraction=0.5)
    kept_errors, other_errors = [], []
    for id, (_, code) in maps.items():
        planes = store.read(id)
        error = np.abs(planes.confidence - decode_confidence(code).numpy())
        kept_errors.append(error[planes.is_selected])
        other_errors.append(error[~planes.is_selected])
    assert np.concatenate(kept_errors).mean() < 0.004
    assert np.concatenate(other_errors).mean() < 0.03


def test_levels_rise_with_the_code_and_share_the_pixels_alike() -> None:
    counts = torch.zeros(1, NUM_CODES, dtype=torch.int64)
    counts[0, 1000:2000] = 3
    cut = cut_histogram(counts, 0.4, is_class_balanced=True)
    levels = make_levels(counts, cut, num_below=2, num_above=4)
    of_code = levels.of_code[0, 1000:2000].long()
    assert bool((of_code.diff() >= 0).all())
    assert torch.equal(1000 + (of_code >= 2).nonzero()[0], cut.code)
    in_level = torch.zeros(6).long().scatter_add_(0, of_code, counts[0, 1000:2000])
    assert in_level.tolist() == [900, 900, 300, 300, 300, 300]
    middles = decode_confidence(torch.tensor([1149, 1449, 1649, 1749, 1849, 1949]))
    torch.testing.assert_close(levels.confidence[0], middles, atol=2e-5, rtol=0)


def test_parts_of_several_ranks_are_one_store(tmp_path: Path) -> None:
    maps = smooth_maps()
    whole = write(tmp_path / "whole", maps)
    for num_parts in (2, 5):  # with 5, the last rank has no image
        store = write(tmp_path / str(num_parts), maps, num_parts=num_parts)
        assert store.ids.tolist() == whole.ids.tolist()
        assert selected(store) == selected(whole)
        assert torch.equal(store.num_selected, whole.num_selected)
        assert store.thresholds == whole.thresholds
        for id in SIZES:
            assert store.read(id).confidence.tolist() == whole.read(id).confidence.tolist()


def test_files_of_more_ranks_are_removed_by_fewer(tmp_path: Path) -> None:
    write(tmp_path, smooth_maps(), num_parts=3)
    store = write(tmp_path, smooth_maps())
    assert len(store) == 4
    assert {path.name.split(".")[0] for path in tmp_path.iterdir()} == {"part0"}


def test_parts_of_two_labelings_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "one", smooth_maps(), num_parts=2)
    write(tmp_path / "two", smooth_maps(), num_parts=2, seed=1)
    for path in (tmp_path / "two").glob("part1.*"):
        path.replace(tmp_path / "one" / path.name)
    with pytest.raises(RunError, match="do not belong together"):
        PixelLabels(tmp_path / "one")


def test_an_empty_pool_is_a_store(tmp_path: Path) -> None:
    store = write(tmp_path, {})
    assert len(store) == 0
    assert store.num_selected.tolist() == [0] * K


def test_the_spool_is_gone_and_the_bytes_are_counted(tmp_path: Path) -> None:
    store = write(tmp_path, smooth_maps())
    names = {"part0.json", "part0.index.npy", "part0.levels.npy", "part0.planes"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert store.num_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_a_smooth_map_takes_little(tmp_path: Path) -> None:
    coarse = 12 * uniform(0, num=K * 48).view(1, K, 6, 8)
    found = predict(torch.nn.functional.interpolate(coarse, (360, 480), mode="bilinear"))
    write(tmp_path, {0: (found.label[0], found.code[0])}, fraction=1.0)
    planes = (tmp_path / "part0.planes").stat().st_size
    assert planes < 360 * 480 * 8 / 20


def test_threads_read_the_same(tmp_path: Path) -> None:
    store = write(tmp_path, smooth_maps())
    ids = store.ids.tolist() * 20
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(store.read, ids))
    for id, planes in zip(ids, found, strict=True):
        assert planes.confidence.tolist() == store.read(id).confidence.tolist()


def test_a_store_that_was_cut_off_is_not_read_and_is_written_again(tmp_path: Path) -> None:
    whole = selected(write(tmp_path / "whole", smooth_maps()))
    killed = PixelLabelWriter(tmp_path / "cut", K)
    for id, (label, code) in list(smooth_maps().items())[:2]:
        killed.add(id, label, code)
    with pytest.raises(RunError, match="part0"):
        PixelLabels(tmp_path / "cut")
    assert selected(write(tmp_path / "cut", smooth_maps())) == whole


def test_a_store_begun_again_is_no_longer_whole(tmp_path: Path) -> None:
    write(tmp_path, smooth_maps(), num_parts=2)
    PixelLabelWriter(tmp_path, K, part=1)
    with pytest.raises(RunError, match="part1"):
        PixelLabels(tmp_path)


@pytest.mark.parametrize("name", ["part0.index.npy", "part0.levels.npy", "part0.planes"])
@pytest.mark.parametrize("how", ["missing", "short", "empty"])
def test_damaged_files_are_refused_by_the_folders_name(tmp_path: Path, name: str, how: str) -> None:
    write(tmp_path / "labels", smooth_maps())
    path = tmp_path / "labels" / name
    content = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes(content[:-1] if how == "short" else b"")
    with pytest.raises(RunError, match="labels are damaged"):
        PixelLabels(tmp_path / "labels")


def test_a_manifest_of_something_else_is_refused(tmp_path: Path) -> None:
    write(tmp_path, smooth_maps())
    (tmp_path / "part0.json").write_text('{"num": 1}')
    with pytest.raises(RunError, match="another version's"):
        PixelLabels(tmp_path)


def test_a_changed_byte_is_noticed_at_its_image_only(tmp_path: Path) -> None:
    write(tmp_path / "labels", smooth_maps())
    path = tmp_path / "labels" / "part0.planes"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(bytes(content))
    store = PixelLabels(tmp_path / "labels")
    last, *_, first = reversed(SIZES)
    store.read(first)
    with pytest.raises(RunError, match="labels are damaged"):
        store.read(last)


@pytest.mark.parametrize("name", ["part0.spool", "part0.planes", "part0.index.npy", "part0.json"])
def test_a_full_disk_is_one_sentence_and_leaves_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plain_open = Path.open

    def open_on_full_disk(path: Path, mode: str = "r", *rest: Any) -> Any:
        if name in path.name and "r" not in mode:
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain_open(path, mode, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_on_full_disk)
        with pytest.raises(RunError, match="No space left on device; free some space"):
            write(tmp_path, smooth_maps())
    assert not (tmp_path / "part0.spool").exists()
    with pytest.raises(RunError, match="part0"):
        PixelLabels(tmp_path)
    assert len(write(tmp_path, smooth_maps())) == 4


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot write"):
        PixelLabelWriter(tmp_path / "file" / "labels", K)


def test_an_image_larger_than_pillow_likes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    assert write(tmp_path, constant_map(3)).read(4).label.shape == (30, 30)


def test_planes_come_back_whole() -> None:
    plane = (uniform(0, num=77 * 31) * 256).byte().view(77, 31).numpy()
    assert np.array_equal(pixel_planes.unpack_level(pixel_planes.pack_level(plane)), plane)
    label = pixel_planes.unpack_label(pixel_planes.pack_label(plane))
    assert np.array_equal(label.reshape(77, 31), plane)
