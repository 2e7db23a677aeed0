"""What the command prints: lines for people, JSON for programs; what names hold is only shown."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from dmt.escapes import visible, visible_json, visible_lines

if TYPE_CHECKING:
    from dmt.records.comparison import ComparisonRecord


def print_line(text: str) -> None:
    """A line that a file's name cannot break: control characters are shown, not obeyed."""
    typer.echo(visible(text))


def print_paragraph(text: str, indent: int = 0) -> None:
    """`print_line`, which breaks between words on a terminal; whoever reads a file wants one line.

    Args:
        text: a few sentences.
        indent: of the second line and those after it.
    """
    if not sys.stdout.isatty():
        return print_line(text)
    width = shutil.get_terminal_size().columns
    for line in textwrap.wrap(
        visible(text), width, subsequent_indent=" " * indent,
        break_long_words=False, break_on_hyphens=False,
    ):  # fmt: skip
        typer.echo(line)
    return None


def print_text(text: str) -> None:
    """Lines, of which the last one ends by itself."""
    typer.echo(visible_lines(text), nl=False)


def say(text: str) -> None:
    """A line on stderr, where everything goes that is not the result."""
    typer.echo(visible(text), err=True)


def print_json(value: Any) -> None:
    """One JSON value."""
    typer.echo(visible_json(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)))


def print_check(found: Mapping[str, Any]) -> None:
    """What `checkup.check` found."""
    counts = ", ".join(
        f"{found[part]:,} {part}" for part in ("labeled", "unlabeled", "val", "test")
    )
    print_line(f"{found['name']}: {found['task']}, layout {found['layout']}: {counts}")
    for each in found["classes"]:
        share = f"  {each['pixels']:6.2f} % of the pixels" if "pixels" in each else ""
        print_line(f"  {each['count']:>7,}  {each['name']}{share}")
    problems = found["problems"]
    print_line(f"{len(problems)} problem{'' if len(problems) == 1 else 's'}")
    for each in problems[:20]:
        print_line(f"  {each['kind']}: {each['path']}: {each['message']}".replace(": :", ":"))
    if len(problems) > 20:
        print_line(f"  … and {len(problems) - 20} more; --json lists them all")


def print_summary(summary: Mapping[str, Any]) -> None:
    """The sentence and the final table of a run."""
    print_paragraph(summary["sentence"])
    values = {
        "supervised": summary["supervised"],
        "peer a": summary["peers"]["a"],
        "peer b": summary["peers"]["b"],
        "both peers together": summary["ensemble"],
        "two supervised together": summary["supervised_ensemble"],
        "all labels (oracle)": summary["oracle"],
    }
    known = {name: value for name, value in values.items() if value is not None}
    if known:
        print_line(f"{summary['metric']} in % on {summary['held_out']}:")
    for name, value in known.items():
        print_line(f"  {value:6.2f}  {name}")
    if summary["gap_closed"] is not None:
        print_line(f"  {100 * summary['gap_closed']:6.0f} % of the gap to all labels closed")
    for alarm in summary["alarms"]:
        print_paragraph(f"ALARM {alarm['message']} {alarm['remedy']}", indent=6)


def print_evaluation(found: Mapping[str, Any]) -> None:
    """What `using.evaluate` measured."""
    name = {"miou": "mean IoU"}.get(found["metric"], found["metric"])
    print_line(f"{name} {found['value']:.2f} % on {found['num_images']:,} images")
    if found["num_left_out"]:
        print_line(f"  {found['num_left_out']:,} images that the run was trained on are left out")
    if found["metric"] == "miou":
        return _print_iou(found)
    for each in found["classes"]:
        recall = "  none here" if each["recall"] is None else f"{each['recall']:9.2f} %"
        print_line(f"  {recall} of {each['count']:>6,}  {each['name']}")
    return None


def _print_iou(found: Mapping[str, Any]) -> None:
    print_line(f"  {found['pixel_accuracy']:9.2f} % of the pixels right")
    for each in found["classes"]:
        absent = "     absent"  # from masks and predictions: left out of the mean
        iou = absent if each["iou"] is None else f"{each['iou']:9.2f} %"
        print_line(f"  {iou} of {each['pixels']:>12,} pixels  {each['name']}")


def print_comparison(record: ComparisonRecord) -> None:
    """The table of a comparison, and a sentence for every pair of methods."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from dmt.records.comparison import sentence, table

    assert record.result is not None
    header, rows = table(record.result)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200  # whoever reads a file wants whole lines
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in header:
        shown.add_column(name, justify="left" if name == "method" else "right")
    for row in rows:
        shown.add_row(*(Text(visible(cell)) for cell in row))
    console.print(shown)
    for pair in record.result.pairs:
        print_line(sentence(pair, record.result))
    for note in record.notes:
        print_line(note)
