"""`examples.json`: what a run's models said of some images, with pictures, and how sure they were.

Who makes it: `runs.examples`. No torch here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from dmt.errors import RunError
from dmt.records import Record, first_fault, read_json

EXAMPLES = "examples.json"
Kind = Literal["surest", "least-sure", "disagreed", "wrong"]

# A page shows these as they are, so that a folder from a stranger must not name anything else.
Picture = Annotated[str, Field(pattern=r"^data:image/webp;base64,[A-Za-z0-9+/]+={0,2}$")]
Color = Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=2**53)]  # whole numbers that a float can hold
Percent = Annotated[float, Field(ge=0, le=100)]


class Reliability(Record):
    """How sure a model was of the held-out images (or their pixels), and how often it was right.

    By equal bins of confidence from 0 to 1: `num` fell into a bin, `right` of them were right,
    `confidence` is their mean confidence (null: none). `error` is the expected calibration error
    in %: the mean distance between confidence and accuracy of the bins, weighted by `num`.
    """

    model: str
    num: Annotated[list[Count], Field(min_length=1)]
    right: list[Count]
    confidence: list[Share | None]
    error: Percent

    @model_validator(mode="after")
    def _has_one_of_each(self) -> Self:
        if not len(self.num) == len(self.right) == len(self.confidence):
            raise ValueError("num, right and confidence are not equally many")
        return self


class Answer(Record):
    """A class and how sure; of a scene no class, and the mean over its pixels."""

    label: str | None
    confidence: Share


class Example(Record):
    """One image. `answers` is by model (a, b, ensemble); `truth` and `accuracy` (of a scene, % of
    pixels) are known of held-out images alone. `pictures` is by what they show: image, truth, a,
    b, confidence, disagreement; one that found no room or could not be read is missing."""

    kind: Kind
    path: str
    is_held_out: bool
    truth: str | None
    answers: dict[str, Answer]
    disagreement: Share | None
    accuracy: Percent | None
    pictures: dict[Literal["image", "truth", "a", "b", "confidence", "disagreement"], Picture]


class Examples(Record):
    """`num_unlabeled`: how many images of the pool were looked at; `colors`: of the classes of a
    segmentation, in their order."""

    version: Literal[1] = 1
    num_unlabeled: Count
    reliability: list[Reliability]
    examples: list[Example]
    colors: list[Color]


def read_examples(run: Path) -> Examples | None:
    """The examples of a run; None where it has none, being older or unfinished.

    Raises:
        RunError: the file is damaged or another version's.
    """
    path = run / EXAMPLES
    if not path.exists():
        return None
    try:
        return Examples.model_validate(read_json(path))
    except ValidationError as error:
        raise RunError(
            f"{path} does not fit this version of dmt ({first_fault(error)}); put it back as it "
            "was, or remove it: the report then goes without examples"
        ) from error
