"""What is wrong with a peer, told from the `evaluate` events: figures of the validation part."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from dmt.engine.alarms import Event, Said, few, fold_of, names, noise, place_of, role_of, sentence
from dmt.records import Alarm

_GAP = 30.0  # points of the metric between training and validation
_LEAST_LOSS = {"error": 1.0, "miou": 2.0}  # points of the metric
_LOSS_OF_IMAGES = 30.0  # points of mean IoU by which one image may change for no reason
_UNITS = {"error": "images", "miou": "pixels"}


class ScoreWatch:
    """Watches what the rounds' peers are worth on the validation part.

    Args:
        classes: names, in order.
        unlabeled_classes: those without any label, of which nothing is expected.
        said: what was said before.
    """

    def __init__(
        self, classes: Sequence[str], unlabeled_classes: Collection[str], said: Said
    ) -> None:
        self._classes = tuple(classes)
        self._unlabeled = frozenset(unlabeled_classes)
        self._said = said
        self._last: dict[tuple[str, str], Event] = {}

    def see(self, event: Event) -> list[Alarm]:
        """Take an `evaluate` event; the baseline's and the oracle's are nobody's rounds."""
        if role_of(event) != "round":
            return []
        place = fold_of(event), event["peer"]
        before = self._last.get(place)
        found = [self._overfitting(event)]
        if before is not None:
            found += [self._worse(event, before), self._missed(event, before)]
        self._last[place] = event
        return [each for each in found if each is not None]

    def _worse(self, event: Event, before: Event) -> Alarm | None:
        """A round that made a peer worse, by more than chance."""
        metric, now, was = event["metric"], event["value"], before["value"]
        if metric == "error":
            loss, chance = now - was, noise(was / 100, now / 100, event["num_images"])
        else:
            loss, chance = was - now, _LOSS_OF_IMAGES / math.sqrt(event["num_images"])
        if loss <= max(_LEAST_LOSS[metric], chance):
            return None
        if not self._said.is_news("worse-round", event["peer"], badness=loss):
            return None
        return Alarm(
            kind="worse-round",
            stage=event["stage"],
            message=f"{sentence(place_of(event))} made peer {event['peer']} worse: "
            f"{metric} {was:.1f} % before it and {now:.1f} % after it on "
            f"{event['num_images']:,} validation images.",
            remedy="Lower student.lr, keep fewer pseudo labels (selection.fractions=), put more "
            "labeled images in a batch (student.labeled_share=), or do fewer rounds (rounds=).",
        )

    def _overfitting(self, event: Event) -> Alarm | None:
        """Labeled images known by heart and others not, though a round had those to learn from."""
        training, value = event["training"], event["value"]
        if training is None or not event["round"]:
            return None
        gap = value - training if event["metric"] == "error" else training - value
        chance = 200 * math.sqrt(value / 100 * (1 - value / 100) / event["num_images"])
        if gap - chance <= _GAP:
            return None
        if not self._said.is_news("overfitting", event["peer"], badness=gap):
            return None
        return Alarm(
            kind="overfitting",
            stage=event["stage"],
            message=f"After {place_of(event)} peer {event['peer']} has {event['metric']} "
            f"{training:.1f} % on its labeled images and {value:.1f} % on the validation part.",
            remedy="Label more images, change the views more (data.randaugment=, data.scale=), "
            "take a smaller model=, put fewer labeled images in a batch "
            "(student.labeled_share=), and look whether both parts show the same things.",
        )

    def _missed(self, event: Event, before: Event) -> Alarm | None:
        """Classes of which nothing is recognised, neither before a round nor after it.

        That a class is never called at all may have been said already.
        """
        gone = [
            name
            for name, was, now, num in zip(
                self._classes, before["recall"], event["recall"], event["truth"], strict=True
            )
            if was == now == 0
            and num >= few(_UNITS[event["metric"]])
            and name not in self._unlabeled
            and ("vanished-class", event["peer"], name) not in self._said
            and self._said.is_news("missed-class", event["peer"], name)
        ]
        if not gone:
            return None
        return Alarm(
            kind="missed-class",
            stage=event["stage"],
            message=f"Peer {event['peer']} recognises none of the validation part's "
            f"{_UNITS[event['metric']]} of {names(gone)}, neither before {place_of(event)} nor "
            "after it.",
            remedy="Label more images that show it, look whether its labels are right, or train "
            "longer (steps=).",
            about=gone,
        )
