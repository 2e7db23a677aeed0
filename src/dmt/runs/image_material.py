"""The data of a classification, as a session needs them: see `materials.Material`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import cached_property

import torch

from dmt.config import Settings
from dmt.data.catalog import Catalog
from dmt.data.pool import Pool, open_pool
from dmt.data.pool_copies import own_again, without_copies
from dmt.data.sizes import typical_side
from dmt.data.splits import Ids, Split, fold_splits, make_split
from dmt.data.transforms import Augmentation
from dmt.engine.budget import Shapes
from dmt.engine.listener import Say
from dmt.engine.runtime import Runtime
from dmt.errors import DataError, SettingError
from dmt.engine.machine import num_workers
from dmt.runs.materials import GIGABYTE, Candidate, Progress, kinds_of_weights, share_or_number
from dmt.tasks.classification import Classification


class ImageMaterial:
    """Images with one label each."""

    fewest_images = 50_000

    def __init__(self, catalog: Catalog, say: Say) -> None:
        self.catalog = catalog
        self._say = say
        self._pool: Pool | None = None

    @cached_property
    def _copies(self) -> Ids:
        return own_again(self.catalog)

    def split(self, settings: Settings, skip: Collection[str]) -> Split:
        """See `Material.split`."""
        split = make_split(
            self.catalog,
            seed=settings.seed,
            labels_per_class=settings.labels_per_class,
            labels=share_or_number(settings.labels),
            val_per_class=settings.data.val_per_class,
            hold_out=0.0 if settings.folds else settings.data.hold_out,
            skip=skip,
        )
        return without_copies(split, self._copies)

    def folds(self, settings: Settings, split: Split) -> tuple[Split, ...]:
        """See `Material.folds`."""
        return fold_splits(split, folds=settings.folds, seed=settings.seed)

    def check(self, settings: Settings, split: Split) -> None:
        """See `Material.check`."""
        _augmentation(settings)
        for name in self.unlabeled_classes(split)[:1]:
            raise DataError(
                f"class {name!r} has no labeled image left to train on; label one of it, or "
                "remove the class"
            )
        if settings.folds:
            self.folds(settings, split)

    def unlabeled_classes(self, split: Split) -> tuple[str, ...]:
        """See `Material.unlabeled_classes`."""
        there = set(split.labels.tolist())
        return tuple(
            name for number, name in enumerate(self.catalog.classes) if number not in there
        )

    def given_labels(self, split: Split) -> Callable[[str], object | None]:
        """See `Material.given_labels`."""
        paths = (self.catalog.paths[row] for row in split.labeled.tolist())
        return dict(zip(paths, split.labels.tolist(), strict=True)).get

    def candidates(self, settings: Settings) -> Iterator[Candidate]:
        """See `Material.candidates`."""
        side, size, weights = typical_side(self.catalog), settings.data.image_size, settings.weights
        if settings.model != "auto":
            sides = [size] if size else [s for s in (32, 64, 96, 128, 160, 224) if s <= side]
            for kind in kinds_of_weights(settings):
                for each in sides or [max(8, side)]:
                    yield Candidate(settings.model, each, kind)
            return
        small = size or max(8, min(side, 64))
        if weights not in {"none", "auto", "pretrained"}:
            raise SettingError(f"weights={weights} is a file, so name its model with model=")
        if small <= 48:
            if weights != "pretrained":
                for model in ("wrn_10_1", "wrn_16_1", "wrn_16_2", "wrn_28_2"):
                    yield Candidate(model, small, "none")
            return
        if weights != "pretrained":
            for model, wanted in (
                ("wrn_10_1", 32), ("wrn_16_1", 48), ("wrn_16_1", 64), ("wrn_16_2", 64)
            ):  # fmt: skip
                yield Candidate(model, size or min(wanted, side), "none")
        if weights != "none":  # without pre-training these lose to the small ones
            for model, wanted in (
                ("mobilenetv3_small_100", 128), ("resnet18", 128), ("resnet18", 160)
            ):  # fmt: skip
                yield Candidate(model, size or min(wanted, side), "pretrained")

    def filled(self, settings: Settings, candidate: Candidate) -> Settings:
        """See `Material.filled`."""
        return settings.model_copy(
            update={
                "model": candidate.model,
                "weights": candidate.weights,
                "data": settings.data.model_copy(update={"image_size": candidate.image_size}),
            }
        )

    def shapes(self, settings: Settings) -> Shapes:
        """See `Material.shapes`."""
        size = settings.data.image_size
        assert size is not None
        return Shapes((size, size), (size, size), is_dense=False)

    def open(self, settings: Settings, runtime: Runtime) -> list[str]:
        """See `Material.open`."""
        assert settings.data.image_size is not None
        for sentence in self.catalog.elsewhere.damage if self.catalog.elsewhere else ():
            self._say(sentence)
        if self.catalog.prints is not None:
            self._say(
                f"{len(self.catalog) - self.catalog.num_own:,} unlabeled images are too many to "
                "look at each before training: a sample is, and the others when they are labeled"
            )
        self._pool, bad = open_pool(
            self.catalog,
            size=settings.data.image_size,
            device=runtime.device,
            workers=num_workers(settings.workers),
            memory_limit=int(settings.data.memory_limit * GIGABYTE),
            bad_images=settings.bad_images,
            progress=Progress(self._say, "reading images"),
        )
        return bad

    def read(self, settings: Settings, num: int) -> None:
        """See `Material.read`."""
        assert self._pool is not None
        ids = torch.arange(num) % self._pool.num
        for _ in self._pool.stream(ids.split(settings.batch_size)):
            pass

    def task(
        self, settings: Settings, splits: Mapping[int | None, Split], runtime: Runtime
    ) -> Classification:
        """See `Material.task`."""
        assert self._pool is not None
        return Classification(
            self._pool,
            splits,
            self.catalog.classes,
            _augmentation(settings),
            settings.seed,
            runtime,
            replace(
                _augmentation(settings),
                randaugment=settings.online.randaugment,
                cutout=settings.online.cutout,
            ),
        )


def _augmentation(settings: Settings) -> Augmentation:
    data = settings.data
    try:
        return Augmentation(
            flip=data.flip,
            shift=data.shift,
            scale=data.scale,
            rotate=data.rotate,
            fill=data.fill,
            randaugment=data.randaugment,
            magnitude=data.magnitude,
            cutout=data.cutout,
        )
    except SettingError as error:
        raise SettingError(f"data.{error}") from error
