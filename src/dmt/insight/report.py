"""`report.html`: one self-contained page made from a run's folder. Computes no figure, no torch."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Template

from dmt.escapes import visible
from dmt.insight import numbers
from dmt.insight.charts import Axes, Series, dot_chart, interval_chart
from dmt.insight.classes import pixel_accuracies, recall_table, score_table
from dmt.insight.detection import detection_section
from dmt.insight.examples import example_section, reliability_figure
from dmt.insight.figures import (
    METRIC_NAMES,
    Figure,
    curve_figures,
    learner_name,
    round_figure,
    style_of,
)
from dmt.insight.html import environment, script, style
from dmt.insight.listing import list_data, list_machine, list_settings
from dmt.insight.quality import (
    MAX_TABLE_CLASSES,
    Matrices,
    confusion_tables,
    label_figures,
    mistakes,
)
from dmt.insight.read import RunView, read_run, stage_of
from dmt.insight.selection import class_tables, cut_figure
from dmt.records import REPORT, Summary, write_text


@dataclass(frozen=True)
class Verdict:
    """What stands on top: `kind` is helped, hurt, unclear, none or unfinished."""

    kind: str
    word: str
    sentence: str
    detail: str = ""
    chart: str = ""


@dataclass(frozen=True)
class Fact:
    """One key number with its label and what it means."""

    label: str
    value: str
    note: str = ""


WORDS = {
    "helped": "Helped",
    "hurt": "Hurt",
    "unclear": "Unclear",
    "none": "Not measured",
    "unfinished": "Not finished",
}


def write_report(run: Path) -> Path:
    """Write `report.html` into a run's folder, from the records in it.

    Args:
        run: the folder of a run; without `summary.json` the page says so and shows what there is.

    Returns:
        The path of the page.

    Raises:
        RunError: `run` is no run, one of its files cannot be read, or the page cannot be written.
    """
    page = render(read_run(run))
    write_text(run / REPORT, page)
    return run / REPORT


@cache
def _template() -> Template:
    """Compiled once: in a comparison every run has a report."""
    return environment().get_template("report.html.j2")


def render(view: RunView) -> str:
    """The page as HTML."""
    summary = view.summary
    decimals = 2 if summary is not None and summary.num_held_out >= 2000 else 1
    classes = summary.classes if summary else [str(name) for name in view.data.get("classes", [])]
    matrices = _matrices(summary) if summary else []
    unit = "pixels" if summary is not None and summary.task == "segmentation" else "images"
    class_scores, class_notes = score_table(summary, decimals) if summary else ("", [])
    cut = cut_figure(view)
    code = script("report.js")
    page = _template().render(
        style=style("report.css"),
        script=code.text,
        script_hash=code.hash,
        name=view.folder.resolve().name,
        summary=summary,
        about=_about(view),
        verdict=_verdict(view, decimals),
        facts=_facts(view, decimals),
        scores=_scores(summary, decimals) if summary else None,
        class_scores=class_scores,
        class_notes=class_notes,
        recalls=recall_table(summary, decimals) if summary else "",
        num_unlisted=max(0, len(classes) - MAX_TABLE_CLASSES),
        by_round=round_figure(view, decimals),
        by_round_note=_by_round_note(view),
        curves=curve_figures(view),
        fold=view.fold,
        labels=[*label_figures(view), *([cut] if cut else [])],
        by_class=class_tables(view),
        detection=detection_section(view),
        unit=view.unit,
        confusion=confusion_tables(matrices, classes, unit),
        num_classes=len(classes),
        reliability=reliability_figure(view),
        examples=example_section(view),
        mistakes=mistakes(matrices, classes, unit),
        alarms=view.alarms,
        notes=summary.notes if summary else [],
        settings=list_settings(view.settings),
        data=list_data(view.data, classes),
        machine=list_machine(summary) if summary else [],
        command=summary.command if summary else f"dmt resume {shlex.quote(str(view.folder))}",
    )
    # HTML's own characters are escaped by now; what turns the direction of reading is not.
    return visible(page, keep="\n\t")


def _about(view: RunView) -> list[str]:
    summary = view.summary
    if summary is not None:
        return [summary.dataset, summary.task, f"{summary.method}{_kind(summary)}"]
    known = (view.data.get("name"), view.settings.get("method"), view.settings.get("schedule"))
    return [str(item) for item in known if item]


def _kind(summary: Summary) -> str:
    """Behind a method's name: a pair of models or a chain of them; nothing of a single one."""
    if summary.headline == "ensemble":
        return " (pair)"
    is_chain = summary.schedule == "chain" and summary.method != "supervised"
    return " (chain)" if is_chain else ""


