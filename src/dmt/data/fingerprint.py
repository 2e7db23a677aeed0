"""What the data of a run were, to the byte, and what is different now. Writing it is `engine`'s."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmt.data.catalog import Catalog
from dmt.data.decode import shown
from dmt.data.splits import Parts
from dmt.errors import DataError

_CHUNK = 64  # files a task
_BLOCK = 1 << 20  # bytes read at a time
_SHORT = 16  # hex digits of a file's hash: a chance change keeps them once in 10¹⁹


def fingerprint(catalog: Catalog, split: Parts) -> dict[str, Any]:
    """Hash every image's content and note its part in the run.

    Labels enter as a hash, hidden ones too: what they are is not to be read from it.

    Args:
        catalog: the data set; images in memory are hashed as arrays.
        split: of that catalog.

    Returns:
        A JSON object: `name`, `layout`, `classes`, `num`, `sha256` over everything but the name,
        `labels` (a hash of which path has which class), and `files`, a list of
        [relative path, bytes, first 16 hex digits of the content's SHA-256, part], where part is
        labeled, unlabeled, val, test or unused. The images of a large pool are not among them:
        `pool` lists its shards, as `catalog.Print` has them.

    Raises:
        DataError: a file has vanished or cannot be read.
    """
    names, paths = _parts(catalog, split), catalog.paths[: catalog.num_told]
    files = [
        [path, num_bytes, digest, part]
        for path, (num_bytes, digest), part in zip(
            paths, content_hashes(catalog), names, strict=True
        )
    ]
    labels = _hash_lines(_label_lines(catalog))[:_SHORT]
    lines = [catalog.layout, *catalog.classes, labels, *("\0".join(map(str, f)) for f in files)]
    lines += _pool_lines(catalog)
    return {
        "name": catalog.name,
        "layout": catalog.layout,
        "classes": list(catalog.classes),
        "num": len(catalog),
        "sha256": _hash_lines(lines),
        "labels": labels,
        "files": files,
        **({} if catalog.prints is None else {"pool": [list(each) for each in catalog.prints]}),
    }


def content_hash(catalog: Catalog) -> str:
    """One hash of all images and labels, hidden ones too, whatever parts they fall into.

    Raises:
        DataError: a file has vanished or cannot be read.
    """
    pairs = zip(catalog.paths[: catalog.num_told], content_hashes(catalog), strict=True)
    files = (f"{path}\0{num_bytes}\0{digest}" for path, (num_bytes, digest) in pairs)
    head = [catalog.layout, *catalog.classes, *_label_lines(catalog)]
    return _hash_lines([*head, *files, *_pool_lines(catalog)])


def changed(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """What is different between two fingerprints, as one plain sentence; None if nothing is.

    The name does not count: a folder may be moved or renamed.
    """
    if old["sha256"] == new["sha256"]:
        return None
    for key in ("layout", "classes"):
        if old[key] != new[key]:
            return (
                f"the {key} of the data changed: {_plain(old[key])} before, {_plain(new[key])} now"
            )
    if (told := _changed_shard(old.get("pool"), new.get("pool"))) is not None:
        return told
    before = {path: (size, digest, part) for path, size, digest, part in old["files"]}
    after = {path: (size, digest, part) for path, size, digest, part in new["files"]}
    both = [path for path in before if path in after]
    for what, paths in (
        ("is missing", [path for path in before if path not in after]),
        ("is new", [path for path in after if path not in before]),
        ("has another content", [path for path in both if before[path][:2] != after[path][:2]]),
    ):
        if paths:
            return _told(what, paths)
    if old["labels"] != new["labels"]:
        return "the labels of the data changed, though the images did not"
    moved = [path for path in both if before[path][2] != after[path][2]]
    if moved:
        was, now = before[moved[0]][2], after[moved[0]][2]
        return _told(f"was {was} and is {now} by the split", moved)
    return "the record of the data was edited: its hash does not belong to its content"


def _parts(catalog: Catalog, split: Parts) -> list[str]:
    num = catalog.num_told
    parts = np.full(num, "unused", dtype="<U9")
    for name, ids in (
        ("labeled", split.labeled),
        ("unlabeled", split.unlabeled),
        ("val", split.val.ids),
        ("test", split.test.ids),
    ):
        parts[ids[ids < num]] = name
    names: list[str] = parts.tolist()
    return names


def _pool_lines(catalog: Catalog) -> list[str]:
    """A large pool, in lines of a hash."""
    return ["\0".join(map(str, ("shard", *each))) for each in catalog.prints or ()]


def _changed_shard(old: list[list[Any]] | None, new: list[list[Any]] | None) -> str | None:
    """Which shard of a large pool is another one now, as a sentence."""
    if (old is None) != (new is None):
        return "data.unlabeled has many more or fewer images than before"
    before, after = ({each[0]: tuple(each[1:]) for each in pool or ()} for pool in (old, new))
    for what, names in (
        ("is missing", [name for name in before if name not in after]),
        ("is new", [name for name in after if name not in before]),
        ("changed", [name for name in before if after.get(name) != before[name]]),
    ):
        if names:
            more = f", and so for {len(names) - 1} more" if len(names) > 1 else ""
            return f"of data.unlabeled, {shown(names[0])} {what}{more}"
    return None


def content_hashes(catalog: Catalog) -> list[tuple[int, str]]:
    """Bytes and short hash of every image that is told by itself, in the catalog's order."""
    if catalog.images is not None:
        return _hash_arrays(catalog.images)
    assert catalog.root is not None, "a catalog has files or arrays"
    own = _hash_files(catalog.root, catalog.paths[: catalog.num_own])
    return own + hashes_of(catalog, range(catalog.num_own, catalog.num_told))


def hashes_of(catalog: Catalog, rows: Sequence[int]) -> list[tuple[int, str]]:
    """Bytes and short hash of some images that are files or lie in one."""

    def look(row: int) -> tuple[int, str]:
        path, content = catalog.source(row)
        return _hash_file(str(path)) if content is None else _hash_bytes(content)

    with ThreadPoolExecutor() as executor:
        return list(executor.map(look, rows, chunksize=_CHUNK))


def _label_lines(catalog: Catalog) -> Iterator[str]:
    """Every image with its class, or with the content of its mask; nothing where it has none."""
    masks = catalog.masks
    if masks is None:
        num = catalog.num_told
        labels = catalog.labels[:num].tolist()
        for path, label in zip(catalog.paths[:num], labels, strict=True):
            yield f"{path}\0{catalog.classes[label] if label >= 0 else ''}"
        return
    yield repr(masks.coding)
    if masks.arrays is not None:
        contents = _hash_arrays(masks.arrays)
    else:
        assert catalog.root is not None, "a catalog has files or arrays"
        there = iter(_hash_files(catalog.root, [path for path in masks.paths if path]))
        contents = [next(there) if path else (0, "") for path in masks.paths]
    for path, label, content in zip(catalog.paths, catalog.labels.tolist(), contents, strict=True):
        yield f"{path}\0{content if label >= 0 else ''}"


def _hash_arrays(arrays: NDArray[np.uint8]) -> list[tuple[int, str]]:
    contents = (array.tobytes() for array in arrays)
    return [_hash_bytes(each) for each in contents]


def _hash_files(root: Path, paths: Sequence[str]) -> list[tuple[int, str]]:
    chunks = [paths[i : i + _CHUNK] for i in range(0, len(paths), _CHUNK)]
    with ThreadPoolExecutor() as executor:
        hashed = executor.map(
            lambda paths: [_hash_file(f"{root}/{path}") for path in paths], chunks
        )
        return [entry for entries in hashed for entry in entries]


def _hash_bytes(content: bytes) -> tuple[int, str]:
    return len(content), hashlib.sha256(content).hexdigest()[:_SHORT]


def _hash_file(path: str) -> tuple[int, str]:
    digest, num_bytes = hashlib.sha256(), 0
    try:
        # Not hashlib.file_digest: it clears a large buffer for each file, and photos are small.
        with open(path, "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                num_bytes += len(block)
    except OSError as error:
        raise DataError(
            f"{shown(path)} cannot be read ({error.strerror}): was it removed while the data were "
            "read? run the command again"
        ) from error
    return num_bytes, digest.hexdigest()[:_SHORT]


def _hash_lines(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        content = line.encode()
        # The length before each line: names may contain any character, line ends too.
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def _plain(value: object) -> str:
    items = [str(item) for item in value] if isinstance(value, list) else [str(value)]
    rest = f" and {len(items) - 5} more" if len(items) > 5 else ""
    return shown(", ".join(items[:5])) + rest


def _told(what: str, paths: list[str]) -> str:
    rest = f", and so for {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"the image {shown(paths[0])} {what}{rest}"
