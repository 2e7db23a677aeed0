"""The command `dmt`: words in, exit codes out. Heavy imports come with the command."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmt.commands.board import app as board_app
from dmt.commands.exits import end_by_sentence_at_sigterm, exit_code
from dmt.commands.label import app as label_app
from dmt.commands.options import FOLLOW_LINKS, Debug, Json, RunPath, paths_and_words, read_options
from dmt.commands.printing import (
    print_check,
    print_comparison,
    print_evaluation,
    print_json,
    print_line,
    print_summary,
    print_text,
    say,
)
from dmt.commands.report import app as report_app
from dmt.commands.review import app as review_app
from dmt.engine.machine import keep_freed_memory, sleep_while_waiting
from dmt.errors import SettingError

if TYPE_CHECKING:
    from dmt.api import Run

app = typer.Typer(
    name="dmt",
    help="Train image classifiers and segmenters from few labels and many unlabeled images.\n\n"
    "Start with `dmt check DATA`, then `dmt train DATA`. DATA is a folder with labeled/<class>/… "
    "and unlabeled/…, or with images/ and masks/ (an image without a mask is unlabeled), VOC, "
    "Cityscapes, a CSV with path,label, or a built-in: digits, shapes, cifar10.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(board_app)
app.add_typer(report_app)
app.add_typer(review_app)
app.add_typer(label_app)

Words = Annotated[
    list[str] | None,
    typer.Argument(help="key=value …, for example seed=1 budget=30m student.lr=0.03"),
]

# The recipe of shapes takes more than the five minutes that a first look should.
_DEMOS: dict[str, list[str]] = {"digits": [], "shapes": ["steps=800"]}


@app.command()
def demo(
    name: Annotated[str, typer.Argument(help="Which built-in: digits or shapes.")] = "digits",
    settings: Words = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train on embedded data (digits: real; shapes: drawn scenes) and say where the report is."""
    words = list(settings or [])
    if "=" in name:
        name, words = "digits", [name, *words]
    if name not in _DEMOS:
        raise SettingError(f"there is no demo {name!r}; there are digits and shapes")
    _train(name, [*_DEMOS[name], *words], as_json)


