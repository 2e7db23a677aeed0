"""What is fuzzed: for each parser a reader of bytes, and inputs to begin with. No test."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save as to_safetensors

from dmt import records
from dmt.annotations import coco, label_studio
from dmt.annotations.items import Item, Said
from dmt.config import dump, resolve
from dmt.data.decode import decode
from dmt.data.headers import Header, read_header
from dmt.data.layouts import cifar10, shapes
from dmt.data.layouts.class_names import read_class_list
from dmt.data.layouts.split_lists import read_split_lists
from dmt.data.layouts.table import read_table
from dmt.data.mask_files import Coding, decode_mask
from dmt.errors import DataError
from dmt.insight.read import read_run
from dmt.models import weights
from dmt.models.tensor_files import read_tensors
from dmt.records.examples import read_examples
from dmt.reviews.correcting import read_corrections

Reader = Callable[[bytes], object]


class Target(NamedTuple):
    """One parser.

    Attributes:
        prepare: makes the reader, given an empty folder.
        seeds: inputs to begin with.
    """

    prepare: Callable[[Path], Reader]
    seeds: Callable[[], list[bytes]]


def _file(name: str, read: Callable[[Path], object]) -> Callable[[Path], Reader]:
    """A reader that writes its bytes to the file `name` and has that read."""

    def prepare(folder: Path) -> Reader:
        for image in ("a.png", "b.png", "c/d.png"):
            (folder / image).parent.mkdir(parents=True, exist_ok=True)
            pixels = np.arange(16, dtype=np.uint8).reshape(4, 4) % 3
            Image.fromarray(pixels).save(folder / image)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)

        def reader(content: bytes) -> object:
            (folder / name).write_bytes(content)
            return read(folder / name)

        return reader

    return prepare


# Text ---------------------------------------------------------------------------------------------


def _words(folder: Path) -> Reader:
    del folder
    return lambda content: dump(
        resolve(content.decode(errors="surrogateescape").split("\n"), dataset="x",
                default_recipe="digits")
    )  # fmt: skip


def _recipe(path: Path) -> object:
    found = resolve({"recipe": str(path)}, dataset=None, default_recipe=None)
    path.with_name("again.yaml").write_text(dump(found), encoding="utf-8")
    again = resolve({"recipe": str(path.with_name("again.yaml"))}, dataset=None,
                    default_recipe=None)  # fmt: skip
    assert again.model_copy(update={"recipe": found.recipe}) == found, "its dump says the same"
    return found


def _sizes(folder: Path) -> Reader:
    del folder

    def read(content: bytes) -> object:
        text = content.decode(errors="replace")
        side, _, budget = text.partition("\n")
        with contextlib.suppress(DataError):
            shapes._sides(f"shapes:{side}", side)  # not drawn: that takes seconds
        words = [f"data.crop={side}", f"data.window={side}", f"budget={budget}"]
        return resolve(words, dataset=None, default_recipe=None)

    return read


_TABLES = [
    b"path,label\na.png,cat\nb.png,dog\nc/d.png,\n",
    b'\xef\xbb\xbfpath,label,split\r\na.png,cat,train\r\nb.png,dog,\r\n"c/d.png",dog,test\r\n',
]
_LISTS = [b"a.png b.png\n", b"\"a.png\" 'b.png'\n# x\n\n/c/d.png\ta.png\n", b"../x y\n"]
_CLASSES = [b"\xef\xbb\xbfground\nred\n", b"void 1 2 3\na #102030\nb 4,5,6\nc: 7;8;9\n"]
_RECIPES = [
    b"seed: 3\nstudent: {lr: 0.1, optimizer: sgd}\ndata:\n  scale: [0.5, 2]\n",
    b"steps: null\npeers:\n  b: {model: wrn_16_1}\nselection: {fractions: [0.5, 1.0]}\n",
    b'out: "x"\ntrust_code: true\nbudget: 30m\n--- !t &a\n*a : <<\n? [1, 2]\n: !!int "3"\n',
]
_WORDS = [b"seed=3\nstudent.lr=0.1\nbudget=30m", b"data.crop=64x96\ndata.scale=[1, 2]\nmodel=a:b"]


# Records ------------------------------------------------------------------------------------------


def _summary(path: Path) -> object:
    (path.parent / records.CONFIG).touch()
    return records.read_summary(path.parent)


_EVENTS = [
    b'{"event": "step", "time": 1.5, "stage": "round0/a", "step": 3, "loss": 0.5}\n{"event": "ro',
    b'{"event": "evaluate", "stage": "round1/a", "round": 1, "peer": "a", "value": 3.5}\n[]\n1\n',
    b'{"event": "label", "stage": "round1/label/a", "classes": [{"name": "x"}], "a": null}\n',
]
_AREA = np.arange(16).reshape(4, 4) % 3 == 1
_SAID = [Said("Peer a", "", 0.5, _AREA.astype(np.uint8)), Said("Peer b", "cat", 0.4)]
_ITEM = Item("a.png", "label-next", 1, 0.5, 4, 4, _SAID)
_TASKS = label_studio.tasks([_ITEM], ("cat", "dog"), "data")
_CORRECTIONS = [
    b"path,label,action\na.png,cat,label\n",
    json.dumps([{**each, "annotations": each["predictions"]} for each in _TASKS]).encode(),
    json.dumps(coco.document([_ITEM], ("cat", "dog"))).encode(),
]
_JSONS = [b'{"version": 1, "status": "finished", "task": "segmentation"}', b"[1e5, null, NaN]"]


# Bytes --------------------------------------------------------------------------------------------


def _batch() -> bytes:
    """A tiny batch as CIFAR-10's are pickled: old protocol, bytes for text."""
    data = np.arange(12, dtype=np.uint8).reshape(2, 6)
    return pickle.dumps({b"data": data, b"labels": [1, 2], b"filenames": [b"x", b"y"]}, protocol=2)


