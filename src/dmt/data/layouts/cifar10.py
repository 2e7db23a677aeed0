"""CIFAR-10 as its authors ship it (`cifar-10-batches-py`), and where to look for it.

The batches are pickles; they are read without running anything that is in them. CIFAR-10 as
folders of JPEG files is an ordinary folder layout and is read elsewhere.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dmt.data.catalog import Catalog, Part
from dmt.data.decode import shown
from dmt.data.finding import refuse_outside
from dmt.errors import DataError

_BATCHES = "cifar-10-batches-py"
_FOLDERS = "cifar10-jpeg"
_META = "batches.meta"
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST = "test_batch"
_NUM_IN_BATCH = 10_000
_NUM_CLASSES = 10
_SIDE = 32
_MAX_BYTES = 64 << 20  # twice what a batch takes
_GET = "get it with torchvision.datasets.CIFAR10(root='data', download=True)"


def find_cifar10(where: Path | None) -> Path:
    """The folder that holds CIFAR-10, as batches or as `train/<class>/…`.

    Args:
        where: the folder itself or the one it is in; None looks in `.`, `data` and `$DMT_DATA`.

    Raises:
        DataError: it is in none of these places.
    """
    if where is not None:
        places = [Path(os.path.abspath(where.expanduser()))]
    else:
        places = [Path.cwd(), Path.cwd() / "data"]
        if os.environ.get("DMT_DATA"):
            places.append(Path(os.path.abspath(os.environ["DMT_DATA"])))
    for place in places:
        folder = batches_folder(place)
        if folder is not None:
            return folder
    for place in places:
        if (place / _FOLDERS).is_dir():
            return place / _FOLDERS
    if where is not None and (places[0] / "train").is_dir():
        return places[0]
    looked = ", ".join(shown(place) for place in places)
    raise DataError(
        f"CIFAR-10 was not found (looked for {_BATCHES} and {_FOLDERS} in {looked}): {_GET}, "
        "or say where it is with cifar10:FOLDER"
    )


def batches_folder(place: Path) -> Path | None:
    """`place` or its subfolder `cifar-10-batches-py`, whichever holds the batches."""
    for folder in (place, place / _BATCHES):
        if any((folder / name).is_file() for name in (_META, *_TRAIN, _TEST)):
            return folder
    return None


def read_batches(folder: Path, *, follow_links: bool = False) -> Catalog:
    """CIFAR-10 from its batches: 50 000 labeled training images and 10 000 test images.

    Args:
        folder: holds `data_batch_1` … `data_batch_5`, `test_batch` and `batches.meta`.
        follow_links: whether they may be links that leave it.

    Returns:
        A catalog with images uint8 (60000, 32, 32, 3) in memory, the test images first.

    Raises:
        DataError: a file is missing, damaged, not what CIFAR-10 has, or asks to run code.
    """
    limit = None if follow_links else os.path.realpath(folder)
    for name in (_META, *_TRAIN, _TEST):
        refuse_outside(folder / name, limit)
    classes = _read_classes(folder / _META)
    names = (_TEST, *_TRAIN)
    num = _NUM_IN_BATCH * len(names)
    images = np.empty((num, _SIDE, _SIDE, 3), dtype=np.uint8)
    labels = np.empty(num, dtype=np.int64)
    for index, name in enumerate(names):
        rows = slice(index * _NUM_IN_BATCH, (index + 1) * _NUM_IN_BATCH)
        planes, labels[rows] = _read_batch(folder / name)
        images[rows] = planes.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    parts = np.full(num, Part.TRAIN, dtype=np.uint8)
    parts[:_NUM_IN_BATCH] = Part.TEST
    num_train = num - _NUM_IN_BATCH
    paths = [f"cifar10/test/{number:05d}" for number in range(_NUM_IN_BATCH)]
    paths += [f"cifar10/train/{number:05d}" for number in range(num_train)]
    return Catalog(
        name="cifar10",
        layout="cifar10-batches",
        root=None,
        classes=classes,
        paths=tuple(paths),
        labels=labels,
        parts=parts,
        images=images,
        problems=(),
    )


def _read_classes(path: Path) -> tuple[str, ...]:
    held = _load(path).get("label_names")
    names = [_text(name) for name in held] if isinstance(held, list) else []
    if len(names) != _NUM_CLASSES or not all(isinstance(name, str) and name for name in names):
        raise _damaged(path, "it does not name ten classes")
    return tuple(names)


def _read_batch(path: Path) -> tuple[NDArray[np.uint8], list[int]]:
    content = _load(path)
    data, labels = content.get("data"), content.get("labels")
    num_values = 3 * _SIDE * _SIDE
    if not isinstance(data, _Array) or data.shape != (_NUM_IN_BATCH, num_values):
        raise _damaged(path, f"its data are not {_NUM_IN_BATCH} images of {num_values} bytes")
    if len(data.content) != _NUM_IN_BATCH * num_values:
        raise _damaged(path, "its data are cut short")
    if (
        not isinstance(labels, list)
        or len(labels) != _NUM_IN_BATCH
        or not all(type(label) is int and 0 <= label < _NUM_CLASSES for label in labels)
    ):
        raise _damaged(path, f"its labels are not {_NUM_IN_BATCH} numbers from 0 to 9")
    return np.frombuffer(data.content, dtype=np.uint8).reshape(data.shape, order=data.order), labels


def _load(path: Path) -> dict[str, Any]:
    """The dictionary pickled in `path`, with text for keys and `_Array` for arrays."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise DataError(f"{shown(path.parent)} lacks {path.name}: {_GET}") from error
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise _damaged(path, "it is larger than any of CIFAR-10's files")
    try:
        _refuse_far_places(content)
        loaded = _Reader(io.BytesIO(content), encoding="latin1").load()
    except _RefusedError as error:
        raise DataError(
            f"{shown(path)} is not CIFAR-10's: it asks to run {error}, which was not done; {_GET}"
        ) from error
    except Exception as error:  # bytes that are no pickle fail in any way they like
        raise _damaged(path, "it is no whole pickle") from error
    if not isinstance(loaded, dict):
        raise _damaged(path, "it holds no dictionary")
    texts = ((_text(key), value) for key, value in loaded.items())
    return {key: value for key, value in texts if isinstance(key, str)}


