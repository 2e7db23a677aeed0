"""What is wrong with a training, told from its `step` events: a loss that grows, no agreement."""

from __future__ import annotations

import math

from dmt.engine.alarms import Event, Said, percent, place_of, role_of
from dmt.records import Alarm

_EXPLODED = 1.3  # times what guessing costs
_EXPLODED_ONLINE = 4.0  # where a second term adds to it, with a weight of its own
_FIRST_STEPS = 20  # of a stage, and its first tenth: how they begin says little


class TrainingWatch:
    """Watches losses and agreement.

    Args:
        num_classes: K.
        said: what was said before.
    """

    def __init__(self, num_classes: int, said: Said) -> None:
        self._guessing = math.log(num_classes)  # the loss of a network that knows nothing
        self._least_agreement = least_agreement(num_classes)
        self._said = said
        self._lines: dict[str, list[Event]] = {}  # of the stages under way

    def see(self, event: Event) -> list[Alarm]:
        """Take a `step` event."""
        lines = self._lines.setdefault(event["stage"], [])
        lines.append(event)
        found = [self._diverging(event, lines)]
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
    """Whether a `step` is of a stage that labels for itself: rounds begin with given labels."""
    return event["round"] == 0 and event["agreement"] is not None


def least_agreement(num_classes: int) -> float:
    """A little over what two have in common that guess."""
    return max(0.2, 1.2 / num_classes)
