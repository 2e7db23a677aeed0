"""What is wrong with pseudo labels, told from the `label` events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from dmt.engine.alarms import Event, Said, few, fold_of, names, noise, percent, place_of, sentence
from dmt.engine.watch_training import least_agreement
from dmt.records import Alarm

_SAME_LABELS = 0.97  # share of the pool; on easy data two that differ come to that too ...
_SAME_SURENESS = 0.99  # ... but not to this correlation of their confidences
_LEAST_FALL = 3.0  # points of accuracy


class LabelWatch:
    """Watches labelings.

    Args:
        num_classes: K.
        unlabeled_classes: names of those without any label, of which nothing is expected.
        said: what was said before.
    """

    def __init__(self, num_classes: int, unlabeled_classes: Collection[str], said: Said) -> None:
        self._num_classes = num_classes
        self._unlabeled = frozenset(unlabeled_classes)
        self._said = said
        self._labelings: dict[tuple[str, str], list[Event]] = defaultdict(list)

    def see(self, event: Event) -> list[Alarm]:
        """Take a `label` event."""
        earlier = self._labelings[fold_of(event), event["teacher"]]
        found = [
            self._vanished(event, earlier),
            self._falling(event, earlier),
            self._missed(event, earlier),
            *((self._alike(event), self._unlike(event)) if event["round"] == 1 else ()),
        ]
        earlier.append(event)
        return [each for each in found if each is not None]

    def _vanished(self, event: Event, earlier: list[Event]) -> Alarm | None:
        """Classes that are never called, or of which twice in a row no label is kept.

        Once is no fault: a class may be among the less sure half of the pool while few are kept.
        All that vanish in one labeling are one statement.
        """
        if event["selected"] < few(event["unit"]) * self._num_classes:
            return None  # too few to expect some of each class
        last = {each["name"]: each for each in earlier[-1]["classes"]} if earlier else {}
        gone = [
            each["name"]
            for each in event["classes"]
            if not each["selected"]
            and (not each["predicted"] or (last and not last[each["name"]]["selected"]))
            and each["name"] not in self._unlabeled
            and self._said.is_news("vanished-class", event["teacher"], each["name"])
        ]
        if not gone:
            return None
        is_called_nowhere = not any(
            each["predicted"] for each in event["classes"] if each["name"] in gone
        )
        had = last[gone[0]]["selected"] if last and len(gone) == 1 else 0
        since = f"; there {'was' if had == 1 else 'were'} {had:,} the round before" if had else ""
        return Alarm(
            kind="vanished-class",
            stage=event["stage"],
            message=f"{sentence(names(gone))} {'is' if len(gone) == 1 else 'are'} in none of the "
            f"{event['selected']:,} pseudo labels that peer {event['teacher']} gives in "
            f"{place_of(event)}{since}.",
            remedy=(
                ""
                if is_called_nowhere
                else "Keep the same share of every class (selection.kind=class-balanced). "
            )
            + "Label more images that show it, or train longer before labeling (initial.share=).",
            about=gone,
        )

    def _falling(self, event: Event, earlier: list[Event]) -> Alarm | None:
        """Labels of the whole pool that are worse than an earlier round's, where truth is known."""
        now = event["pool_accuracy"]
        before = [line["pool_accuracy"] for line in earlier if line["pool_accuracy"] is not None]
        if now is None or not before:
            return None
        best = max(before)
        fall, least = 100 * (best - now), _LEAST_FALL
        if event["unit"] == "images":
            least = max(least, noise(best, now, sum(each["known"] for each in event["classes"])))
        if fall <= least or not self._said.is_news("falling", event["teacher"], badness=fall):
            return None
        return Alarm(
            kind="falling-accuracy",
            stage=event["stage"],
            message=f"{percent(now)} of the labels that peer {event['teacher']} gives the pool in "
            f"{place_of(event)} are true; {percent(best)} were in an earlier round.",
            remedy="Lower student.lr, put more labeled images in a batch "
            "(student.labeled_share=), keep fewer pseudo labels (selection.fractions=), or do "
            "fewer rounds (rounds=).",
        )

    def _missed(self, event: Event, earlier: list[Event]) -> Alarm | None:
        """Classes that are called somewhere, but never where they are, before and after a round.

        What is not called at all has vanished, which is said already.
        """
        if not earlier:
            return None
        before = {each["name"] for each in earlier[-1]["classes"] if each["recall"] == 0}
        gone = [
            each["name"]
            for each in event["classes"]
            if each["recall"] == 0
            and each["name"] in before
            and each["known"] >= few(event["unit"])
            and each["name"] not in self._unlabeled
            and ("vanished-class", event["teacher"], each["name"]) not in self._said
            and self._said.is_news("missed-class", event["teacher"], each["name"])
        ]
        if not gone:
            return None
        return Alarm(
            kind="missed-class",
            stage=event["stage"],
            message=f"Peer {event['teacher']} recognises none of the pool's {event['unit']} of "
            f"{names(gone)}, neither before round {event['round'] - 1} nor after it.",
            remedy="Label more images that show it, look whether its labels are right, or train "
            "longer (steps=).",
            about=gone,
        )

    def _alike(self, event: Event) -> Alarm | None:
        """Two peers that say the same of the pool before one has learned from the other."""
        share, correlation = event["peer_agreement"], event["peer_correlation"]
        if share is None or correlation is None:
            return None
        if share < _SAME_LABELS or correlation < _SAME_SURENESS:
            return None
        if not self._said.is_news("peers-alike"):
            return None
        return Alarm(
            kind="peers-alike",
            stage=event["stage"],
            message=f"Before they learn from each other the peers agree on {percent(share)} of "
            f"the pool and are equally sure of it (correlation {correlation:.3f}): two copies of "
            "one network have nothing to teach each other.",
            remedy="Let them begin differently (peers.b.weights=, peers.b.model=), learn from "
            "different labels (peers.labeled_subset=dms), or train longer before labeling "
            "(initial.share=).",
        )

    def _unlike(self, event: Event) -> Alarm | None:
        """Two peers that begin to learn from each other, at least one of which knows nothing."""
        share = event["peer_agreement"]
        if share is None or share >= least_agreement(self._num_classes):
            return None
        if not self._said.is_news("no-agreement", "peers"):
            return None
        return Alarm(
            kind="no-agreement",
            stage=event["stage"],
            message=f"Before they learn from each other the peers agree on {percent(share)} of the "
            "pool, as much as by chance: at least one of them has learned nothing.",
            remedy="Train longer before labeling (initial.share=, steps=), or check initial.lr.",
        )