def _verdict(view: RunView, decimals: int) -> Verdict:
    summary = view.summary
    if summary is None:
        return Verdict("unfinished", WORDS["unfinished"], _progress(view), _last_sign(view))
    word = WORDS[summary.verdict]
    if summary.interval is None:
        return Verdict(summary.verdict, word, summary.sentence)
    found = summary.interval
    value, low, high = (
        numbers.fixed(x, decimals, signed=True) for x in (found.value, found.low, found.high)
    )
    detail = (
        f"{value} points, 95 % interval {low} to {high}, {numbers.count(found.num_images)} images"
    )
    if found.num_blocks is not None and found.num_blocks < found.num_images:
        blocks = "block" if found.num_blocks == 1 else "blocks"
        detail += f" in {numbers.count(found.num_blocks)} {blocks}, each counting as one"
    if found.p_value is not None:
        detail += f", McNemar p {numbers.p_value(found.p_value)}"
    axes = Axes(
        slug="interval",
        title="Difference to the supervised baseline and its 95 % interval",
        description=f"{detail}. {'Below' if summary.metric == 'error' else 'Above'} 0 is better.",
        x_format=lambda x: numbers.fixed(x, 0 if x == round(x) else 1, signed=True),
    )
    style = {"helped": "good", "hurt": "bad"}.get(summary.verdict, "unsure")
    chart = interval_chart(
        axes,
        found.value,
        found.low,
        found.high,
        lower_is_better=summary.metric == "error",
        style=style,
    )
    return Verdict(summary.verdict, word, summary.sentence, detail, chart)


def _progress(view: RunView) -> str:
    """How far an unfinished run has come, in a sentence."""
    last = view.last
    stage = stage_of(last) if last else None
    if last is None or stage is None:
        return "This run has not finished: no training step is on record yet."
    if stage.kind == "round":
        place = f"round {stage.round}, {learner_name(stage.peer)}"
    else:
        place = f"the {stage.kind}, {learner_name(stage.peer)}"
    if stage.fold:
        place = f"fold {stage.fold}, {place}"
    if last["event"] == "step":
        step, total = numbers.count(last["step"]), numbers.count(last.get("num_steps"))
        place += f", step {step} of {total}"
    return f"This run has not finished. It has come to {place}; below is what there is so far."


