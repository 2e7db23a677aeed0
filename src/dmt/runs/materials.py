"""What a session must know of its data and cannot ask the task, which comes later.

The split, the pool and the sizes, for images with one label each (`image_material`) and for
scenes (`scene_material`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple, Protocol, TypeVar

from dmt.config import Settings
from dmt.data.catalog import Catalog
from dmt.data.splits import Parts
from dmt.data.unlabeled import with_unlabeled
from dmt.engine.budget import Shapes
from dmt.engine.listener import Say
from dmt.engine.plan import Sizes
from dmt.engine.runtime import Runtime
from dmt.engine.task import Task
from dmt.errors import SettingError

GIGABYTE = 1 << 30
_SECONDS_BETWEEN = 10.0

Split = TypeVar("Split", bound=Parts)


class Candidate(NamedTuple):
    """A model at an image size: that of whole images, or of the crops of a segmentation."""

    model: str
    image_size: int
    weights: str


def with_pool(
    catalog: Catalog,
    settings: Settings,
    *,
    follow_links: bool | None = None,
    say: Say | None = None,
) -> Catalog:
    """A run's data with the unlabeled images that it takes from elsewhere (`data.unlabeled`).

    Args:
        catalog: of the data themselves.
        settings: of the run.
        follow_links: whether links may leave that place; None: as the settings have it.
        say: told how far the copying of a pool elsewhere has come.

    Raises:
        DataError: see `with_unlabeled`.
        EnvironmentFault: likewise.
        RunError: likewise.
    """
    data = settings.data
    return with_unlabeled(
        catalog,
        data.unlabeled,
        follow_links=data.follow_links if follow_links is None else follow_links,
        large_from=data.large_pool,
        is_skipping=settings.bad_images == "skip",
        progress=None if say is None else Progress(say, "copying the shards of data.unlabeled"),
    )


class Progress:
    """Says now and then how far something long has come; nothing of what is short.

    Args:
        say: told a sentence.
        what: is being done, as in "reading images".
    """

    def __init__(self, say: Say, what: str) -> None:
        self._say = say
        self._what = what
        self._said = time.perf_counter()

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` are over."""
        now = time.perf_counter()
        if now - self._said > _SECONDS_BETWEEN:
            self._said = now
            self._say(f"{self._what}: {done:,} of {total:,}")


class Material(Protocol[Split]):
    """The data of one run."""

    catalog: Catalog
    fewest_images: int
    """Images a peer should see at least, for a model to be worth its size."""

    def split(self, settings: Settings, skip: Collection[str]) -> Split:
        """Every image's part in the run; none for those in `skip`."""
        ...

    def folds(self, settings: Settings, split: Split) -> tuple[Split, ...]:
        """The splits of `settings.folds` runs that judge on all labels."""
        ...

    def check(self, settings: Settings, split: Split) -> None:
        """Find what the run would fail on later, before anything is measured or written.

        Asked twice: before the images are opened and, when those that cannot be read are known,
        after it.

        Raises:
            DataError, SettingError: what it is, and its cure.
        """
        ...

    def unlabeled_classes(self, split: Split) -> tuple[str, ...]:
        """Classes that no label to train on shows."""
        ...

    def given_labels(self, split: Split) -> Callable[[str], object | None]:
        """From an image's path to what it is labeled with: something equal for equal labels, None
        where no label is given to training."""
        ...

    def candidates(self, settings: Settings) -> Iterator[Candidate]:
        """What may be chosen, from the least to the most costly, pre-trained ones last."""
        ...

    def filled(self, settings: Settings, candidate: Candidate) -> Settings:
        """Settings with a candidate's model, weights and sizes."""
        ...

    def shapes(self, settings: Settings) -> Shapes:
        """The sizes of what goes through a network, once they are filled in."""
        ...

    def open(self, settings: Settings, runtime: Runtime) -> list[str]:
        """Read every image once; the paths of those that cannot be read."""
        ...

    def read(self, settings: Settings, num: int) -> None:
        """Hand out `num` images as training would, so that it can be timed."""
        ...

    def task(
        self, settings: Settings, splits: Mapping[int | None, Split], runtime: Runtime
    ) -> Task:
        """The task on the opened data."""
        ...


def sizes_of(split: Parts, catalog: Catalog) -> Sizes:
    """How many images of each sort a split has."""
    return Sizes(
        len(split.labeled),
        len(split.unlabeled),
        len(split.hidden),
        is_dense=catalog.task == "segmentation",
    )


def share_or_number(labels: float | None) -> float | int | None:
    """`labels=`: a share up to 1, or a whole number.

    Raises:
        SettingError: it is neither.
    """
    if labels is None or labels <= 1:
        return labels
    if labels != int(labels):
        raise SettingError(f"labels={labels} must be a share up to 1 or a whole number")
    return int(labels)


def kinds_of_weights(settings: Settings) -> tuple[str, ...]:
    """What a named model may begin from, by `weights=`: none, pretrained, both or a file."""
    return ("none", "pretrained") if settings.weights == "auto" else (settings.weights,)
