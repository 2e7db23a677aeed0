"""All that is particular to scenes, which have a label for every pixel. The rules are in `core`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmt.core import IGNORE_INDEX, predict, sent
from dmt.data.hidden import HiddenMasks
from dmt.data.mask_splits import GivenMasks, MaskSplit, dms_mask_subsets
from dmt.data.pixel_labels import PixelLabels, PixelLabelWriter
from dmt.data.read_ahead import read_ahead
from dmt.data.scene_views import SceneAugmentation, cut_image, cut_plane, photometric, place
from dmt.data.scenes import ScenePool
from dmt.engine.examples import RELIABLE_MODELS, Examples
from dmt.engine.finite import refuse_unless_all
from dmt.engine.likeness import Comparison, spread
from dmt.engine.oracle import all_masks
from dmt.engine.order import own_slots, rows
from dmt.engine.runtime import Runtime
from dmt.engine.scene_forward import Inference, forward_scenes, shard_ids
from dmt.engine.scene_scores import draw_pixels, pixel_scores
from dmt.engine.stage import LabelStage, TrainStage
from dmt.engine.step import Batch, Position
from dmt.engine.task import FinalTable, Labeling, Likeness, Score
from dmt.metrics.confusion import class_recall, iou_per_class, mean_iou
from dmt.metrics.error_detection import detect_in_scenes
from dmt.metrics.hidden_scores import score_mask, score_selected_mask
from dmt.metrics.reliability import reliability
from dmt.metrics.verdict import compare_counts
from dmt.records import ClassSelection, Confusion, Difference, ErrorDetection
from dmt.tasks.scene_counts import Counts, count_scenes, over_ranks
from dmt.tasks.scene_examples import unlabeled_examples, worst_scenes

_LOOKED_BACK = 50  # labeled images that are looked at beside the validation part, at most
_COMPARED = 50  # images of the pool in which two peers' labels are compared, at most
_SHOWN_FROM = 30  # images of the pool among which those worth showing are looked for, at most
_CHECKED = 40  # images of the pool in which scores look for wrong pseudo labels, at most


class _View(NamedTuple):
    """One sample of a batch: a crop of an image and of what is said of its pixels."""

    image: NDArray[np.uint8]  # (3, h, w)
    label: NDArray[np.uint8]  # (h, w), 255 where nothing is known
    confidence: NDArray[np.float32]  # (h, w)
    valid: NDArray[np.bool_]  # (h, w), where something is learned


class Segmentation:
    """Scenes, from a pool.

    Args:
        pool: all images by id.
        splits: by fold; None is the split of the run itself.
        classes: names.
        augmentation: what a training view may change.
        inference: how whole images are labeled and judged.
        blocks: int64 (N,), which block each image of the data set is of; the verdict's interval
            is over blocks.
        seed: of the run.
        runtime: where it computes.
        workers: threads that decode and cut.
        strong: what the strong view of an unlabeled scene may change besides geometry; None: as
            `augmentation`.
    """

    name: Literal["classification", "segmentation"] = "segmentation"
    metric: Literal["error", "miou"] = "miou"

    def __init__(
        self,
        pool: ScenePool,
        splits: Mapping[int | None, MaskSplit],
        classes: tuple[str, ...],
        augmentation: SceneAugmentation,
        inference: Inference,
        blocks: NDArray[np.int64],
        seed: int,
        runtime: Runtime,
        workers: int,
        strong: SceneAugmentation | None = None,
    ) -> None:
        self.classes = classes
        self._pool = pool
        self._splits = splits
        self._augmentation = augmentation
        self._strong = strong or augmentation
        self._inference = inference
        self._blocks = blocks
        self._seed = seed
        self._runtime = runtime
        self._workers = workers

    def batches(
        self, stage: TrainStage, labels: Path | None, first_step: int
    ) -> Generator[tuple[Position, Batch], None, None]:
        """See `Task.batches`. Scale, crop and flip are drawn here, where an image is cut."""
        given = self._given(stage)
        store = None if labels is None else PixelLabels(labels)
        kept = torch.empty(0, dtype=torch.int64) if store is None else store.ids
        if stage.online is not None:
            kept = torch.from_numpy(self._splits[stage.fold].unlabeled.copy())
        ids = torch.cat([torch.from_numpy(given.ids.copy()), kept])
        num_given, total = len(given.ids), stage.fit.num_steps
        slots = torch.arange(stage.fit.batch_size)[own_slots(stage.fit.batch_size, self._runtime)]
        # Views are cut ahead of the step, so what was drawn is kept until they come.
        waiting: list[Tensor] = []

        def asked() -> Iterator[list[Callable[[], _View]]]:
            drawn = rows(stage, num_given, len(kept), self._seed, self._runtime, first_step)
            for step, row in enumerate(drawn, start=first_step):
                waiting.append(row)
                where = stage.name, step
                yield [
                    partial(self._cut, id_, where, slot, given if index < num_given else store)
                    for id_, index, slot in zip(
                        ids[row].tolist(), row.tolist(), slots.tolist(), strict=True
                    )
                ]

        with closing(read_ahead(asked(), self._workers)) as views:
            for step, cut in enumerate(views, start=first_step):
                row = waiting.pop(0)
                yield (
                    Position(self._seed, stage.name, step, total),
                    self._batch(ids[row], slots, cut, row < num_given),
                )

    def _given(self, stage: TrainStage) -> GivenMasks:
        split = self._splits[stage.fold]
        if stage.sees == "everything":
            return all_masks(split)
        if stage.sees == "dms":
            masks = dms_mask_subsets(split.labeled, seed=self._seed)
            return split.given.restrict(split.labeled[masks[0 if stage.peer == "a" else 1]])
        return split.given

    def _cut(
        self, id_: int, where: tuple[str, int], slot: int, source: GivenMasks | PixelLabels | None
    ) -> _View:
        image, crop = self._pool.image(id_), self._augmentation.crop
        height, width = image.shape[:2]
        placement = place((height, width), self._augmentation, self._seed, *where, slot=slot)
        view = cut_image(image, placement, crop)
        if source is None:  # labeled while it is learned, wherever there is no padding
            is_inside = cut_plane(np.ones((height, width), bool), placement, crop, False)
            nothing = np.full(crop, IGNORE_INDEX, np.uint8)
            return _View(view, nothing, np.zeros(crop, np.float32), is_inside)
        if isinstance(source, PixelLabels):
            planes = source.read(id_)
            label = np.where(planes.is_selected, planes.label, np.uint8(IGNORE_INDEX))
            confidence = cut_plane(planes.confidence, placement, crop, 0.0)
        else:
            label, confidence = source(id_), np.ones(crop, dtype=np.float32)
        label = cut_plane(label, placement, crop, IGNORE_INDEX)
        return _View(view, label, confidence, label != IGNORE_INDEX)

    def _batch(self, ids: Tensor, slots: Tensor, views: list[_View], is_given: Tensor) -> Batch:
        device = self._runtime.device
        image, label, confidence, valid = (
            sent(torch.from_numpy(np.stack(planes)), device) for planes in zip(*views, strict=True)
        )
        return Batch(ids, slots, image, label.long(), confidence, valid, is_given)

    def view(self, batch: Batch, position: Position) -> Batch:
        """See `Task.view`: brightness, contrast and saturation; geometry is done already."""
        seed, stage, step, _ = position
        images = photometric(batch.images, batch.slots, self._augmentation, seed, stage, step)
        return batch._replace(images=images)

    def views(self, batch: Batch, position: Position) -> tuple[Batch, Batch]:
        """See `Task.views`: the crop as it was cut; the same crop in other light."""
        seed, stage, step, _ = position
        images = photometric(batch.images, batch.slots, self._strong, seed, stage, step)
        return batch, batch._replace(images=images)

    def label(self, stage: LabelStage, net: nn.Module, folder: Path, twin: Path | None) -> Labeling:
        """See `Task.label`."""
        split, runtime = self._splits[stage.fold], self._runtime
        pool = torch.from_numpy(split.unlabeled.copy())
        writer = PixelLabelWriter(folder, len(self.classes), part=runtime.rank)
        num_missed = torch.zeros(len(split.unlabeled), dtype=torch.int64)
        for id_, logits in self._logits(net, pool):
            if bool(logits.isfinite().all()):
                said = predict(logits.unsqueeze(0))
                writer.add(id_, said.label[0], said.code[0])
            else:
                num_missed[int(np.searchsorted(split.unlabeled, id_))] = 1
        # After the last image, so that all ranks stop together.
        num_missed = runtime.sum(num_missed.to(runtime.device)).cpu()
        refuse_unless_all(num_missed == 0, pool)
        writer.finish(
            runtime.sum(writer.counts.to(runtime.device)).cpu(),
            fraction=stage.fraction,
            is_class_balanced=stage.is_class_balanced,
            seed=self._seed,
            where=stage.name,
            num_parts=runtime.world_size,
            workers=self._workers,
        )
        runtime.barrier()
        store = PixelLabels(folder)
        found = self._describe(store, split.hidden, stage.is_class_balanced)
        return found if twin is None else found._replace(likeness=_compare(store, twin))

    def _describe(
        self, store: PixelLabels, hidden: HiddenMasks, is_class_balanced: bool
    ) -> Labeling:
        num_classes = len(self.classes)
        known = store.ids[torch.from_numpy(np.isin(store.ids.numpy(), hidden.ids))]
        pool = np.zeros((num_classes, num_classes), dtype=np.int64)
        kept = np.zeros_like(pool)
        for id_ in shard_ids(known, self._runtime).tolist():
            planes = store.read(id_)
            pool += score_mask(id_, planes.label, hidden, num_classes)
            kept += score_selected_mask(id_, planes.label, planes.is_selected, hidden, num_classes)
        pool, kept = over_ranks(pool, self._runtime), over_ranks(kept, self._runtime)
        # Transposed, the rows are what was called, and recall becomes precision.
        precision, recall = class_recall(kept.T), class_recall(pool)
        cuts = store.thresholds
        lowest = min((cut for cut in cuts if cut is not None), default=0.0)
        return Labeling(
            num_pool=int(store.num_predicted.sum()),
            num_selected=int(store.num_selected.sum()),
            threshold=cuts if is_class_balanced else lowest,
            pseudo_label_accuracy=_accuracy(kept),
            pool_accuracy=_accuracy(pool),
            classes=[
                ClassSelection(
                    name=name,
                    predicted=int(store.num_predicted[index]),
                    selected=int(store.num_selected[index]),
                    accuracy=None if np.isnan(precision[index]) else precision[index] / 100,
                    known=int(pool[index].sum()),
                    recall=None if np.isnan(recall[index]) else recall[index] / 100,
                )
                for index, name in enumerate(self.classes)
            ],
            unit="pixels",
        )

    def num_checked(self, stage: LabelStage) -> int:
        """See `Task.num_checked`."""
        return len(self._checked(stage))

    def _checked(self, stage: LabelStage) -> NDArray[np.int64]:
        """Images of the pool that are compared with the truth, spread over those that have one."""
        split = self._splits[stage.fold]
        known = split.unlabeled[np.isin(split.unlabeled, split.hidden.ids)]
        return known[spread(len(known), _CHECKED)]

    def detect_errors(
        self, stage: LabelStage, teacher: nn.Module, other: nn.Module | None, folder: Path
    ) -> ErrorDetection:
        """See `Task.detect_errors`."""
        ids = self._checked(stage)
        scenes = draw_pixels(PixelLabels(folder), ids, self._seed)
        checked = torch.from_numpy(ids)
        logits = [self._logits(net, checked) for net in (teacher, other) if net is not None]
        scores = pixel_scores(scenes, logits, stage.gammas, self._runtime)
        return detect_in_scenes(scenes, scores, self._splits[stage.fold].hidden, self._blocks)

    def validate(self, stage: TrainStage, net: nn.Module) -> Score | None:
        """See `Task.validate`: mean IoU in %."""
        val, known = self._splits[stage.fold].val, self._looked_back(stage)
        if not len(val):
            return None
        counts = self._summed(net, val)
        if not counts.any():
            return None  # nothing but pixels that are left out
        back = self._summed(net, known) if len(known) else np.zeros_like(counts)
        return Score(
            _miou(counts),
            num_images=len(val),
            training=_miou(back) if back.any() else None,
            recall=_known(class_recall(counts)),
            truth=counts.sum(axis=1).tolist(),
            classes=_known(iou_per_class(counts)),
        )

    def counts(self, nets: Mapping[str, nn.Module], hidden: HiddenMasks) -> dict[str, Counts]:
        """By name, of networks and ensembles, the confusion of every image, int64 (N, K, K)."""
        num_classes = len(self.classes)
        found, _ = count_scenes(self._logits, nets, hidden, num_classes, self._runtime)
        return found

    def _summed(self, net: nn.Module, hidden: HiddenMasks) -> Counts:
        summed: Counts = self.counts({"a": net}, hidden)["a"].sum(axis=0)
        return summed

    def _looked_back(self, stage: TrainStage) -> HiddenMasks:
        """Labeled images to compare with the validation part: as many, spread over all."""
        num = min(len(self._splits[stage.fold].val), _LOOKED_BACK) * (stage.role == "round")
        given = self._given(stage) if num else self._splits[stage.fold].given
        return HiddenMasks(given.ids[spread(len(given), num)], given)

    def judge(self, models: Mapping[int | None, Mapping[str, nn.Module]]) -> FinalTable | None:
        """See `Task.judge`. Folds are judged together: every labeled image by the models that
        never saw it."""
        tests = {fold: self._splits[fold].test for fold in models}
        ids = np.concatenate([test.ids for test in tests.values()])
        if not len(ids):
            return None
        by_fold = [
            count_scenes(
                self._logits, nets, tests[fold], len(self.classes), self._runtime, RELIABLE_MODELS
            )
            for fold, nets in models.items()
        ]
        counts, sure = (
            {name: np.concatenate([each[name] for each in some]) for name in some[0]}
            for some in zip(*by_fold, strict=True)
        )
        wrong = worst_scenes(
            self._whole_logits, models, tests, counts["ensemble" if "ensemble" in counts else "a"]
        )
        blocks, supervised = self._blocks[ids], counts.get("supervised")

        def compared(name: str) -> Difference | None:
            if supervised is None or name not in counts:
                return None
            return compare_counts(counts[name], supervised, blocks, self._seed)

        return FinalTable(
            values={name: _miou(count.sum(axis=0)) for name, count in counts.items()},
            difference=compared("a"),
            oracle_difference=compared("oracle"),
            confusion=[
                Confusion(model=name, split="test", counts=count.sum(axis=0).tolist())
                for name, count in counts.items()
            ],
            num_images=len(ids),
            reliability=[
                reliability(name, sure[name].reshape(len(by_fold), 2, -1).sum(axis=0))
                for name in RELIABLE_MODELS
                if name in sure
            ],
            wrong=wrong,
            num_again=sum(len(each.planes.labels) for each in wrong if each.planes),
        )

    def examples(self, peers: Mapping[str, nn.Module]) -> Examples:
        """See `Task.examples`."""
        ids = self._splits[None].unlabeled
        ids = ids[spread(len(ids), _SHOWN_FROM)]
        return Examples(
            unlabeled_examples(self._whole_logits, peers, ids), len(ids), len(ids) * len(peers)
        )

    def num_forward(self, stage: TrainStage | LabelStage) -> int:
        """See `Task.num_forward`."""
        split = self._splits[stage.fold]
        if isinstance(stage, LabelStage):
            return len(split.unlabeled)
        return len(split.val) + len(self._looked_back(stage))

    def _logits(self, net: nn.Module, ids: Tensor) -> Iterator[tuple[int, Tensor]]:
        return forward_scenes(net, self._pool, ids, self._inference, self._runtime, self._workers)

    def _whole_logits(self, net: nn.Module, ids: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Of all ids on every rank: for the few images that are shown."""
        alone = Runtime(self._runtime.device, self._runtime.precision)
        return forward_scenes(net, self._pool, ids, self._inference, alone, self._workers)


def _compare(store: PixelLabels, twin: Path) -> Likeness | None:
    """How alike two peers' labels are, over images spread over the pool."""
    comparison, other = Comparison(), PixelLabels(twin)
    ids = store.ids.numpy()
    for id_ in ids[spread(len(ids), _COMPARED)].tolist():
        ours, theirs = store.read(id_), other.read(id_)
        comparison.add(ours.label, theirs.label, ours.confidence, theirs.confidence)
    return comparison.result()


def _known(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]


def _miou(counts: Counts) -> float:
    return mean_iou(counts).value


def _accuracy(counts: Counts) -> float | None:
    """The share of the pixels whose truth is known that were called right."""
    total = int(counts.sum())
    return int(np.trace(counts)) / total if total else None