def _last_sign(view: RunView) -> str:
    seconds = view.last.get("time") if view.last else None
    if not isinstance(seconds, int | float):
        return ""
    return f"Last sign of life {datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _facts(view: RunView, decimals: int) -> list[Fact]:
    known = [r for r in view.rounds if r.pseudo_label_accuracy is not None]
    kept = "the pixels" if view.unit == "pixels" else "those"
    truth = (
        [Fact("Pseudo labels true", numbers.percent(known[-1].pseudo_label_accuracy),
              f"of {kept} kept in round {known[-1].round}")]
        if known else []
    )  # fmt: skip
    summary = view.summary
    if summary is None:
        done = max((r.round for r in view.rounds), default=None)
        return [
            Fact("Last round on record", numbers.NONE if done is None else str(done)),
            *truth,
            Fact("Time so far", numbers.duration(view.elapsed)),
        ]
    value = {
        **summary.peers,
        "ensemble": summary.ensemble,
        "supervised": summary.supervised,
    }.get(summary.headline)
    who = {"ensemble": "both peers together", "supervised": "the supervised model"}
    seen = summary.images_seen
    closed = summary.gap_closed
    alone = f"the same labels alone; {numbers.short(seen.baseline)} images seen"
    if summary.supervised_ensemble is not None:
        alone += f"; {numbers.fixed(summary.supervised_ensemble, decimals, '%')} as a pair"
    measured = [
        Fact(METRIC_NAMES[summary.metric], numbers.fixed(value, decimals, "%"),
             f"{who.get(summary.headline, f'peer {summary.headline}')}, used by predict"),
        Fact("Supervised", numbers.fixed(summary.supervised, decimals, "%"), alone),
        *_pixel_accuracy(summary, decimals),
        Fact("Gap closed", numbers.percent(closed, 0),
             "of the way to training with all labels" if closed is not None
             else "not measured: it takes oracle=true and a gap beyond noise"),
    ]  # fmt: skip
    return [
        *(measured if value is not None or summary.supervised is not None else []),
        *truth,
        Fact("Labeled / unlabeled",
             f"{numbers.count(summary.labeled)} / {numbers.count(summary.unlabeled)}", "images"),
        Fact("Held out", numbers.count(summary.num_held_out), summary.held_out),
        Fact("Images seen", numbers.short(seen.trained),
             f"trained on, all peers; {numbers.short(seen.forward_only)} more only looked at"),
        Fact("Time", numbers.duration(summary.seconds),
             f"{_pace(summary.images_per_second)} images/s"),
    ]  # fmt: skip


def _pace(per_second: float) -> str:
    return numbers.count(per_second) if per_second >= 100 else numbers.short(per_second)


def _pixel_accuracy(summary: Summary, decimals: int) -> list[Fact]:
    if not summary.scores:
        return []
    ours, alone = (numbers.fixed(value, decimals, "%") for value in pixel_accuracies(summary))
    return [Fact("Pixel accuracy", ours, f"supervised {alone}; frequent classes weigh most")]


def _scores(summary: Summary, decimals: int) -> Figure | None:
    """Every model of the final table on one axis."""
    named = [
        ("supervised", "ref", summary.supervised),
        ("supervised pair", "ref", summary.supervised_ensemble),
        *((learner_name(p), style_of(p), value) for p, value in summary.peers.items()),
        ("ensemble", "c", summary.ensemble),
        ("oracle", "good", summary.oracle),
    ]
    rows = [Series(name, style, values=[v]) for name, style, v in named if v is not None]
    if not rows:
        return None

    def shown(value: float) -> str:
        return numbers.fixed(value, decimals, "%")

    better = "lower" if summary.metric == "error" else "higher"
    axes = Axes(
        slug="scores",
        title=f"{METRIC_NAMES[summary.metric]} of every model",
        description="; ".join(f"{row.name} {shown(row.values[0])}" for row in rows),
        x_format=numbers.short,
        y_format=shown,
    )
    return Figure(
        title=f"{METRIC_NAMES[summary.metric]} on the held-out images, %",
        note=f"{better.capitalize()} is better. The line is the supervised baseline.",
        chart=dot_chart(axes, rows, summary.supervised),
        header=["model", METRIC_NAMES[summary.metric].lower()],
        rows=[[row.name, shown(row.values[0])] for row in rows],
    )


def _by_round_note(view: RunView) -> str:
    """Why there is no curve over rounds, where there is none."""
    if any(value is not None for record in view.rounds for value in record.peers.values()):
        return ""
    setting = "val_images" if view.metric == "miou" else "val_per_class"
    return (
        "There is no curve over rounds: no images were set aside to look at after each "
        f"(val/, or data.{setting}=), and the held-out ones are looked at once, at the end."
    )


def _matrices(summary: Summary) -> Matrices:
    """The baseline's confusion and the headline's, side by side; else whatever is there."""
    by_model = {confusion.model: confusion for confusion in summary.confusion}
    wanted = dict.fromkeys(m for m in ("supervised", summary.headline) if m in by_model)
    shown = [by_model[model] for model in wanted] or summary.confusion
    return [
        (f"{learner_name(c.model) if c.model in ('a', 'b') else c.model}, {c.split}", c)
        for c in shown
    ]
