"""What a person sees while a run works: a live view in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from dmt.engine.stage import LabelStage, Stage, TrainStage
from dmt.escapes import visible

_SECONDS_BETWEEN_LINES = 10.0


def open_view(stream: TextIO | None = None, *, is_quiet: bool = False) -> PlainView:
    """The live view if `stream` (default: stderr) is a terminal, else plain lines."""
    stream = stream or sys.stderr
    console = _Console(file=stream, highlight=False, soft_wrap=not stream.isatty())
    if is_quiet:
        return PlainView(console, is_quiet=True)
    return LiveView(console) if console.is_terminal else PlainView(console)


class _Console(Console):
    """Who watched may leave, as `head` does; the run goes on unseen."""

    def on_broken_pipe(self) -> None:
        """Say nothing more, instead of ending the program."""
        self.quiet = True


class PlainView:
    """Lines: one when a stage begins and ends, and one every ten seconds between."""

    def __init__(self, console: Console, *, is_quiet: bool = False) -> None:
        self._console = console
        self._is_quiet = is_quiet
        self._first: tuple[float, float] | None = None  # when the first step ended, share done
        self._said = 0.0
        self._step: Mapping[str, Any] = {}

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def on_note(self, text: str) -> None:
        """See `Listener`."""
        self._say(text)

    def on_plan(self, stages: Sequence[Stage]) -> None:
        """See `Listener`."""
        self._first = None  # of another run, where several come one after the other
        trained = [stage for stage in stages if isinstance(stage, TrainStage)]
        num_images = sum(stage.num_images for stage in trained)
        models = ", ".join(dict.fromkeys(f"{s.model} ({s.weights})" for s in trained))
        self._say(
            f"{_count(len(trained), 'training')} and "
            f"{_count(len(stages) - len(trained), 'labeling')}, "
            f"{num_images:,} images in all; model {models.replace(' (none)', '')}"
        )

    def on_event(self, event: Mapping[str, Any]) -> None:
        """See `Listener`."""
        if event["event"] == "step":
            self._step = event
        elif event["event"] == "label":
            accuracy = event["pseudo_label_accuracy"]
            known = "" if accuracy is None else f", {100 * accuracy:.1f} % of them right"
            unit = event["unit"]
            self._say(
                f"round {event['round']}: {event['teacher']} labels {event['pool']:,} {unit}, "
                f"{event['selected']:,} kept{known}"
            )
        elif event["event"] == "alarm":
            self._warn(event)
        elif event["event"] == "evaluate":
            self._say(f"{event['stage']}: {event['metric']} {event['value']:.2f} % on val")
        elif event["event"] == "finished" and "label" not in event["stage"]:
            loss = f", loss {self._step['loss']:.3f}" if self._step else ""
            done = "was trained by another run" if event.get("shared") else "done"
            self._say(f"{event['stage']} {done} in {_duration(event['seconds'])}{loss}")
            self._step = {}

    def on_step(self, stage: Stage, step: int, num_steps: int, done: float) -> None:
        """See `Listener`."""
        now = time.perf_counter()
        self._note_begin(done)
        if now - self._said > _SECONDS_BETWEEN_LINES and self._step:
            self._said = now
            self._say(f"{_where(stage, step, num_steps)}{_figures(self._step)}{self._left(done)}")

    def _note_begin(self, done: float) -> None:
        """Reading the data and the first step, which warms up, say nothing of the pace."""
        if self._first is None:
            self._first = time.perf_counter(), done

    def _left(self, done: float) -> str:
        """Time left, from the share of images done in this session."""
        if self._first is None or done <= self._first[1]:
            return ""
        began, share = self._first
        left = (time.perf_counter() - began) / (done - share) * (1 - done)
        return f", {_duration(left)} left"

    def _warn(self, alarm: Mapping[str, Any]) -> None:
        """An alarm and what to do about it, each on a line of its own."""
        self._say(f"ALARM {alarm['message']}")
        self._say(f"      {alarm['remedy']}")

    def _say(self, text: str, style: str | None = None) -> None:
        if not self._is_quiet:
            self._console.print(_plain(text), style=style)


class LiveView(PlainView):
    """A bar for the run and a line for the stage, redrawn in place; notes scroll above."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[left]}"),
            console=console,
            expand=True,
        )
        self._task = self._bar.add_task("whole run", total=1.0, left="")
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._drawn = 0.0
        self._num_alarms = 0

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def _warn(self, alarm: Mapping[str, Any]) -> None:
        self._num_alarms += 1
        self._say(f"ALARM {alarm['message']}", style="bold yellow")
        self._console.print(Padding(_plain(alarm["remedy"]), (0, 0, 0, 6)))

    def on_step(self, stage: Stage, step: int, num_steps: int, done: float) -> None:
        """See `Listener`."""
        now = time.perf_counter()
        self._note_begin(done)
        if now - self._drawn < 0.25:
            return
        self._drawn = now
        self._bar.update(self._task, completed=done, left=self._left(done).removeprefix(", "))
        self._draw(_where(stage, step, num_steps))

    def on_event(self, event: Mapping[str, Any]) -> None:
        """See `Listener`."""
        super().on_event(event)
        if event["event"] == "started":  # until its first step the line would name the one before
            self._draw(str(event["stage"]))

    def _draw(self, where: str) -> None:
        table = Table.grid(expand=True)
        table.add_row(_plain(where))
        # A row of their own: beside the place they would wrap at 80 columns, and the view jump.
        table.add_row(_plain(_figures(self._step).removeprefix(", ")))
        if self._num_alarms:
            table.add_row(f"{_count(self._num_alarms, 'alarm')}, see above", style="bold yellow")
        table.add_row(self._bar)
        self._live.update(table)


def _plain(text: str) -> Text:
    """Text in which no name is taken for markup, a smiley or a terminal's code."""
    return Text(visible(text))


def _where(stage: Stage, step: int, num_steps: int) -> str:
    fold = "" if stage.fold is None else f"fold {stage.fold}, "
    if stage.role != "round":
        return f"{fold}{stage.role}, step {step}/{num_steps}"
    who = f"student {stage.student}" if isinstance(stage, LabelStage) else f"student {stage.peer}"
    if isinstance(stage, TrainStage) and stage.online is not None:
        who = " and ".join(f"peer {name.rsplit('/', 1)[-1]}" for name in stage.together)
        return f"{fold}online, {who}, step {step}/{num_steps}"
    return f"{fold}round {stage.round}, {who}, step {step}/{num_steps}"


def _figures(event: Mapping[str, Any]) -> str:
    if not event:
        return ""
    text = f", {event['images_per_second']:,.0f} images/s, loss {event['loss']:.3f}"
    if event["agreement"] is not None:
        text += f", agreement {event['agreement']:.2f}, mean weight {event['mean_weight']:.2f}"
    return text


def _count(num: int, noun: str) -> str:
    return f"{num} {noun}{'' if num == 1 else 's'}"


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