def _refuse_far_places(content: bytes) -> None:
    """Raise ValueError if a pickle numbers what it remembers higher than it has bytes.

    The reader makes room for all lower numbers: nine bytes could ask for more than any memory has.
    """
    for opcode, place, _ in pickletools.genops(content):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(place or 0) >= len(content):
            raise ValueError(f"place {place} in a pickle of {len(content)} bytes")


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{shown(path)} is not CIFAR-10's or is damaged ({why}): {_GET}")


def _text(value: Any) -> Any:
    """Bytes as text: files saved anew by Python 3 hold bytes."""
    return value.decode("latin1") if isinstance(value, bytes) else value


class _RefusedError(Exception):
    """A pickle asked for something that no CIFAR-10 file needs."""


class _DType:
    """Stands in for `numpy.dtype`: remembers which it is."""

    def __init__(self, code: object = "", *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Byte order and the like; one byte a value has none."""


class _Array:
    """Stands in for `numpy.ndarray`: a shape and bytes, without numpy's own unpickling."""

    shape: tuple[int, ...] = ()
    content: bytes = b""
    order: Literal["C", "F"] = "C"

    def __setstate__(self, state: tuple[int, tuple[int, ...], _DType, bool, object]) -> None:
        _, shape, dtype, is_fortran, content = state
        if _text(dtype.code) not in ("u1", "|u1"):
            raise ValueError("not an array of bytes")
        self.shape = tuple(shape)
        self.order = "F" if is_fortran else "C"
        self.content = content.encode("latin1") if isinstance(content, str) else _bytes(content)


def _bytes(content: object) -> bytes:
    if not isinstance(content, bytes):
        raise ValueError("an array's content is not bytes")
    return content


def _reconstruct(*_: object) -> _Array:
    """Stands in for numpy's function of this name: an array that `__setstate__` will fill."""
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    """Stands in for `_codecs.encode`, by which Python 3 writes bytes into old pickles."""
    if encoding != "latin1":
        raise ValueError("bytes are written as latin1")
    return text.encode("latin1")


class _Reader(pickle.Unpickler):
    """Unpickles plain containers, text, numbers and arrays of bytes; nothing else can be named."""

    _ADMITTED: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _DType,
        ("_codecs", "encode"): _encode,
    }

    def find_class(self, module_name: str, global_name: str) -> Any:
        """The stand-in for a name, never what it names."""
        try:
            return self._ADMITTED[module_name, global_name]
        except KeyError:
            raise _RefusedError(shown(f"{module_name}.{global_name}")) from None
