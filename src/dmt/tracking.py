"""Events of a run on their way to a tracker, beside the run and never in its way.

What an event becomes there is told here; TensorBoard, MLflow and W&B themselves are `trackers`'.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from dmt.config import Settings
from dmt.engine.listener import Listener
from dmt.engine.stage import Stage
from dmt.errors import DmtError
from dmt.plain_yaml import read_yaml
from dmt.records import CONFIG, Summary
from dmt.trackers import MLflow, TensorBoard, Wandb, require

_MOST_WAITING = 10_000  # events; a tracker that is further behind loses some
_LAST_SECONDS = 30.0  # that a run waits for its tracker at the end
_OF_STEP = ("loss", "agreement", "mean_weight", "gamma", "lr", "images_per_second")
_OF_LABEL = ("pseudo_label_accuracy", "pool_accuracy", "peer_agreement", "peer_correlation")


class Figure(NamedTuple):
    """One point of one curve."""

    name: str
    value: float
    step: int


class Tracker(Protocol):
    """Where figures go. Every call may raise whatever it likes, and may take its time."""

    def add(self, figures: Sequence[Figure]) -> None:
        """More points."""
        ...

    def note(self, text: str) -> None:
        """A sentence: an alarm, the outcome."""
        ...

    def close(self, status: str) -> None:
        """The run is `finished`, or `stopped` and may go on."""
        ...


@contextmanager
def tracked(
    listener: Listener, settings: Settings, path: Path, *, is_writer: bool, is_new: bool
) -> Iterator[Tracked]:
    """What listens within: it hands all on to `listener`, and to a tracker if there is one.

    Args:
        listener: told of everything, and of a tracker that failed.
        settings: of the run; `track.to` decides.
        path: the run's folder.
        is_writer: whether this is the rank that tracks.
        is_new: whether the run begins. Then a missing package is the person's to mend; a run that
            goes on does without.

    Raises:
        EnvironmentFault: the tracker's package is not installed, and the run begins.
    """
    to = settings.track.to
    if to != "none" and is_writer:
        try:
            require(to)
        except DmtError as error:
            if is_new:
                raise
            listener.on_note(f"the run goes on untracked: {error}")
            to = "none"
    kinds: dict[str, Callable[[Path, Mapping[str, Any]], Tracker]]
    kinds = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": Wandb}

    def begin() -> Tracker:
        # As they were resolved, which the folder knows by now.
        return kinds[to](path, read_yaml((path / CONFIG).read_text(encoding="utf-8")))

    each = Tracked(listener, to, begin if to != "none" and is_writer else None)
    try:
        yield each
    finally:
        each.close()


class Tracked:
    """A listener that puts events into a queue, from which a thread of its own feeds a tracker.

    So a server that is slow, or away, costs the run nothing but a note.
    """

    def __init__(self, listener: Listener, name: str, begin: Callable[[], Tracker] | None) -> None:
        self._listener = listener
        self._name = name
        self._begin = begin
        self._waiting: queue.Queue[list[Figure] | str | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._fault = ""
        self._is_told = False
        self._num_lost = 0
        self._status = "stopped"

    def on_note(self, text: str) -> None:
        """See `Listener`."""
        self._listener.on_note(text)

    def on_plan(self, stages: Sequence[Stage]) -> None:
        """See `Listener`: from here on the run's folder is its own, so a tracker may begin."""
        self._listener.on_plan(stages)
        if self._begin is not None and self._thread is None:
            work = partial(self._feed, self._begin)
            self._thread = threading.Thread(target=work, name="dmt-track", daemon=True)
            self._thread.start()

    def on_event(self, event: Mapping[str, Any]) -> None:
        """See `Listener`."""
        self._listener.on_event(event)
        if figures := figures_of(event):
            self._put(figures)
        if event.get("event") == "alarm":
            self._put(f"{event['kind']}: {event['message']}")
        self._tell_once()

    def on_step(self, stage: Stage, step: int, num_steps: int, done: float) -> None:
        """See `Listener`."""
        self._listener.on_step(stage, step, num_steps, done)

    def finish(self, summary: Summary) -> Summary:
        """The run came to its end; `summary` again."""
        self._status = "finished"
        self._put(last_figures(summary))
        self._put(summary.sentence)
        return summary

    def close(self) -> None:
        """Wait a little for what is still on its way, and say what did not arrive."""
        if self._thread is None:
            return
        with suppress(queue.Full):
            self._waiting.put(None, timeout=1.0)
            self._thread.join(_LAST_SECONDS)
        if self._thread.is_alive() and not self._fault:
            self._fault = f"it did not take everything within {_LAST_SECONDS:.0f} s"
        if self._num_lost and not self._fault:
            self._fault = f"it was too slow for {self._num_lost:,} of the events"
        self._tell_once()

    def _put(self, entry: list[Figure] | str) -> None:
        if self._thread is None or self._fault:
            return
        try:
            self._waiting.put_nowait(entry)
        except queue.Full:
            self._num_lost += 1

    def _feed(self, begin: Callable[[], Tracker]) -> None:
        try:
            tracker = begin()
            while (entries := self._taken())[-1] is not None:
                _hand_over(tracker, entries)
            _hand_over(tracker, entries[:-1])
            tracker.close(self._status)
        except Exception as error:  # a tracker's fault, of whatever kind, is not the run's
            told = " ".join(str(error).split())[:200]
            self._fault = f"{type(error).__name__}: {told}"

    def _taken(self) -> list[list[Figure] | str | None]:
        """What waits, at least one; None is the end and comes last."""
        entries = [self._waiting.get()]
        while entries[-1] is not None and not self._waiting.empty():
            entries.append(self._waiting.get())
        return entries

    def _tell_once(self) -> None:
        if self._fault and not self._is_told:
            self._is_told = True
            self._listener.on_note(
                f"track.to={self._name} failed, and the run goes on without it ({self._fault}); "
                "all figures are in metrics.jsonl"
            )


