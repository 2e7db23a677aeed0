"""Who watches a run (a live view, a log, a tracker, nobody), and how an alarm reaches them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from dmt.engine.folder import RunFolder
from dmt.engine.stage import Stage
from dmt.records import Alarm

Say = Callable[[str], None]  # told a sentence for the user


class Listener(Protocol):
    """Who watches a run: a live view, a log, nobody."""

    def on_note(self, text: str) -> None:
        """Something the user should know, in a sentence."""
        ...

    def on_plan(self, stages: Sequence[Stage]) -> None:
        """What will be done, before any of it."""
        ...

    def on_event(self, event: Mapping[str, Any]) -> None:
        """A line was added to `metrics.jsonl`."""
        ...

    def on_step(self, stage: Stage, step: int, num_steps: int, done: float) -> None:
        """A step was taken; `done` is the share of the whole run's images, 0 to 1."""
        ...


class Quiet:
    """A listener that shows nothing."""

    def on_note(self, text: str) -> None:
        """See `Listener`."""

    def on_event(self, event: Mapping[str, Any]) -> None:
        """See `Listener`."""

    def on_plan(self, stages: Sequence[Stage]) -> None:
        """See `Listener`."""

    def on_step(self, stage: Stage, step: int, num_steps: int, done: float) -> None:
        """See `Listener`."""


def tell(folder: RunFolder, listener: Listener, alarm: Alarm) -> None:
    """Put an alarm on record, and tell who watches."""
    listener.on_event(folder.record("alarm", **alarm.model_dump()))
