"""`examples.json` of a run: its examples drawn and written. Which images they are is the tasks'."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from dmt.config import Settings
from dmt.data.catalog import Catalog
from dmt.data.page_pictures import Pictures
from dmt.data.pictures import hex_colors, palette
from dmt.engine.examples import Examples, Shown
from dmt.engine.task import FinalTable
from dmt.errors import DataError
from dmt.records.examples import EXAMPLES, Answer, Example
from dmt.records.examples import Examples as ExamplesRecord
from dmt.inference.peers import fitted, image_of
from dmt.records import write_json

_BYTES = 2_600_000  # of pictures, so that the report stays well below 5 MB
_IMAGE_SIDE, _SCENE_SIDE = 160, 400  # pixels a side, at most
_LAYERS = 6  # pictures of a scene

What = Literal["image", "truth", "a", "b", "confidence", "disagreement"]


def write_examples(
    run: Path, catalog: Catalog, settings: Settings, table: FinalTable | None, examples: Examples
) -> None:
    """Write `examples.json` into a run's folder, the same bytes for the same run.

    Args:
        run: its folder.
        catalog: its data.
        settings: of it.
        table: the held-out figures, with the worst errors; None without held-out labels.
        examples: of the pool.

    Raises:
        RunError: the file cannot be written.
    """
    is_dense = catalog.task == "segmentation"
    some = [*examples.shown, *(table.wrong if table else ())]
    if is_dense:
        pictures = Pictures(_BYTES, len(some) * _LAYERS, _SCENE_SIDE)
    else:
        pictures = Pictures(_BYTES, len(some), _IMAGE_SIDE)
    record = ExamplesRecord(
        num_unlabeled=examples.num_images,
        reliability=list(table.reliability) if table else [],
        examples=[_example(each, catalog, settings, pictures) for each in some],
        colors=hex_colors(len(catalog.classes)) if is_dense else [],
    )
    write_json(run / EXAMPLES, record)


def _example(each: Shown, catalog: Catalog, settings: Settings, pictures: Pictures) -> Example:
    is_held_out = each.kind == "wrong"
    assert is_held_out or each.truth is None, "only held-out images are shown with their truth"

    def name(label: int | None) -> str | None:
        return None if label is None else catalog.classes[label]

    return Example(
        kind=each.kind,
        path=catalog.paths[each.id],
        is_held_out=is_held_out,
        truth=name(each.truth),
        answers={
            model: Answer(label=name(said.label), confidence=min(1.0, said.confidence))
            for model, said in each.said.items()
        },
        disagreement=each.disagreement,
        accuracy=each.accuracy,
        pictures={what: uri for what, uri in _draw(each, catalog, settings, pictures) if uri},
    )


def _draw(
    each: Shown, catalog: Catalog, settings: Settings, pictures: Pictures
) -> Iterator[tuple[What, str]]:
    try:
        if each.planes is None:
            yield "image", pictures.photo(image_of(catalog, each.id))
        else:
            yield "image", pictures.photo(fitted(catalog, each.id, settings))
    except DataError:  # it has gone since it was looked at; a run does not end for a picture
        return
    if each.planes is None:
        return
    planes, colors = each.planes, palette(len(catalog.classes))
    if planes.truth is not None:
        yield "truth", pictures.mask(planes.truth, colors)
    if "a" in planes.labels:
        yield "a", pictures.mask(planes.labels["a"], colors)
    if "b" in planes.labels:
        yield "b", pictures.mask(planes.labels["b"], colors)
    yield "confidence", pictures.heat(planes.confidence)
    if planes.disagreement is not None:
        yield "disagreement", pictures.heat(planes.disagreement)