def figures_of(event: Mapping[str, Any]) -> list[Figure]:
    """The points of a line of `metrics.jsonl`; what is not known has none."""
    kind, stage = event.get("event"), str(event.get("stage", ""))
    fold = match[0] if (match := re.match(r"fold\d+/", stage)) else ""
    found: list[tuple[str, Any, int]] = []
    if kind == "step":
        found = [(f"{stage}/{name}", event.get(name), event["step"]) for name in _OF_STEP]
    elif kind == "label":
        names = {name: event.get(name) for name in _OF_LABEL}
        names["selected"] = event["selected"] / max(1, event["pool"])
        place = f"{fold}labels/{event['teacher']}"
        found = [(f"{place}/{name}", value, event["round"]) for name, value in names.items()]
    elif kind == "evaluate":
        inside = stage.removeprefix(fold)
        place = event["peer"] if inside.startswith("round") else inside
        name = f"{fold}{event['split']}/{place}/{event['metric']}"
        found = [(name, event.get("value"), event.get("round") or 0)]
    return [Figure(name, float(value), step) for name, value, step in found if value is not None]


def last_figures(summary: Summary) -> list[Figure]:
    """The last table, as single points."""
    values = {
        "supervised": summary.supervised,
        "supervised_ensemble": summary.supervised_ensemble,
        "ensemble": summary.ensemble,
        "oracle": summary.oracle,
        "gap_closed": summary.gap_closed,
        "seconds": summary.seconds,
        **summary.peers,
    }
    return [
        Figure(f"final/{name}", value, 0) for name, value in values.items() if value is not None
    ]


def _hand_over(tracker: Tracker, entries: Sequence[list[Figure] | str | None]) -> None:
    figures = [figure for each in entries if isinstance(each, list) for figure in each]
    if figures:
        tracker.add(figures)
    for each in entries:
        if isinstance(each, str):
            tracker.note(each)
