"""What a person sees while a run works. What it looks like in a terminal no test can judge."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from dmt.commands import live
from dmt.commands.live import LiveView, PlainView, open_view
from dmt.engine.fit import FitSpec
from dmt.engine.stage import LabelStage, Online, TrainStage

FIT = FitSpec(num_steps=100, batch_size=10, num_labeled=5, lr=0.1)
ROUND = TrainStage(
    name="round1/a", role="round", round=1, peer="a", fold=None, needs=("round0/a",), fit=FIT,
    model="wrn_10_1", weights="none", pseudo="round1/label/b",
)  # fmt: skip
BASELINE = TrainStage(
    name="fold2/baseline/a", role="baseline", round=0, peer="a", fold=2, needs=(), fit=FIT,
    model="resnet18", weights="pretrained",
)  # fmt: skip
LABEL = LabelStage(
    name="round1/label/b", role="round", round=1, peer="b", fold=None, needs=("round0/b",),
    student="a", fraction=0.5,
)  # fmt: skip
STEP = {
    "event": "step", "stage": "round1/a", "loss": 0.1234, "images_per_second": 1234.5,
    "agreement": 0.875, "mean_weight": 0.5,
}  # fmt: skip


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the view sees; a test moves them on."""
    now = [0.0]
    monkeypatch.setattr(live.time, "perf_counter", lambda: now[0])
    return now


def plain() -> tuple[PlainView, io.StringIO]:
    stream = io.StringIO()
    view = open_view(stream)
    assert type(view) is PlainView, "no terminal, so plain lines"
    return view, stream


def event(**fields: Any) -> Mapping[str, Any]:
    return fields


def test_plan_is_told_before_anything_happens() -> None:
    view, stream = plain()
    view.on_plan([ROUND, LABEL, BASELINE])
    assert stream.getvalue() == (
        "2 trainings and 1 labeling, 2,000 images in all; model wrn_10_1, resnet18 (pretrained)\n"
    )


def test_labeling_and_ends_are_told() -> None:
    view, stream = plain()
    label = {"event": "label", "unit": "images", "stage": "round1/label/b", "round": 1,
             "teacher": "b", "pool": 1400, "selected": 700}  # fmt: skip
    view.on_event(label | {"pseudo_label_accuracy": 0.975})
    view.on_event(label | {"pseudo_label_accuracy": None})
    view.on_event(event(event="evaluate", stage="round1/a", metric="error", value=12.345))
    view.on_event(STEP)
    view.on_event(event(event="finished", stage="round1/a", seconds=75.0))
    view.on_event(event(event="finished", stage="round1/label/b", seconds=1.0))
    assert stream.getvalue().splitlines() == [
        "round 1: b labels 1,400 images, 700 kept, 97.5 % of them right",
        "round 1: b labels 1,400 images, 700 kept",
        "round1/a: error 12.35 % on val",
        "round1/a done in 1 min 15 s, loss 0.123",
    ]


ALARM = {
    "event": "alarm", "kind": "vanished-class", "stage": "round1/label/b", "about": ["[red]owl"],
    "message": "Class '[red]owl' is in none of the 1,344 pseudo labels.",
    "remedy": "Label more images that show it.",
}  # fmt: skip


def test_an_alarm_is_two_lines_with_the_remedy() -> None:
    view, stream = plain()
    view.on_event(ALARM)
    assert stream.getvalue() == (
        "ALARM Class '[red]owl' is in none of the 1,344 pseudo labels.\n"
        "      Label more images that show it.\n"
    )


def test_a_line_every_ten_seconds_with_the_time_left(clock: list[float]) -> None:
    view, stream = plain()
    view.on_event(STEP)
    clock[0] = 100.0  # a slow start: it says nothing of the pace
    view.on_step(ROUND, 1, 100, 0.0)
    for step in range(2, 52):
        clock[0] += 1.0
        view.on_step(ROUND, step, 100, (step - 1) / 100)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5
    assert lines[-1] == (
        "round 1, student a, step 45/100, 1,234 images/s, loss 0.123, agreement 0.88, "
        "mean weight 0.50, 56 s left"
    )


def test_time_left_of_a_resumed_run_counts_this_session_alone(clock: list[float]) -> None:
    view, stream = plain()
    view.on_event(STEP)
    view.on_step(ROUND, 80, 100, 0.8)
    clock[0] = 20.0
    view.on_step(ROUND, 90, 100, 0.9)
    assert stream.getvalue().rstrip().endswith("20 s left")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (12.3, "12 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"),
     (3600, "1 h 00 min"), (7385, "2 h 03 min")],
)  # fmt: skip
def test_duration(seconds: float, text: str) -> None:
    assert live._duration(seconds) == text


def test_where_names_fold_role_and_student() -> None:
    assert live._where(BASELINE, 3, 100) == "fold 2, baseline, step 3/100"
    assert live._where(ROUND, 3, 100) == "round 1, student a, step 3/100"
    both = replace(ROUND, online=Online("rule", "peer"), together=("round0/a", "round0/b"))
    assert live._where(both, 3, 100) == "online, peer a and peer b, step 3/100"


def test_quiet_is_quiet() -> None:
    stream = io.StringIO()
    with open_view(stream, is_quiet=True) as view:
        view.on_plan([ROUND])
        view.on_note("a note")
        view.on_event(STEP)
        view.on_step(ROUND, 1, 100, 0.1)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("note", ["left out [red]x[/red].png", "[/nonsense]", "a" * 500])
def test_notes_are_text_and_lines_are_not_broken(note: str) -> None:
    view, stream = plain()
    view.on_note(note)
    assert stream.getvalue() == note + "\n"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("no_color", [False, True])
def test_terminal_view_fits_its_width(
    width: int, no_color: bool, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    stream = _Terminal()
    view = open_view(stream)
    assert isinstance(view, LiveView)
    with view:
        view.on_note("a note [bold]as it is[/bold]")
        view.on_event(ALARM)
        view.on_event(STEP)
        view.on_step(ROUND, 1, 100, 0.01)
        clock[0] = 10.0
        view.on_step(ROUND, 50, 100, 0.5)
        view._live.refresh()
    text = stream.getvalue()
    colours = re.findall(r"\x1b\[[0-9;]*m", text)
    assert not [code for code in colours if re.search(r"\b[349]\d\b", code)] or not no_color
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "a note [bold]as it is[/bold]" in shown
    assert "ALARM Class '[red]owl' is" in re.sub(r"\s+", " ", shown)
    assert "1 alarm, see above" in shown, "it stays in view when its lines have scrolled away"
    assert "whole run" in shown
    assert "50 %" in shown
    assert all(len(line) <= width for line in re.split(r"[\r\n]+", shown))


def test_the_line_below_names_the_stage_that_began(clock: list[float]) -> None:
    stream = _Terminal()
    with open_view(stream) as view:
        clock[0] = 1.0
        view.on_step(ROUND, 100, 100, 0.5)
        before = len(stream.getvalue())
        view.on_event(event(event="started", stage="round2/label/a"))
        view._live.refresh()
    assert "round2/label/a" in stream.getvalue()[before:]
    assert "step 100/100" not in stream.getvalue()[before:]


def test_console_of_a_pipe_has_no_codes() -> None:
    stream = io.StringIO()
    view = PlainView(Console(file=stream, highlight=False))
    view.on_note("12 % of 'x'")
    assert "\x1b" not in stream.getvalue()
