"""Label Studio's JSON: tasks with predictions out, annotated tasks in, and its labeling interface.

Its description: https://labelstud.io/guide/task_format
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from dmt.annotations.items import Item, Said
from dmt.annotations.lines import Line, Lines, Region, known_path
from dmt.data.mask_runs import brush_runs, from_brush_runs, from_polygon
from dmt.errors import DataError
from dmt.records import first_fault

_LABEL, _ACTION, _IMAGE = "label", "action", "image"
_WORDS = {"none of these": "none", "unusable": "unusable"}
_LOCAL = "/data/local-files/?d="


class _Result(BaseModel):
    type: str
    from_name: str = ""
    original_width: int | None = None
    original_height: int | None = None
    value: dict[str, Any]


class _Annotation(BaseModel):
    was_cancelled: bool = False
    updated_at: str = ""
    result: list[_Result]


class _Task(BaseModel):
    data: dict[str, Any]
    annotations: list[_Annotation] = []


def interface(classes: Sequence[str], *, is_dense: bool) -> str:
    """The labeling interface (XML) that the tasks belong to."""
    kind, one = ("BrushLabels", "Label") if is_dense else ("Choices", "Choice")
    words = [word for word in _WORDS if not (is_dense and word == "none of these")]
    single = "" if is_dense else ' choice="single"'
    return "\n".join([
        "<View>",
        f'  <Image name="{_IMAGE}" value="$image" zoom="true"/>',
        f'  <{kind} name="{_LABEL}" toName="{_IMAGE}"{single}>',
        *(f"    <{one} value={quoteattr(name)}/>" for name in classes),
        f"  </{kind}>",
        f'  <Choices name="{_ACTION}" toName="{_IMAGE}" choice="single">',
        *(f'    <Choice value="{word}"/>' for word in words),
        "  </Choices>",
        "</View>",
        "",
    ])  # fmt: skip


def tasks(items: Sequence[Item], classes: Sequence[str], folder: str) -> list[dict[str, Any]]:
    """A task for each image, with what is said of it as predictions.

    Args:
        items: the images.
        classes: names.
        folder: the name of the data's folder, which lies in the tool's document root.
    """
    return [
        {
            "data": {
                "image": _LOCAL + quote(f"{folder}/{item.path}"),
                "path": item.path,
                "section": item.section,
                "rank": item.rank,
                "score": round(item.score, 6),
            },
            "predictions": [
                {
                    "model_version": said.name,
                    **({} if said.confidence is None else {"score": round(said.confidence, 6)}),
                    "result": list(_results(item, said, classes)),
                }
                for said in item.said
            ],
        }
        for item in items
    ]


def _results(item: Item, said: Said, classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    size = {"original_width": item.width, "original_height": item.height, "image_rotation": 0}
    place = {"from_name": _LABEL, "to_name": _IMAGE, **size}
    if said.mask is None:
        yield {**place, "id": "label", "type": "choices", "value": {"choices": [said.label]}}
        return
    for number in np.unique(said.mask[said.mask < len(classes)]).tolist():
        rle = brush_runs(said.mask == number)
        value = {"format": "rle", "rle": rle, "brushlabels": [classes[number]]}
        yield {**place, "id": f"class{number}", "type": "brushlabels", "value": value}


def read_tasks(value: Sequence[Any], known: Mapping[str, int], *, is_dense: bool) -> Lines:
    """The annotations of exported tasks, those of one task in the order they were last changed.

    Tasks without an annotation, cancelled and empty annotations say nothing.

    Args:
        value: the JSON list.
        known: paths of the data.
        is_dense: whether masks are looked for, or one choice an image.

    Raises:
        DataError: these are no tasks.
    """
    if value and not any(isinstance(each, dict) and "data" in each for each in value):
        raise DataError(
            "its tasks hold no data: export from Label Studio as JSON, not as JSON-MIN, and from "
            "another tool as COCO or CSV"
        )
    lines = Lines([], [])
    for number, each in enumerate(value, 1):
        where = f"task {number}"
        try:
            task = _Task.model_validate(each)
        except ValidationError as error:
            lines.faults.append(f"{where}: {first_fault(error)}")
            continue
        path = known_path(_names(task.data) or ["?"], known)
        for annotation in sorted(task.annotations, key=lambda one: one.updated_at):
            if annotation.was_cancelled or not annotation.result:
                continue
            decide = _mask_line if is_dense else _choice_line
            try:
                lines.found.append(decide(where, path, annotation.result))
            except ValueError as error:
                lines.faults.append(f"{where}: {error}")
    return lines


def _names(data: Mapping[str, Any]) -> list[str]:
    """Spellings of the path: as we exported it, else as the address of the picture holds it."""
    names = [data["path"]] if isinstance(data.get("path"), str) else []
    if isinstance(data.get("image"), str):
        address = urlsplit(data["image"])
        inside = parse_qs(address.query).get("d", [unquote(address.path)])[0].lstrip("/")
        names += [inside, inside.partition("/")[2]]
    return [name for name in names if name]


def _choice_line(where: str, path: str, results: Sequence[_Result]) -> Line:
    if word := _word(results):
        return Line(where, path, word)
    chosen = [each.value.get("choices") for each in results if each.type == "choices"]
    if len(chosen) != 1 or not isinstance(chosen[0], list) or len(chosen[0]) != 1:
        raise ValueError("an image needs one choice, no more and no less")
    return Line(where, path, "label", unicodedata.normalize("NFC", str(chosen[0][0])))


def _mask_line(where: str, path: str, results: Sequence[_Result]) -> Line:
    if word := _word(results):
        return Line(where, path, word)
    return Line(where, path, "mask", "", tuple(map(_region, results)))


def _word(results: Sequence[_Result]) -> str:
    for each in results:
        if each.from_name == _ACTION and each.value.get("choices"):
            word = str(each.value["choices"][0])
            if word not in _WORDS:
                raise ValueError(f"there is no action {word}")
            return _WORDS[word]
    return ""


def _region(result: _Result) -> Region:
    names = result.value.get(result.type)
    if result.type not in {"brushlabels", "polygonlabels"} or not isinstance(names, list):
        raise ValueError(f"{result.type} are no areas; use brushes or polygons")
    if len(names) != 1:
        raise ValueError("an area needs one class, no more and no less")
    size = (result.original_height, result.original_width)
    draw = partial(_draw, result.type, result.value, size)
    return Region(unicodedata.normalize("NFC", str(names[0])), draw)


def _draw(
    kind: str, value: Mapping[str, Any], size: tuple[int | None, int | None],
    height: int, width: int,
) -> NDArray[np.bool_]:  # fmt: skip
    if size != (height, width):
        raise ValueError(f"it was drawn on another size than {width}×{height} (width × height)")
    if kind == "brushlabels":
        rle = value.get("rle")
        return from_brush_runs(rle if isinstance(rle, list) else [], height, width)
    try:
        corners = np.array(value.get("points"), dtype=np.float64)  # in % of width and height
    except (TypeError, ValueError):
        corners = np.empty(0)
    if corners.ndim != 2 or corners.shape[1] != 2:
        raise ValueError("a polygon of it is no list of at least three x, y")
    points: list[float] = (corners * (width / 100, height / 100)).ravel().tolist()
    return from_polygon(points, height, width)