def _safetensors() -> list[bytes]:
    about = {"model": "wrn_10_1", "num_classes": "2", "image_size": "8", "channel_order": "rgb"}
    tensors = {"a": torch.arange(4.0), "b": torch.zeros(2, dtype=torch.int64)}
    header = json.dumps({"x": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    odd = len(header).to_bytes(8, "little") + header + b"\0\0"
    return [to_safetensors(tensors, about), to_safetensors(tensors), odd]


def _torch_file() -> list[bytes]:
    buffers = [io.BytesIO(), io.BytesIO()]
    torch.save({"state_dict": {"a": torch.zeros(2)}}, buffers[0])
    torch.save({"a": torch.zeros(2)}, buffers[1], _use_new_zipfile_serialization=False)
    return [buffer.getvalue() for buffer in buffers]


def _pictures() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 4, (6, 6, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    found = []
    for kind in ("JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "TGA", "JPEG2000"):
        buffer = io.BytesIO()
        more = {"exif": exif} if kind in ("JPEG", "PNG", "TIFF", "WEBP") else {}
        Image.fromarray(pixels).save(buffer, kind, **more)
        found.append(buffer.getvalue())
    return found


def _masks() -> list[bytes]:
    found = []
    pixels = np.random.default_rng(0).integers(0, 3, (4, 4), dtype=np.uint8)
    for image in (
        Image.fromarray(pixels),
        Image.fromarray(pixels.astype(np.uint16)),
        Image.fromarray(np.dstack([pixels] * 3)),
        Image.fromarray(pixels > 1),
    ):
        for kind in ("PNG", "TIFF"):
            buffer = io.BytesIO()
            image.save(buffer, kind)
            found.append(buffer.getvalue())
    return found


_AS_MASK = partial(decode_mask, coding=Coding(3), header=Header(4, 4, 4, 4, 1))

_EXAMPLES = json.dumps({
    "version": 1, "num_unlabeled": 3, "colors": ["#000000"],
    "reliability": [{"model": "a", "num": [1, 0], "right": [1, 0], "confidence": [0.5, None],
                     "error": 2.5}],
    "examples": [{"kind": "wrong", "path": "a.png", "is_held_out": True, "truth": "x",
                  "answers": {"a": {"label": "y", "confidence": 0.5}}, "disagreement": None,
                  "accuracy": None, "pictures": {"image": "data:image/webp;base64,AAAA"}}],
}).encode()  # fmt: skip

TARGETS: dict[str, Target] = {
    "table": Target(_file("list.csv", read_table), lambda: _TABLES),
    "list": Target(_file("labeled.txt", lambda p: read_split_lists(p.parent)), lambda: _LISTS),
    "classes": Target(_file("classes.txt", lambda p: read_class_list(p.parent)), lambda: _CLASSES),
    "corrections": Target(_file("done.json", lambda p: _corrections(p)), lambda: _CORRECTIONS),
    "recipe": Target(_file("mine.yaml", _recipe), lambda: _RECIPES),
    "words": Target(_words, lambda: _WORDS),
    "sizes": Target(_sizes, lambda: [b"64x96\n30m", b"[64, 32]\n1.5h", b"99999\n90s"]),
    "metrics": Target(_file("metrics.jsonl", lambda p: list(records.read_metrics(p))),
                      lambda: _EVENTS),
    "report": Target(_file("metrics.jsonl", lambda p: _read_report(p)), lambda: _EVENTS),
    "json": Target(_file("data.json", records.read_json), lambda: _JSONS),
    "summary": Target(_file("summary.json", _summary), lambda: _JSONS),
    "examples": Target(_file("examples.json", lambda p: read_examples(p.parent)),
                       lambda: [*_JSONS, _EXAMPLES]),
    "cifar10": Target(_file("data_batch_1", cifar10._load), lambda: [_batch()]),
    "weights": Target(_file("model.safetensors", lambda p: (weights.read_metadata(p),
                            weights._read(p))), _safetensors),
    "safetensors": Target(_file("x.safetensors", lambda p: read_tensors(p, "weights")),
                          _safetensors),
    "torch": Target(_file("x.pth", lambda p: read_tensors(p, "weights")), _torch_file),
    "header": Target(_file("x.png", read_header), _pictures),
    "image": Target(_file("x.png", decode), _pictures),
    "mask": Target(_file("x.png", _AS_MASK), _masks),
}  # fmt: skip


def _corrections(path: Path) -> object:
    """A file of corrections as labels and as masks; every area is drawn."""
    found = [read_corrections(path, {"a.png": 0}, is_dense=is_dense) for is_dense in (False, True)]
    for line in found[1].found:
        for region in line.regions:
            with contextlib.suppress(ValueError):
                region.draw(4, 4)
    return found


def _read_report(path: Path) -> object:
    (path.parent / records.CONFIG).write_text("dataset: x\n")
    return read_run(path.parent)
