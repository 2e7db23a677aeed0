"""What is wrong with a training, told from its `step` events: loss, agreement, own labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dmt.engine.alarms import Event, Said, fold_of, names, percent, place_of, role_of, sentence
from dmt.records import Alarm

_EXPLODED = 1.3  # times what guessing costs
_EXPLODED_ONLINE = 4.0  # where a second term adds to it, with a weight of its own
_FIRST_STEPS = 20  # of a stage, and its first tenth: how they begin says little
_WINDOW = 0.25  # of a stage: over so much of it a class is hardly ever called
_FEWEST = 100  # labels of a class that the given ones lead to expect there, or nothing is said
_HARDLY = 0.01  # of those


class TrainingWatch:
    """Watches losses, agreement, and labels that are given while training.

    Args:
        classes: names, in order.
        said: what was said before.
    """

    def __init__(self, classes: Sequence[str], said: Said) -> None:
        self._classes = tuple(classes)
        self._guessing = math.log(len(classes))  # the loss of a network that knows nothing
        self._least_agreement = least_agreement(len(classes))
        self._said = said
        self._lines: dict[str, list[Event]] = {}  # of the stages under way

    def see(self, event: Event) -> list[Alarm]:
        """Take a `step` event."""
        lines = self._lines.setdefault(event["stage"], [])
        lines.append(event)
        found = [self._diverging(event, lines), self._vanished(event, lines)]
        if event["step"] == event["num_steps"]:
            found.append(self._disagreeing(event, lines))
            del self._lines[event["stage"]]
        return [each for each in found if each is not None]

    def _diverging(self, event: Event, lines: list[Event]) -> Alarm | None:
        """A loss that is above that of guessing when the beginning of a stage is over."""
        late = [
            each["loss"]
            for each in lines
            if each["step"] > max(_FIRST_STEPS, each["num_steps"] / 10)
        ]
        recent = sum(late[-3:]) / 3
        labels_itself = is_online(event)
        limit = _EXPLODED_ONLINE if labels_itself else _EXPLODED
        is_wrong = len(late) >= 3 and recent > limit * self._guessing
        if not is_wrong or not self._said.is_news("diverging", role_of(event), event["peer"]):
            return None
        group = "student" if event["round"] or labels_itself else "initial"
        return Alarm(
            kind="diverging",
            stage=event["stage"],
            message=f"The loss of peer {event['peer']} in {place_of(event)} is {recent:.3g} at "
            f"step {event['step']}, where guessing costs {self._guessing:.2f}: training diverges.",
            remedy=f"Lower {group}.lr (it is {event['lr']:.3g} at this step), or let it rise "
            f"slowly ({group}.warmup=).",
        )

    def _vanished(self, event: Event, lines: list[Event]) -> Alarm | None:
        """Classes of the given labels that for long are in next to none of those made here, counted
        whether they are learned or not.

        Looked at from the middle of a stage on: early a network may know a few classes first.
        """
        step, num_steps = event["step"], event["num_steps"]
        if event.get("predicted") is None or 2 * step < num_steps:
            return None
        late = [
            each
            for each in lines
            if each["step"] > step - _WINDOW * num_steps and each.get("predicted") is not None
        ]
        given, predicted = (
            np.sum([each[name] for each in late], axis=0) for name in ("given", "predicted")
        )
        expected = given * (predicted.sum() / max(1, given.sum()))
        is_gone = (expected >= _FEWEST) & (predicted <= _HARDLY * expected)
        gone = [self._classes[number] for number in np.flatnonzero(is_gone)]
        share = float(given[is_gone].sum() / max(1, given.sum()))
        # Peers learn from each other in the same steps: what is said of one is said of both.
        if not gone or not self._said.is_news(
            "vanished-class", fold_of(event), badness=100 * share
        ):
            return None
        return Alarm(
            kind="vanished-class",
            stage=event["stage"],
            message=f"{sentence(names(gone))} {'is' if len(gone) == 1 else 'are'} in next to none "
            f"of the labels that are made for peer {event['peer']} at step {step} of {num_steps}, "
            f"though {percent(share)} of the given ones are: the training may have settled on "
            "its own errors.",
            remedy="Let its own labels count less (online.unlabeled_weight= or online.threshold=, "
            "whichever the method has), put more labeled images in a batch "
            "(student.labeled_share=), or train longer (steps=).",
            about=gone,
        )

    def _disagreeing(self, event: Event, lines: list[Event]) -> Alarm | None:
        """A student that to the end of a stage calls nearly everything otherwise."""
        late = [each["agreement"] for each in lines if 2 * each["step"] >= each["num_steps"]]
        known = [value for value in late if value is not None]
        agreement = sum(known) / max(1, len(known))
        if not known or agreement >= self._least_agreement:
            return None
        if not self._said.is_news("no-agreement", event["peer"]):
            return None
        return Alarm(
            kind="no-agreement",
            stage=event["stage"],
            message=f"At the end of {place_of(event)} peer {event['peer']} agrees with "
            f"{percent(agreement)} of its pseudo labels, as many as by chance: it does not learn "
            "from them.",
            remedy=f"Check student.lr (it was {lines[0]['lr']:.3g}), train longer (steps=), or "
            + (
                "put more labeled images in a batch (student.labeled_share=)."
                if is_online(event)
                else "train the teacher longer before it labels (initial.share=)."
            ),
        )


def is_online(event: Event) -> bool:
    """Whether a `step` is of a stage that labels for itself."""
    return event.get("predicted") is not None


def least_agreement(num_classes: int) -> float:
    """A little over what two have in common that guess."""
    return max(0.2, 1.2 / num_classes)
