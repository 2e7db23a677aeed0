"""Tests of CIFAR-10's batches: pickles of Python 2 and 3, damaged ones, and ones that attack."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmt.data.catalog import Part
from dmt.data.layouts import cifar10, open_catalog
from dmt.errors import DataError

NUM = 4  # images in a batch here
NAMES = ("test_batch", *(f"data_batch_{number}" for number in range(1, 6)))
CLASSES = [f"class {number}" for number in range(9, -1, -1)]


def python2_pickle(array: np.ndarray, labels: list[int]) -> bytes:
    """The bytes that Python 2 writes for a batch: 8-bit strings, and numpy's names of then."""

    def text(value: bytes) -> bytes:
        return b"T" + len(value).to_bytes(4, "little") + value  # BINSTRING

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    dtype = (
        b"cnumpy\ndtype\n(" + text(b"u1") + number(0) + number(1) + b"tR"
        b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    )
    data = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n("
        + number(0) + b"t" + text(b"b") + b"tR"
        b"(" + number(1) + b"(" + b"".join(number(n) for n in array.shape) + b"t"
        + dtype + b"I00\n" + text(array.tobytes()) + b"tb"
    )  # fmt: skip
    listed = b"](" + b"".join(number(label) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + data + text(b"labels") + listed + b"u."


def python3_pickle(array: np.ndarray, labels: list[int]) -> bytes:
    return pickle.dumps({b"data": array, b"labels": labels}, protocol=2)


def arrays() -> dict[str, tuple[np.ndarray, list[int]]]:
    rng = np.random.default_rng(0)
    return {
        name: (rng.integers(0, 256, (NUM, 3072), dtype=np.uint8), [turn, 0, 9, 3])
        for turn, name in enumerate(NAMES)
    }


def write(folder: Path, dump: Callable[[np.ndarray, list[int]], bytes] = python2_pickle) -> Path:
    folder.mkdir(parents=True)
    for name, (array, labels) in arrays().items():
        (folder / name).write_bytes(dump(array, labels))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": CLASSES}, protocol=2))
    return folder


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "_NUM_IN_BATCH", NUM)
    monkeypatch.delenv("DMT_DATA", raising=False)


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")
def test_the_hand_written_pickle_is_what_numpy_reads() -> None:
    array, labels = arrays()["test_batch"]
    loaded = pickle.loads(python2_pickle(array, labels), encoding="latin1")
    np.testing.assert_array_equal(loaded["data"], array)
    assert loaded["labels"] == labels


def column_order_pickle(array: np.ndarray, labels: list[int]) -> bytes:
    return pickle.dumps({"data": np.asfortranarray(array), "labels": labels}, protocol=4)


@pytest.mark.parametrize("dump", [python2_pickle, python3_pickle, column_order_pickle])
def test_images_labels_and_parts(
    tmp_path: Path, dump: Callable[[np.ndarray, list[int]], bytes]
) -> None:
    folder = write(tmp_path / "cifar-10-batches-py", dump)
    for data in (folder, tmp_path, f"cifar10:{folder}", f"cifar10:{tmp_path}"):
        catalog = open_catalog(data)
        assert (catalog.name, catalog.layout, catalog.root) == ("cifar10", "cifar10-batches", None)
    assert catalog.classes == tuple(CLASSES)
    assert catalog.images is not None
    assert catalog.images.shape == (6 * NUM, 32, 32, 3)
    assert catalog.parts.tolist() == [Part.TEST] * NUM + [Part.TRAIN] * 5 * NUM
    assert catalog.paths[0] == "cifar10/test/00000"
    assert list(catalog.paths) == sorted(set(catalog.paths))
    array, labels = arrays()["data_batch_2"]
    rows = slice(2 * NUM, 3 * NUM)
    # A batch stores the red plane, then green, then blue, each row by row.
    assert catalog.labels[rows].tolist() == labels
    for channel in range(3):
        plane = array[:, 1024 * channel : 1024 * (channel + 1)].reshape(NUM, 32, 32)
        np.testing.assert_array_equal(catalog.images[rows, :, :, channel], plane)


class Attack:
    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call, self.arguments


@pytest.mark.parametrize("where", ["data_batch_3", "batches.meta"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_an_attack_is_refused_and_not_run(tmp_path: Path, where: str, protocol: int) -> None:
    folder = write(tmp_path / "data")
    trace = tmp_path / "trace"
    payload = {"data": Attack(os.system, f"touch {trace}"), "labels": []}
    (folder / where).write_bytes(pickle.dumps(payload, protocol=protocol))
    with pytest.raises(DataError, match=r"asks to run (posix|nt)\.system, which was not done"):
        open_catalog(folder)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (eval, ("1",)), (getattr, (1, "real")), (__import__, ("os",)), (np.load, ("x.npy",)),
        (np.frombuffer, (b"1",)),
    ],
)  # fmt: skip
def test_no_other_name_is_admitted(tmp_path: Path, call: Any, arguments: tuple[Any, ...]) -> None:
    folder = write(tmp_path / "data")
    (folder / "test_batch").write_bytes(pickle.dumps([Attack(call, *arguments)], protocol=2))
    with pytest.raises(DataError, match="asks to run"):
        open_catalog(folder)


