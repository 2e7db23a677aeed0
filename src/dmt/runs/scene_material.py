"""The data of a segmentation, as a session needs them: see `materials.Material`."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dmt.config import Settings
from dmt.data.catalog import Catalog
from dmt.data.decode import shown
from dmt.data.hidden import ReadMask
from dmt.data.keeping import kept
from dmt.data.mask_splits import MaskSplit, block_ids, fold_mask_splits, make_mask_split
from dmt.data.masks import mask_reader, scan_masks
from dmt.data.scene_views import SceneAugmentation, cut_image, place
from dmt.data.scenes import ScenePool, open_scenes
from dmt.data.sizes import fit_within, typical_size
from dmt.data.unchanged import watched
from dmt.engine.budget import Shapes
from dmt.engine.listener import Say
from dmt.engine.runtime import Runtime
from dmt.engine.scene_forward import Inference, num_windows
from dmt.errors import DataError, SettingError
from dmt.engine.machine import num_workers
from dmt.runs.materials import GIGABYTE, Candidate, Progress, kinds_of_weights, share_or_number
from dmt.tasks.segmentation import Segmentation

_MODELS = (  # from the least to the most costly, with the crop each is worth
    ("deeplab_v2:wrn_10_1", 128),
    ("deeplab_v2:wrn_16_1", 128),
    ("deeplab_v2:wrn_16_2", 160),
)
_PRETRAINED = (
    ("unet:tu-mobilenetv3_small_100", 192),
    ("unet:resnet18", 256),
    ("unet:resnet34", 320),
)
_CROPS = (64, 96, 128, 192, 256, 320)
_KEPT_SHARE = 0.25  # of the memory limit, for masks


class SceneMaterial:
    """Images with a label for every pixel."""

    fewest_images = 2_000

    def __init__(self, catalog: Catalog, say: Say) -> None:
        self.catalog = catalog
        self._say = say
        self._pool: ScenePool | None = None
        self._scanned: tuple[frozenset[int], NDArray[np.int64]] | None = None

    def split(self, settings: Settings, skip: Collection[str]) -> MaskSplit:
        """See `Material.split`."""
        data = settings.data
        if settings.labels_per_class is not None:
            raise SettingError(
                f"labels_per_class={settings.labels_per_class} is for images with one label each; "
                "say how many masks to keep with labels="
            )
        limit = int(data.memory_limit * GIGABYTE * _KEPT_SHARE)
        return make_mask_split(
            self.catalog,
            kept(self._masks(data.max_side), limit),
            seed=settings.seed,
            labels=share_or_number(settings.labels),
            labeled_list=data.labeled_list and _names_in(self.catalog, data.labeled_list),
            val_images=data.val_images,
            hold_out=0.0 if settings.folds else data.hold_out,
            test_group=data.test_group,
            group=data.group,
            block=data.block,
            skip=skip,
        )

    def _masks(self, max_side: int | None) -> ReadMask:
        catalog, masks = self.catalog, self.catalog.masks
        assert masks is not None
        read, root = mask_reader(catalog, max_side), catalog.root
        if masks.arrays is not None or root is None:
            return read
        return watched(read, lambda row: root / masks.paths[row], len(catalog))

    def folds(self, settings: Settings, split: MaskSplit) -> tuple[MaskSplit, ...]:
        """See `Material.folds`."""
        return fold_mask_splits(
            split, folds=settings.folds, seed=settings.seed, blocks=self._blocks(settings)
        )

    def check(self, settings: Settings, split: MaskSplit) -> None:
        """See `Material.check`. Every mask the run will read is scanned once."""
        if settings.data.crop is not None:
            _augmentation(settings)
        Inference(settings.data.window, settings.data.overlap)
        self._blocks(settings)
        if settings.folds:
            self.folds(settings, split)
        if settings.bad_images == "skip" and self._pool is None:
            return  # which images cannot be read, and so need no mask, is known once it is open
        pixels = self._scan(settings, split)
        for name in self.unlabeled_classes(split)[: not settings.allow_unlabeled_classes]:
            elsewhere = int((pixels[:, self.catalog.classes.index(name)] > 0).sum())
            where = f" ({elsewhere} that show it are held out or hidden)" if elsewhere else ""
            raise DataError(
                f"class {name!r} is in none of the masks to train on{where}; label an image that "
                f"shows it,{' take another seed=,' if elsewhere else ''} remove the class, or go "
                "on without it by allow_unlabeled_classes=true"
            )
        if len(split.test) and not pixels[split.test.ids].any():
            raise DataError(
                "the held-out masks hold no labeled pixel, so nothing could be judged; label some, "
                "or hold out others"
            )

    def unlabeled_classes(self, split: MaskSplit) -> tuple[str, ...]:
        """See `Material.unlabeled_classes`."""
        rows = split.labeled
        if self._scanned is not None and self._scanned[0].issuperset(rows.tolist()):
            pixels = self._scanned[1][rows]
        else:
            pixels = scan_masks(self.catalog, rows, num_workers(None)).pixels[rows]
        return tuple(
            name
            for name, num in zip(self.catalog.classes, pixels.sum(axis=0), strict=True)
            if not num
        )

    def given_labels(self, split: MaskSplit) -> Callable[[str], object | None]:
        """See `Material.given_labels`; a mask is read when it is asked for."""
        rows = {self.catalog.paths[row]: row for row in split.labeled.tolist()}

        def look_up(path: str) -> object | None:
            return split.given(rows[path]).tobytes() if path in rows else None

        return look_up

    def candidates(self, settings: Settings) -> Iterator[Candidate]:
        """See `Material.candidates`."""
        seen = fit_within(*typical_size(self.catalog), settings.data.max_side)
        short = max(32, min(seen) // 16 * 16)
        crop = settings.data.crop and max(settings.data.crop)
        if settings.model != "auto":
            sides = [crop] if crop else [side for side in _CROPS if side <= short]
            for kind in kinds_of_weights(settings):
                for each in sides or [short]:
                    yield Candidate(settings.model, each, kind)
            return
        if settings.weights not in {"none", "auto", "pretrained"}:
            raise SettingError(
                f"weights={settings.weights} is a file, so name its model with model="
            )
        for kind, models in (("none", _MODELS), ("pretrained", _PRETRAINED)):
            if settings.weights in {kind, "auto"}:
                for model, wanted in models:
                    yield Candidate(model, crop or min(wanted, short), kind)

    def filled(self, settings: Settings, candidate: Candidate) -> Settings:
        """See `Material.filled`: large images are brought down so that a crop shows enough."""
        data, side = settings.data, candidate.image_size
        max_side = data.max_side
        if max_side is None and data.crop is None and data.window is None:
            longest = max(typical_size(self.catalog))
            # Twice a crop; and where most are smaller, a few large ones are brought down to them.
            max_side = 2 * side if longest > 2 * side else max(2 * side, longest)
        return settings.model_copy(
            update={
                "model": candidate.model,
                "weights": candidate.weights,
                "data": data.model_copy(
                    update={"crop": data.crop or (side, side), "max_side": max_side}
                ),
            }
        )

    def shapes(self, settings: Settings) -> Shapes:
        """See `Material.shapes`."""
        data = settings.data
        assert data.crop is not None
        whole = fit_within(*typical_size(self.catalog), data.max_side)
        windows = num_windows(whole, Inference(data.window, data.overlap))
        assert data.window is not None or windows == 1
        return Shapes(data.crop, whole if windows == 1 else data.window or whole, True, windows)

    def open(self, settings: Settings, runtime: Runtime) -> list[str]:
        """See `Material.open`."""
        self._pool, bad = open_scenes(
            self.catalog,
            max_side=settings.data.max_side,
            workers=num_workers(settings.workers),
            memory_limit=int(settings.data.memory_limit * GIGABYTE),
            bad_images=settings.bad_images,
            progress=Progress(self._say, "reading images"),
        )
        return bad

    def read(self, settings: Settings, num: int) -> None:
        """See `Material.read`."""
        assert self._pool is not None
        augmentation = _augmentation(settings)
        readable = np.flatnonzero(self._pool.sizes.all(axis=1))
        for slot in range(num):
            image = self._pool.image(int(readable[slot % len(readable)]))
            height, width = image.shape[:2]
            placement = place((height, width), augmentation, 0, "timing", slot=slot)
            cut_image(image, placement, augmentation.crop)

    def task(
        self, settings: Settings, splits: Mapping[int | None, MaskSplit], runtime: Runtime
    ) -> Segmentation:
        """See `Material.task`."""
        assert self._pool is not None
        return Segmentation(
            self._pool,
            splits,
            self.catalog.classes,
            _augmentation(settings),
            Inference(settings.data.window, settings.data.overlap),
            self._blocks(settings),
            settings.seed,
            runtime,
            num_workers(settings.workers),
            replace(_augmentation(settings), photometric=settings.online.photometric),
        )

    def _blocks(self, settings: Settings) -> NDArray[np.int64]:
        return block_ids(self.catalog, settings.data.group, settings.data.block)

    def _scan(self, settings: Settings, split: MaskSplit) -> NDArray[np.int64]:
        """Pixels of every class by image, (N, K); every mask of the split is looked at once."""
        rows = np.concatenate(
            [split.labeled, split.hidden.ids, split.val.ids, split.test.ids]
        ).astype(np.int64)
        wanted = frozenset(rows.tolist())
        if self._scanned is None or not wanted <= self._scanned[0]:
            progress = Progress(self._say, "looking at masks")
            found = scan_masks(self.catalog, rows, num_workers(settings.workers), progress)
            self._scanned = wanted, found.pixels
        return self._scanned[1]


def _augmentation(settings: Settings) -> SceneAugmentation:
    data = settings.data
    assert data.crop is not None
    try:
        return SceneAugmentation(
            crop=data.crop, scale=data.scale, flip=data.flip, photometric=data.photometric
        )
    except SettingError as error:
        raise SettingError(f"data.{error}") from error


def _names_in(catalog: Catalog, named: str) -> list[str]:
    """The lines of a list of images, empty ones left out.

    A list is a text file, or the name of one of the data set's own (`train` of VOC).
    """
    places = [Path(os.path.expanduser(named))]
    if catalog.root is not None:
        places += [
            catalog.root / named,
            catalog.root / f"{named}.txt",
            catalog.root / "ImageSets" / "Segmentation" / f"{named}.txt",
        ]
    path = next((place for place in places if place.is_file()), places[0])
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "it is not UTF-8"
        raise SettingError(
            f"data.labeled_list={shown(named)} cannot be read as a text file ({why}); give one "
            "that names an image a line"
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]
