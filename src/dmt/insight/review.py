"""`review.csv` and `review.html`: what two models make of labels, for a person to decide.

Computes no figure: rows and pictures come from `reviews.reviewing`. Corrections are `correcting`'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from dmt.escapes import visible
from dmt.insight.examples import MAX_LEGEND
from dmt.insight.html import environment, script, style
from dmt.records import write_text

PAGE, TABLE = "review.html", "review.csv"
Section = Literal["label-next", "mislabeled"]
NEXT: Section = "label-next"
WRONG: Section = "mislabeled"
Picture = tuple[str, str]  # what it shows, a data URI


class ReviewRow(NamedTuple):
    """One line of `review.csv`; of a segmentation the labels are empty."""

    path: str
    section: Section
    rank: int  # from 1
    given: str  # the label, empty where there is none
    label_a: str
    confidence_a: float  # 0–1
    label_b: str  # empty where there is one model
    confidence_b: float | None
    score: float  # 0–1, what the rank comes from


@dataclass(frozen=True)
class Review:
    """What the page shows.

    Attributes:
        name: of the run.
        dataset: its data's name.
        key: a fingerprint of run and data, under which the browser keeps decisions.
        is_dense: whether the images have masks.
        classes: names.
        rows: of both sections, those that are shown.
        totals: how many rows each section has in `review.csv`.
        pictures: by path and section, the pictures of a row as data URIs, each with its name;
            rows beyond the page's size have none.
        networks: of every row the networks whose masks it shows; empty where there is no mask.
        notes: sentences on what is shown and what not; `how` says how to get the second section.
        colors: of the classes in masks, as `#rrggbb`; empty where there are none.
        command: that applies the corrections; empty where the images are no files.
    """

    name: str
    dataset: str
    key: str
    is_dense: bool
    classes: Sequence[str]
    rows: Sequence[ReviewRow]
    totals: Mapping[str, int]
    pictures: Mapping[tuple[str, Section], Sequence[Picture]]
    networks: Sequence[Sequence[str]]
    notes: Sequence[str]
    how: str
    peers: tuple[str, str]
    colors: Sequence[str]
    command: str


def write_page(run: Path, review: Review) -> Path:
    """Write `review.html` into a run's folder.

    Raises:
        RunError: it cannot be written.
    """
    write_text(run / PAGE, render(review))
    return run / PAGE


def render(review: Review) -> str:
    """The page as HTML."""
    code = script("report.js", "review.js")
    page = environment().get_template("review.html.j2").render(
        style=style("report.css", "review.css"),
        script=code.text,
        script_hash=code.hash,
        review=review,
        most_colors=MAX_LEGEND,
        facts=_facts(review),
        more_next=_more(review, NEXT),
        more_wrong=_more(review, WRONG),
    )  # fmt: skip
    # HTML's own characters are escaped by now; what turns the direction of reading is not.
    return visible(page, keep="\n\t")


def _more(review: Review, section: Section) -> str:
    num, total = sum(row.section == section for row in review.rows), review.totals[section]
    if num == total:
        return ""
    return f" The first {num:,} of {total:,}; all are in {TABLE}, and show= sets how many."


def _facts(review: Review) -> str:
    """The rows as JSON that can stand in a script element: it holds no `<`."""
    value = {
        "key": review.key,
        "isDense": review.is_dense,
        "classes": list(review.classes),
        "peers": list(review.peers),
        "rows": [
            _row(row, review, networks)
            for row, networks in zip(review.rows, review.networks, strict=True)
        ],
    }
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _row(row: ReviewRow, review: Review, networks: Sequence[str]) -> list[object]:
    pictures = list(review.pictures.get((row.path, row.section), ()))
    plain = [each if not isinstance(each, float) else round(each, 4) for each in row]
    return [*plain, pictures, list(networks)]