def dumped(**changes: Any) -> bytes:
    array, labels = arrays()["test_batch"]
    return pickle.dumps({"data": array, "labels": labels} | changes, protocol=2)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "no whole pickle"),
        (b"not a pickle", "no whole pickle"),
        (dumped()[:1000], "no whole pickle"),
        (pickle.dumps([1]), "holds no dictionary"),
        (pickle.dumps({}), "its data are not 4 images of 3072 bytes"),
        (dumped(data=np.zeros((NUM + 1, 3072), np.uint8)), "its data are not 4 images"),
        (dumped(data=np.zeros((NUM, 3071), np.uint8)), "its data are not 4 images"),
        (dumped(data=np.zeros((NUM, 3072), np.float32)), "no whole pickle"),
        (dumped(data=[[0] * 3072] * NUM), "its data are not 4 images"),
        (python2_pickle(np.zeros((NUM, 3072), np.uint8), [0]), "its labels are not 4 numbers"),
        (dumped(labels=[0, 1, 2, 10]), "its labels are not 4 numbers"),
        (dumped(labels=[0, 1, 2, "3"]), "its labels are not 4 numbers"),
        (dumped(labels=[0, 1, 2, -1]), "its labels are not 4 numbers"),
        (python2_pickle(np.zeros((NUM, 3072), np.uint8), [0] * NUM).replace(
            b"T" + (NUM * 3072).to_bytes(4, "little") + b"\0" * 9,
            b"T" + (NUM * 3072 - 9).to_bytes(4, "little")), "its data are cut short"),
    ],
)  # fmt: skip
def test_a_damaged_batch_is_named(tmp_path: Path, content: bytes, match: str) -> None:
    folder = write(tmp_path / "data")
    (folder / "test_batch").write_bytes(content)
    with pytest.raises(DataError, match=match) as caught:
        open_catalog(folder)
    assert str(folder / "test_batch") in str(caught.value)
    assert "torchvision.datasets.CIFAR10" in str(caught.value)


@pytest.mark.parametrize("name", ["test_batch", "batches.meta"])
@pytest.mark.parametrize("put", [b"r\xff\xff\xff\x7f", b"p2147483647\n"])
def test_a_far_place_in_the_memo_is_refused(tmp_path: Path, name: str, put: bytes) -> None:
    """The reader would make room for all places before it: many GB, for a file of a few bytes."""
    folder = write(tmp_path / "data")
    (folder / name).write_bytes(b"\x80\x02}" + put + b".")
    with pytest.raises(DataError, match="no whole pickle"):
        open_catalog(folder)


def test_a_list_that_holds_itself_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "data")
    names: list[Any] = []
    names.append(names)
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names * 10}, protocol=2))
    with pytest.raises(DataError, match="does not name ten classes"):
        open_catalog(folder)


@pytest.mark.parametrize("names", [None, ["one"], [1] * 10, "abcdefghij"])
def test_batches_meta_must_name_ten_classes(tmp_path: Path, names: Any) -> None:
    folder = write(tmp_path / "data")
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    with pytest.raises(DataError, match="does not name ten classes"):
        open_catalog(folder)


@pytest.mark.parametrize("name", [*NAMES, "batches.meta"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "data")
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"lacks {name}"):
        open_catalog(folder)


def test_a_file_that_is_too_large_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "_MAX_BYTES", 1000)
    with pytest.raises(DataError, match="larger than any"):
        open_catalog(write(tmp_path / "data"))


def class_folders(root: Path) -> Path:
    for name in ("train/cat/1.jpg", "train/dog/1.jpg"):
        (root / name).parent.mkdir(parents=True)
        (root / name).touch()
    return root


def test_cifar10_is_looked_for_in_three_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(DataError, match=r"was not found .*torchvision\.datasets\.CIFAR10"):
        open_catalog("cifar10")
    monkeypatch.setenv("DMT_DATA", str(elsewhere))
    with pytest.raises(DataError, match="elsewhere"):
        open_catalog("cifar10")
    class_folders(elsewhere / "cifar10-jpeg")
    assert open_catalog("cifar10").root == elsewhere / "cifar10-jpeg"
    write(elsewhere / "cifar-10-batches-py")
    assert open_catalog("cifar10").layout == "cifar10-batches"
    (elsewhere / "cifar-10-batches-py").rename(here / "moved")
    (here / "data").mkdir()
    (here / "moved").rename(here / "data" / "cifar-10-batches-py")
    assert open_catalog("cifar10").layout == "cifar10-batches"


def test_cifar10_may_be_class_folders(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "cifar10-jpeg")
    for data in (f"cifar10:{root}", f"cifar10:{tmp_path}"):
        catalog = open_catalog(data)
        assert (catalog.name, catalog.layout) == ("cifar10-jpeg", "train-test-folders")
    with pytest.raises(DataError, match="was not found"):
        open_catalog(f"cifar10:{root / 'train'}")
