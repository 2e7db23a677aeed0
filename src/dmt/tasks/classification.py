"""All that is particular to whole images with one label each. The rules are in `core`."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmt.core import decode_confidence, error_scores, predict, sent
from dmt.data.hidden import HiddenLabels
from dmt.data.pool import Pool
from dmt.data.pseudo_labels import ImageLabels
from dmt.data.splits import Split, dms_subsets
from dmt.data.transforms import Augmentation, strong, weak
from dmt.engine.examples import Examples
from dmt.engine.finite import refuse_unless_all
from dmt.engine.forward import Share, ensembles, forward, probabilities
from dmt.engine.likeness import Comparison, spread
from dmt.engine.oracle import all_labels
from dmt.engine.order import own_slots, rows
from dmt.engine.runtime import Runtime
from dmt.engine.stage import LabelStage, TrainStage
from dmt.engine.step import Batch, Position
from dmt.engine.task import FinalTable, Labeling, Likeness, Score
from dmt.metrics.confusion import class_recall, error_rate
from dmt.metrics.error_detection import detect_in_images
from dmt.metrics.hidden_scores import class_pseudo_label_accuracy, pseudo_label_accuracy, score
from dmt.metrics.verdict import compare_predictions
from dmt.records import ClassSelection, Confusion, ErrorDetection
from dmt.tasks.image_examples import mistakes, reliabilities, unlabeled_examples
from dmt.tasks.large_labeling import is_large, label_in_shards

_NO_CLASS = -1
_NOTHING = torch.empty(0, dtype=torch.uint8)
_LOOKED_BACK = 500  # labeled images that are looked at beside the validation part, at most
_SHOWN_FROM = 500  # images of the pool among which those worth showing are looked for, at most
_CHECKED = 1000  # images of the pool in which scores look for wrong pseudo labels, at most


class Classification:
    """Images with one label each, from a pool.

    Args:
        pool: all images by id.
        splits: by fold; None is the split of the run itself.
        classes: names.
        augmentation: what a training view may change.
        seed: of the run.
        runtime: where it computes.
        strong: what the strong view of an unlabeled image may change; None: as `augmentation`.
    """

    name: Literal["classification", "segmentation"] = "classification"
    metric: Literal["error", "miou"] = "error"

    def __init__(
        self,
        pool: Pool,
        splits: Mapping[int | None, Split],
        classes: tuple[str, ...],
        augmentation: Augmentation,
        seed: int,
        runtime: Runtime,
        strong: Augmentation | None = None,
    ) -> None:
        self.classes = classes
        self._pool = pool
        self._splits = splits
        self._augmentation = augmentation
        self._strong = strong or augmentation
        self._seed = seed
        self._runtime = runtime

    def batches(
        self, stage: TrainStage, labels: Path | None, first_step: int
    ) -> Generator[tuple[Position, Batch], None, None]:
        """See `Task.batches`."""
        spec = stage.fit
        given, given_label = self._given(stage)
        kept, kept_label, confidence = self._kept(stage, labels)
        ids, label = torch.cat([given, kept]), torch.cat([given_label, kept_label])
        confidence = torch.cat([torch.ones(len(given)), confidence])
        num_given, num_kept = len(given), len(kept)
        del given, given_label, kept, kept_label  # of a large pool as large as what they make
        device = self._runtime.device
        slots = torch.arange(spec.batch_size)[own_slots(spec.batch_size, self._runtime)]
        # The pool reads ahead, so what was drawn is kept until its images come.
        waiting: list[Tensor] = []

        def asked() -> Iterator[Tensor]:
            for row in rows(stage, num_given, num_kept, self._seed, self._runtime, first_step):
                waiting.append(row)
                yield ids[row]

        for step, (_, images) in enumerate(self._pool.stream(asked()), start=first_step):
            row = waiting.pop(0)
            batch = Batch(
                ids[row],
                slots,
                images,
                sent(label[row], device),
                sent(confidence[row], device),
                torch.ones(len(row), dtype=torch.bool, device=device),
                row < num_given,
            )
            yield Position(self._seed, stage.name, step, spec.num_steps), batch

    def _given(self, stage: TrainStage) -> tuple[Tensor, Tensor]:
        split = self._splits[stage.fold]
        if stage.sees == "everything":
            return all_labels(split)
        ids, labels = split.labeled, split.labels
        if stage.sees == "dms":
            masks = dms_subsets(labels, seed=self._seed)
            mask = masks[0 if stage.peer == "a" else 1]
            ids, labels = ids[mask], labels[mask]
        return torch.from_numpy(ids.copy()), torch.from_numpy(labels.copy())

    def _kept(self, stage: TrainStage, labels: Path | None) -> tuple[Tensor, Tensor, Tensor]:
        if stage.online is not None:
            ids = torch.from_numpy(self._splits[stage.fold].unlabeled.copy())
            return ids, torch.full_like(ids, _NO_CLASS), torch.zeros(len(ids))
        if labels is None:
            empty = torch.empty(0, dtype=torch.int64)
            return empty, empty, torch.empty(0)
        store = ImageLabels(labels)
        is_kept = store.is_selected
        return store.ids[is_kept], store.label[is_kept], store.confidence[is_kept]

    def view(self, batch: Batch, position: Position) -> Batch:
        """See `Task.view`: flip, shift and RandAugment, on labeled and pseudo-labeled alike."""
        images = strong(
            batch.images,
            batch.slots,
            self._augmentation,
            position.seed,
            position.stage,
            position.step,
        )
        return batch._replace(images=images)

    def views(self, batch: Batch, position: Position) -> tuple[Batch, Batch]:
        """See `Task.views`: flip and shift; flip and shift drawn anew, RandAugment and cutout."""
        seed, stage, step, _ = position
        weak_images = weak(batch.images, batch.slots, self._augmentation, seed, stage, step)
        # A label is of the whole image, so the two need not lie on each other.
        strong_images = strong(
            batch.images, batch.slots, self._strong, seed, stage, "strong view", step
        )
        return batch._replace(images=weak_images), batch._replace(images=strong_images)

    def label(self, stage: LabelStage, net: nn.Module, folder: Path, twin: Path | None) -> Labeling:
        """See `Task.label`."""
        split, runtime = self._splits[stage.fold], self._runtime
        ids = torch.from_numpy(split.unlabeled.copy())
        if is_large(len(ids)):
            label_in_shards(
                stage, net, self._pool, ids, folder, len(self.classes), self._seed, runtime
            )
            return self._found(ImageLabels(folder), stage, twin)
        mine = Share(ids, runtime)
        label, code, is_finite = [_NOTHING.int()], [_NOTHING.int()], [_NOTHING]
        for logits in forward(net, self._pool, mine.batches, runtime):
            said = predict(logits)
            label.append(said.label.cpu().int())
            code.append(said.code.cpu())
            is_finite.append(logits.isfinite().all(dim=1).cpu().byte())
        # After the last image, so that all ranks stop together.
        refuse_unless_all(mine.join(is_finite, _NOTHING).bool(), ids)
        ImageLabels.write(
            folder, ids[mine.rows], torch.cat(label), torch.cat(code), len(self.classes),
            fraction=stage.fraction, is_class_balanced=stage.is_class_balanced,
            seed=self._seed, where=stage.name, num=len(ids),
            part=runtime.rank, num_parts=runtime.world_size, meet=runtime.barrier,
        )  # fmt: skip
        runtime.barrier()
        return self._found(ImageLabels(folder), stage, twin)

    def _found(self, store: ImageLabels, stage: LabelStage, twin: Path | None) -> Labeling:
        hidden = self._splits[stage.fold].hidden
        found = self._describe(store, hidden, stage.is_class_balanced)
        return found if twin is None else found._replace(likeness=_compare(store, twin))

    def _describe(
        self, store: ImageLabels, hidden: HiddenLabels, is_class_balanced: bool
    ) -> Labeling:
        is_kept = store.is_selected
        ids, label = store.ids, store.label
        num_classes = len(self.classes)
        accuracy = class_pseudo_label_accuracy(ids[is_kept], label[is_kept], hidden, num_classes)
        pool = score(ids, label, hidden, num_classes)
        recall = class_recall(pool)
        code = torch.full((num_classes,), 0).scatter_reduce(
            0, label[is_kept], store.code[is_kept], "amin", include_self=False
        )
        is_any = torch.zeros(num_classes, dtype=torch.bool).index_fill(0, label[is_kept], True)
        lowest = [
            value if found else None
            for value, found in zip(decode_confidence(code).tolist(), is_any.tolist(), strict=True)
        ]
        return Labeling(
            num_pool=len(store),
            num_selected=int(is_kept.sum()),
            threshold=lowest
            if is_class_balanced
            else float(decode_confidence(store.code[is_kept].min())),
            pseudo_label_accuracy=_fraction(
                pseudo_label_accuracy(ids[is_kept], label[is_kept], hidden)
            ),
            pool_accuracy=_fraction(pseudo_label_accuracy(ids, label, hidden)),
            classes=[
                ClassSelection(
                    name=name,
                    predicted=int((label == index).sum()),
                    selected=int((label[is_kept] == index).sum()),
                    accuracy=_fraction(accuracy[index]),
                    known=int(pool[index].sum()),
                    recall=None if np.isnan(recall[index]) else recall[index] / 100,
                )
                for index, name in enumerate(self.classes)
            ],
        )

    def num_checked(self, stage: LabelStage) -> int:
        """See `Task.num_checked`."""
        return len(self._checked(stage))

    def _checked(self, stage: LabelStage) -> NDArray[np.int64]:
        """Rows of the pool that are compared with the truth, spread over those where it is known.

        The pool is in the order of its paths, so they are spread over classes and folders too.
        """
        split = self._splits[stage.fold]
        known = np.flatnonzero(np.isin(split.unlabeled, split.hidden.ids))
        return known[spread(len(known), _CHECKED)]

    def detect_errors(
        self, stage: LabelStage, teacher: nn.Module, other: nn.Module | None, folder: Path
    ) -> ErrorDetection:
        """See `Task.detect_errors`."""
        store, rows = ImageLabels(folder), torch.from_numpy(self._checked(stage))
        ids, label = store.ids[rows], store.label[rows]
        mine = Share(ids, self._runtime)
        nothing = torch.empty(0, len(self.classes))
        logits = [
            torch.cat([nothing, *(
                each.cpu() for each in forward(net, self._pool, mine.batches, self._runtime)
            )])
            for net in (teacher, other)
            if net is not None
        ]  # fmt: skip
        scores = error_scores(
            logits[0], logits[1] if other else None, label[mine.rows], *stage.gammas
        )
        return detect_in_images(
            ids.numpy(),
            label.numpy(),
            store.is_selected[rows].numpy(),
            {name: mine.join([each], each).numpy() for name, each in scores.items()},
            self._splits[stage.fold].hidden,
        )

    def validate(self, stage: TrainStage, net: nn.Module) -> Score | None:
        """See `Task.validate`: error in %."""
        val, known = self._splits[stage.fold].val, self._looked_back(stage)
        if not len(val):
            return None
        counts = self._confusion(self._predict(net, val.ids).argmax(dim=1), val)
        training: float | None = None
        if len(known):
            called = self._predict(net, known.ids).argmax(dim=1)
            training = error_rate(self._confusion(called, known))
        return Score(
            error_rate(counts),
            num_images=len(val),
            training=training,
            recall=[None if np.isnan(each) else each for each in class_recall(counts).tolist()],
            truth=counts.sum(axis=1).tolist(),
        )

    def _looked_back(self, stage: TrainStage) -> HiddenLabels:
        """Labeled images to compare with the validation part: as many, spread over all."""
        num = min(len(self._splits[stage.fold].val), _LOOKED_BACK) * (stage.role == "round")
        if not num:
            return HiddenLabels(np.zeros(0, np.int64), np.zeros(0, np.int64))
        ids, labels = (column.numpy() for column in self._given(stage))
        rows = spread(len(ids), num)
        return HiddenLabels(ids[rows], labels[rows])

    def judge(self, models: Mapping[int | None, Mapping[str, nn.Module]]) -> FinalTable | None:
        """See `Task.judge`. Folds are judged together: every labeled image by the models that
        never saw it."""
        test = self._splits[None].test
        if None not in models:
            whole = self._splits[None]
            test = HiddenLabels(whole.labeled, whole.labels)
        if not len(test):
            return None
        predicted: dict[str, Tensor] = {}
        sure: dict[str, Tensor] = {}
        for fold, nets in models.items():
            ids = self._splits[fold].test.ids
            rows = torch.from_numpy(np.flatnonzero(np.isin(test.ids, ids)))
            ids = test.ids[rows.numpy()]
            probs = {name: self._predict(net, ids) for name, net in nets.items()}
            probs |= ensembles(probs)
            for name, prob in probs.items():
                place = predicted.setdefault(name, torch.empty(len(test), dtype=torch.int64))
                place[rows] = prob.argmax(dim=1)
                sure.setdefault(name, torch.empty(len(test)))[rows] = prob.amax(dim=1)
        counts = {name: self._confusion(label, test) for name, label in predicted.items()}
        supervised = predicted.get("supervised")
        return FinalTable(
            values={name: error_rate(count) for name, count in counts.items()},
            difference=None
            if supervised is None
            else compare_predictions(predicted["a"], supervised, test),
            oracle_difference=None
            if supervised is None or "oracle" not in predicted
            else compare_predictions(predicted["oracle"], supervised, test),
            confusion=[
                Confusion(model=name, split="test", counts=count.tolist())
                for name, count in counts.items()
            ],
            num_images=len(test),
            reliability=reliabilities(predicted, sure, test),
            wrong=mistakes(predicted, sure, test),
        )

    def examples(self, peers: Mapping[str, nn.Module]) -> Examples:
        """See `Task.examples`."""
        ids = self._splits[None].unlabeled
        ids = ids[spread(len(ids), _SHOWN_FROM)]
        probs = {name: self._predict(net, ids) for name, net in peers.items()}
        shown = unlabeled_examples(probs | ensembles(probs), ids)
        return Examples(shown, len(ids), len(ids) * len(peers))

    def num_forward(self, stage: TrainStage | LabelStage) -> int:
        """See `Task.num_forward`."""
        split = self._splits[stage.fold]
        if isinstance(stage, LabelStage):
            return len(split.unlabeled)
        return len(split.val) + len(self._looked_back(stage))

    def _predict(self, net: nn.Module, ids: NDArray[np.int64]) -> Tensor:
        return probabilities(
            net, self._pool, torch.from_numpy(ids.copy()), len(self.classes), self._runtime
        )

    def _confusion(self, label: Tensor, hidden: HiddenLabels) -> NDArray[np.int64]:
        return score(hidden.ids, label, hidden, len(self.classes))


def _compare(store: ImageLabels, twin: Path) -> Likeness | None:
    """How alike two peers' labels of one pool are; codes tell sure ones apart best."""
    comparison, other = Comparison(), ImageLabels(twin)
    assert torch.equal(store.ids, other.ids), "the same pool"
    comparison.add(*(each.numpy() for each in (store.label, other.label, store.code, other.code)))
    return comparison.result()


def _fraction(percent: float | None) -> float | None:
    return None if percent is None else percent / 100
