"""What all watches of a run share: what was said before, and how an alarm names things.

What is wrong when: `watch_training`, `watch_labels`, `watch_scores`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dmt.data.decode import shown

Event = Mapping[str, Any]

_WORSE_BY = 10.0  # points by which a statement must get worse to be made again
_SPREADS = 3.0  # of what two measurements on the same images differ by chance
_FEW = {"images": 5, "pixels": 100}  # fewer of a class may all be missed by chance


class Said:
    """The statements that were made, so that none comes every round."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, ...], float] = {}

    def is_news(self, *statement: str, badness: float = 0.0) -> bool:
        """Whether it was not made before, or is ten points truer now; if so, it is made."""
        before = self._said.get(statement)
        if before is not None and badness < before + _WORSE_BY:
            return False
        self._said[statement] = badness
        return True

    def __contains__(self, statement: tuple[str, ...]) -> bool:
        return statement in self._said


def noise(first: float, second: float, num: int) -> float:
    """Points by which two shares of the same `num` images differ by chance, hardly ever more.

    Three standard errors. As the images are the same, half the variance of two samples is left.
    """
    share = (first + second) / 2
    return 100 * _SPREADS * math.sqrt(share * (1 - share) / max(1, num))


def few(unit: str) -> int:
    """How many images or pixels of a class are too few to say anything of it."""
    return _FEW[unit]


def fold_of(event: Event) -> str:
    """The fold of an event's stage, empty if none."""
    first = str(event["stage"]).split("/")[0]
    return first.removeprefix("fold") if first.startswith("fold") else ""


def role_of(event: Event) -> str:
    """What an event's stage is for: `round`, `baseline` or `oracle`."""
    places = [each for each in str(event["stage"]).split("/") if not each.startswith("fold")]
    return "round" if places[0].startswith("round") else places[0]


def place_of(event: Event) -> str:
    """Where in the run an event is, in words."""
    role, fold = role_of(event), fold_of(event)
    number = f" {event['round']}" if role == "round" else ""
    return f"{role}{number}{f' of fold {fold}' if fold else ''}"


def names(classes: Sequence[str]) -> str:
    """Classes, a few of them by name."""
    listed = ", ".join(repr(shown(name)) for name in classes[:3])
    more = f" and {len(classes) - 3} more" if len(classes) > 3 else ""
    return f"class{'es' if len(classes) > 1 else ''} {listed}{more}"


def sentence(text: str) -> str:
    """`text` with a capital letter."""
    return text[:1].upper() + text[1:]


def percent(share: float) -> str:
    """A share of 0 to 1 as text."""
    return f"{100 * share:.1f} %"