@app.command()
def check(
    data: Annotated[str, typer.Argument(help="A folder, a CSV, digits, shapes or cifar10.")],
    settings: Words = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what is in DATA, what is labeled and what is wrong with it; change nothing.

    Settings: data.follow_links=true.
    """
    from dmt.data.checks.checkup import check as look

    options = read_options(settings or [], {FOLLOW_LINKS: False})
    found = look(data, follow_links=options[FOLLOW_LINKS])
    if as_json:
        return print_json(found)
    return print_check(found)


@app.command()
def train(
    data: Annotated[str, typer.Argument(help="A folder, a CSV, digits, shapes or cifar10.")],
    settings: Words = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the resolved settings and stop.")
    ] = False,
    list_keys: Annotated[
        bool, typer.Option("--list-keys", help="Print every key, its default and meaning.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train on DATA: a run of rounds, a baseline, a verdict, a report.

    Settings are key=value words: defaults < recipe=NAME-or-FILE < command line.
    `dmt train DATA --list-keys` explains them all; `dmt recipes` lists the recipes.
    """
    words = settings or []
    if list_keys:
        from dmt.config import describe

        for key, default, meaning in describe():
            print_line(f"{key}={default}" + (f"  # {meaning}" if meaning else ""))
        return None
    if print_config:
        from dmt.api import settings_for
        from dmt.config import dump

        return print_text(dump(settings_for(data, words)))
    return _train(data, words, as_json)


@app.command()
def resume(
    run: RunPath,
    settings: Words = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Go on with an interrupted run, to the same end as if nothing had happened.

    Settings: trust_code=true, data.follow_links=true.
    """
    from dmt.api import resume as go_on
    from dmt.commands.live import open_view

    options = read_options(settings or [], {"trust_code": False, FOLLOW_LINKS: False})
    with open_view(is_quiet=as_json or not _is_first_rank()) as view:
        finished = go_on(
            run,
            listener=view,
            trust_code=options["trust_code"],
            follow_links=options[FOLLOW_LINKS],
        )
    _print_run(finished, as_json)


@app.command()
def compare(
    data: Annotated[str, typer.Argument(help="A folder, a CSV, digits, shapes or cifar10.")],
    settings: Words = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train several methods over seeds and say which is better; the same command goes on.

    methods=supervised,self-training,dmt: those of `dmt train`, and oracle (all labels).
    seeds=0,1,2, labels=40,80 (to compare at several numbers of labels), out=FOLDER; all other
    settings are for every run, as `dmt train` takes them.
    """
    from dmt.commands.live import open_view
    from dmt.comparisons.comparing import compare_with

    with open_view(is_quiet=as_json) as view:
        found = compare_with(data, settings or [], view)
    if as_json:
        return print_json(found.result.contract())
    print_comparison(found.record)
    return print_line(f"page: {found.path / 'compare.html'}")


@app.command()
def evaluate(
    run: RunPath,
    data: Annotated[
        str | None, typer.Argument(help="Labeled images; without it, the run's own table.")
    ] = None,
    settings: Words = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure a run's model on labeled images.

    Settings: device=, trust_code=true, data.follow_links=true.
    """
    from dmt.records import read_summary

    known = {"device": "auto", "trust_code": False, FOLLOW_LINKS: False}
    options = read_options(settings or [], known)
    if data is None:
        summary = read_summary(run)
        if as_json:
            return print_json(summary.model_dump(mode="json"))
        return print_summary(summary.model_dump())
    from dmt.api import evaluate as measure

    found = measure(
        run,
        data,
        device=options["device"],
        trust_code=options["trust_code"],
        follow_links=options[FOLLOW_LINKS],
    )
    if as_json:
        return print_json(found)
    return print_evaluation(found)


@app.command()
def predict(
    run: RunPath,
    images: Annotated[
        list[str], typer.Argument(help="Image files and folders; then key=value settings.")
    ],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what is in images: a class each, or a mask.

    A classifier writes path,label,confidence,agreement as CSV: out=FILE (default: stdout).
    A segmenter writes a folder, out=FOLDER (default: predictions): masks/ (PNG, a pixel's value is
    its class), overlays/, and with confidence=true and disagreement=true their maps; overlay=false
    leaves the overlays out.
    Both: device=, bad_images=skip, trust_code=true, data.follow_links=true, and overwrite=true,
    which replaces files that are there.
    """
    from dmt.records import read_summary

    paths, words = paths_and_words(images)
    common = {"out": None, "device": "auto", "bad_images": "stop", "trust_code": False}
    common |= {FOLLOW_LINKS: False, "overwrite": False}
    if read_summary(run).task == "segmentation":
        switches = {"overlay": True, "confidence": False, "disagreement": False}
        options = read_options(words, {**common, **switches})
        return _predict_masks(run, paths, options, as_json)
    options = read_options(words, common)
    from dmt.inference.predicting import predict_paths, refuse_to_replace, write_csv

    refuse_to_replace(options["out"], overwrite=options["overwrite"])
    rows = predict_paths(
        run,
        paths,
        device=options["device"],
        bad_images=options["bad_images"],
        trust_code=options["trust_code"],
        follow_links=options[FOLLOW_LINKS],
        say=_note,
    )
    if as_json:
        return print_json({"run": str(run), "predictions": [row._asdict() for row in rows]})
    num = write_csv(rows, options["out"])
    if options["out"]:
        say(f"{num:,} predictions in {options['out']}")
    return None


def _predict_masks(
    run: Path, paths: Sequence[str], options: Mapping[str, Any], as_json: bool
) -> None:
    from dmt.api import load
    from dmt.engine.segmenter import Segmenter
    from dmt.inference.mask_predicting import predict_masks

    out = options["out"] or "predictions"
    model = load(run, device=options["device"], trust_code=options["trust_code"])
    assert isinstance(model, Segmenter)
    rows = predict_masks(
        model,
        paths,
        out=out,
        overlay=options["overlay"],
        confidence=options["confidence"],
        disagreement=options["disagreement"],
        overwrite=options["overwrite"],
        bad_images=options["bad_images"],
        follow_links=options[FOLLOW_LINKS],
        say=_note,
    )
    if as_json:
        predictions = [row._asdict() for row in rows]
        return print_json({"run": str(run), "out": out, "predictions": predictions})
    say(f"{sum(1 for _ in rows):,} masks in {out}")
    return None


def _note(text: str) -> None:
    say(f"dmt: {text}")


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this one as YAML.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the built-in recipes, or print one."""
    from dmt.config import load_recipe, recipe_header, recipe_names

    if name is not None:
        content = load_recipe(name)
        if as_json:
            return print_json({"name": name, "settings": content})
        import yaml

        return print_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    listed = [{"name": each, "about": " ".join(recipe_header(each))} for each in recipe_names()]
    if as_json:
        return print_json({"recipes": listed})
    for entry in listed:
        print_line(entry["name"])
        print_line(f"    {entry['about']}")
    return None


@app.command()
def doctor(as_json: Json = False, debug: Debug = False) -> None:
    """Say what this machine has and what would stop a run."""
    from dmt.commands.doctor import diagnose

    findings = diagnose()
    if as_json:
        return print_json({"findings": [each.model_dump() for each in findings]})
    marks = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
    for each in findings:
        print_line(f"{marks[each.status]}  {each.name}: {each.value}")
        if each.cure:
            print_line(f"      {each.cure}")
    return None


def _train(data: str, words: Sequence[str], as_json: bool) -> None:
    from dmt.api import train_with
    from dmt.commands.live import open_view

    with open_view(is_quiet=as_json or not _is_first_rank()) as view:
        run = train_with(data, words, view)
    _print_run(run, as_json)


def _is_first_rank() -> bool:
    """Only one of the processes that train together talks."""
    return os.environ.get("RANK", "0") == "0"


def _print_run(run: Run, as_json: bool) -> None:
    if not _is_first_rank():
        return None
    if as_json:
        return print_json({"run": str(run.path), **run.summary.model_dump(mode="json")})
    print_summary(run.summary.model_dump())
    print_line(f"report: {run.path / 'report.html'}")
    return None


def main() -> None:
    """The entry point: every outcome as an exit code (0, 1 ours, 2 yours, 130/143 stopped)."""
    end_by_sentence_at_sigterm()
    keep_freed_memory()
    sleep_while_waiting()
    code = run_command(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # all is said; nobody is left to catch it
    sys.exit(code)


def run_command(words: Sequence[str]) -> int:
    """Run one command line and return its exit code."""

    def work() -> None:
        app(args=list(words) or ["--help"], prog_name="dmt", standalone_mode=False)

    return exit_code(work, show_traceback="--debug" in words)
