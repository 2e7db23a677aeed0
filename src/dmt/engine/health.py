"""The alarms of a run, from its events alone: no clock, no network, no file.

So the same events give the same alarms, and a resumed run says what an uninterrupted one says.
Alarms about data come before training: `data.duplicates`, `data.appearance`. What each means and
where its limits come from: `docs/alarms.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from dmt.engine.alarms import Event, Said
from dmt.engine.watch_labels import LabelWatch
from dmt.engine.watch_scores import ScoreWatch
from dmt.engine.watch_training import TrainingWatch
from dmt.records import Alarm


class Health:
    """Watches the events of one run.

    Args:
        classes: names, in order; two or more.
        unlabeled_classes: those without any label, of which nothing is expected.
    """

    def __init__(self, classes: Sequence[str], unlabeled_classes: Collection[str] = ()) -> None:
        said = Said()
        self._training = TrainingWatch(classes, said)
        self._labels = LabelWatch(len(classes), unlabeled_classes, said)
        self._scores = ScoreWatch(classes, unlabeled_classes, said)

    def see(self, event: Event) -> list[Alarm]:
        """Take the next event, and say what is wrong that was not said before."""
        if event["event"] == "step":
            return self._training.see(event)
        if event["event"] == "label":
            return self._labels.see(event)
        return self._scores.see(event) if event["event"] == "evaluate" else []

    def catch_up(self, events: Iterable[Event]) -> None:
        """Take the events of an earlier session; what they give was said then."""
        for event in events:
            self.see(event)
