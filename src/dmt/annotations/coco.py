"""COCO's JSON, in and out: masks as runs or polygons; of images with one label, their categories.

Its description: https://cocodataset.org/#format-data. An annotation without an area is the category
of the whole image, as datumaro's `coco_labels` has it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from dmt.annotations.items import GIVEN, Item, Said
from dmt.annotations.lines import Line, Lines, Region, known_path
from dmt.data.mask_runs import coco_runs, from_coco_runs, from_polygon
from dmt.records import first_fault


class _Runs(BaseModel):
    size: tuple[int, int]
    counts: list[int] | str


class _Image(BaseModel):
    id: int | str
    file_name: str


class _Category(BaseModel):
    id: int | str
    name: str


class _Annotation(BaseModel):
    image_id: int | str
    category_id: int | str
    segmentation: _Runs | list[list[float]] | None = None


_Entry = TypeVar("_Entry", bound=BaseModel)
_Named = TypeVar("_Named", _Image, _Category)


def document(items: Sequence[Item], classes: Sequence[str]) -> dict[str, Any]:
    """All images with the label they have; of those without one, what the surer model says."""
    number = {name: place for place, name in enumerate(classes, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, item in enumerate(items, 1):
        images.append(
            {"id": image_id, "file_name": item.path, "width": item.width, "height": item.height,
             "section": item.section, "rank": item.rank, "score": round(item.score, 6)}
        )  # fmt: skip
        chosen = max(item.said, key=lambda said: (said.name == GIVEN, said.confidence or 0))
        for fields in _annotations(chosen, classes, number):
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image_id, **fields,
                 "attributes": {"said_by": chosen.name}}
            )  # fmt: skip
            if chosen.confidence is not None:
                annotations[-1]["score"] = round(chosen.confidence, 6)
    return {
        "info": {"description": "dmt review"},
        "images": images,
        "categories": [{"id": place, "name": name} for name, place in number.items()],
        "annotations": annotations,
    }


def _annotations(
    said: Said, classes: Sequence[str], number: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    if said.mask is None:
        yield {"category_id": number[said.label]}
        return
    for label in np.unique(said.mask[said.mask < len(classes)]).tolist():
        area = said.mask == label
        rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
        left, top = int(columns[0]), int(rows[0])
        yield {
            "category_id": number[classes[label]],
            "segmentation": {"size": list(area.shape), "counts": coco_runs(area)},
            "area": int(area.sum()),
            "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
            "iscrowd": 1,  # COCO's word for an area given by runs
        }


def read_document(
    value: Mapping[str, Any], known: Mapping[str, int], *, is_dense: bool
) -> Lines:  # fmt: skip
    """Its annotations by image: one class each, or areas that make a mask.

    Images without an annotation say nothing.

    Args:
        value: the JSON object.
        known: paths of the data.
        is_dense: whether masks are looked for, or one category an image.
    """
    lines = Lines([], [])
    images = _by_id(value, "images", _Image, lines.faults)
    categories = _by_id(value, "categories", _Category, lines.faults)
    regions: dict[int | str, list[Region]] = {}
    for where, note in _validated(value, "annotations", _Annotation, lines.faults):
        image, category = images.get(note.image_id), categories.get(note.category_id)
        if image is None or category is None:
            what, id = ("image", note.image_id) if image is None else ("category", note.category_id)
            lines.faults.append(f"{where}: there is no {what} with the id {id}")
            continue
        name = unicodedata.normalize("NFC", category.name)
        if not is_dense:
            path = known_path([image.file_name], known)
            lines.found.append(Line(where, path, "label", name))
        elif note.segmentation is None:
            lines.faults.append(f"{where}: it has no area; give runs or polygons")
        else:
            of_image = regions.setdefault(image.id, [])
            of_image.append(Region(name, partial(_draw, note.segmentation)))
    for id, some in regions.items():
        name = images[id].file_name
        path = known_path([name], known)
        lines.found.append(Line(f"image {id}", path, "mask", "", tuple(some)))
    return lines


def _by_id(
    value: Mapping[str, Any], key: str, kind: type[_Named], faults: list[str]
) -> dict[int | str, _Named]:
    return {each.id: each for _, each in _validated(value, key, kind, faults)}


def _validated(
    value: Mapping[str, Any], key: str, kind: type[_Entry], faults: list[str]
) -> Iterator[tuple[str, _Entry]]:
    """Every entry of a list that is right, with what a message calls it."""
    entries = value.get(key)
    if not isinstance(entries, list):
        faults.append(f"{key} is no list")
        return
    for number, entry in enumerate(entries, 1):
        where = f"{key}, entry {number}"
        try:
            yield where, kind.model_validate(entry)
        except ValidationError as error:
            faults.append(f"{where}: {first_fault(error)}")


def _draw(segmentation: _Runs | list[list[float]], height: int, width: int) -> NDArray[np.bool_]:
    if isinstance(segmentation, list):
        area = np.zeros((height, width), dtype=np.bool_)
        for points in segmentation:
            area |= from_polygon(points, height, width)
        return area
    if segmentation.size != (height, width):
        raise ValueError(f"it was drawn on another size than {width}×{height} (width × height)")
    return from_coco_runs(segmentation.counts, height, width)
