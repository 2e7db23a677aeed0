"""The command `dmt`: words in, exit codes out. Heavy imports come with the command."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmt.errors import DmtError, Interrupted, SettingError

if TYPE_CHECKING:
    from dmt.api import Run

app = typer.Typer(
    name="dmt",
    help="Train image classifiers from few labels and many unlabeled images.\n\n"
    "Start with `dmt check DATA`, then `dmt train DATA`. DATA is a folder with labeled/<class>/… "
    "and unlabeled/…, a CSV with path,label, or a built-in: digits, cifar10.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Words = Annotated[
    list[str] | None,
    typer.Argument(help="key=value …, for example seed=1 budget=30m student.lr=0.03"),
]
RunPath = Annotated[Path, typer.Argument(help="The folder that `dmt train` made.")]


@app.command()
def demo(
    name: Annotated[str, typer.Argument(help="Which built-in: digits.")] = "digits",
    settings: Words = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train on embedded real data and say where the report is."""
    words = list(settings or [])
    if "=" in name:
        name, words = "digits", [name, *words]
    if name != "digits":
        raise SettingError(f"there is no demo {name!r}; there is: digits")
    _train(name, words, as_json)


@app.command()
def check(
    data: Annotated[str, typer.Argument(help="A folder, a CSV, digits or cifar10.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what is in DATA, what is labeled and what is wrong with it; change nothing."""
    from dmt.checkup import check as look

    found = look(data)
    if as_json:
        return _print_json(found)
    counts = ", ".join(
        f"{found[part]:,} {part}" for part in ("labeled", "unlabeled", "val", "test")
    )
    _print(f"{found['name']}: {found['task']}, layout {found['layout']}: {counts}")
    for each in found["classes"]:
        _print(f"  {each['count']:>7,}  {each['name']}")
    problems = found["problems"]
    _print(f"{len(problems)} problem{'' if len(problems) == 1 else 's'}")
    for each in problems[:20]:
        _print(f"  {each['kind']}: {each['path']}: {each['message']}".replace(": :", ":"))
    if len(problems) > 20:
        _print(f"  … and {len(problems) - 20} more; --json lists them all")
    return None


@app.command()
def train(
    data: Annotated[str, typer.Argument(help="A folder, a CSV, digits or cifar10.")],
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
            _print(f"{key}={default}" + (f"  # {meaning}" if meaning else ""))
        return
    if print_config:
        from dmt.api import settings_for
        from dmt.config import dump

        typer.echo(dump(settings_for(data, words)), nl=False)
        return
    _train(data, words, as_json)


@app.command()
def resume(
    run: RunPath,
    settings: Words = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Go on with an interrupted run, to the same end as if nothing had happened.

    Settings: trust_code=true.
    """
    from dmt.api import resume as go_on
    from dmt.live import open_view

    options = _options(settings or [], {"trust_code": False})
    with open_view(is_quiet=as_json or not _is_first_rank()) as view:
        finished = go_on(run, listener=view, trust_code=options["trust_code"])
    _print_run(finished, as_json)


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

    Settings: device=, trust_code=true.
    """
    from dmt.records import read_summary

    options = _options(settings or [], {"device": "auto", "trust_code": False})
    if data is None:
        summary = read_summary(run)
        if as_json:
            return _print_json(summary.model_dump(mode="json"))
        return _print_summary(summary.model_dump())
    from dmt.api import evaluate as measure

    found = measure(run, data, device=options["device"], trust_code=options["trust_code"])
    if as_json:
        return _print_json(found)
    _print(f"{found['metric']} {found['value']:.2f} % on {found['num_images']:,} images")
    if found["num_left_out"]:
        _print(f"  {found['num_left_out']:,} images that the run was trained on are left out")
    for each in found["classes"]:
        recall = "  none here" if each["recall"] is None else f"{each['recall']:9.2f} %"
        _print(f"  {recall} of {each['count']:>6,}  {each['name']}")
    return None


@app.command()
def predict(
    run: RunPath,
    images: Annotated[
        list[str], typer.Argument(help="Image files and folders; then key=value settings.")
    ],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write path,label,confidence,agreement for images, as CSV.

    Settings: out=FILE (default: stdout), device=, bad_images=skip, trust_code=true.
    """
    from dmt.predicting import predict_paths, write_csv

    paths: list[str] = []
    words: list[str] = []
    for word in images:
        (paths if "=" not in word or os.path.exists(word) else words).append(word)
    options = _options(
        words, {"out": None, "device": "auto", "bad_images": "stop", "trust_code": False}
    )
    rows = predict_paths(
        run,
        paths,
        device=options["device"],
        bad_images=options["bad_images"],
        trust_code=options["trust_code"],
        say=lambda text: typer.echo(f"dmt: {text}", err=True),
    )
    if as_json:
        _print_json({"run": str(run), "predictions": [row._asdict() for row in rows]})
    else:
        num = write_csv(rows, options["out"])
        if options["out"]:
            typer.echo(f"{num:,} predictions in {options['out']}", err=True)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders that `dmt train` made.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write report.html of each run anew."""
    from dmt.insight.report import write_report

    written = [str(write_report(run)) for run in runs]
    if as_json:
        return _print_json({"reports": written})
    for path in written:
        _print(path)
    return None


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
            return _print_json({"name": name, "settings": content})
        import yaml

        return typer.echo(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), nl=False)
    listed = [{"name": each, "about": " ".join(recipe_header(each))} for each in recipe_names()]
    if as_json:
        return _print_json({"recipes": listed})
    for entry in listed:
        _print(entry["name"])
        _print(f"    {entry['about']}")
    return None


@app.command()
def doctor(as_json: Json = False, debug: Debug = False) -> None:
    """Say what this machine has and what would stop a run."""
    from dmt.doctor import diagnose

    findings = diagnose()
    if as_json:
        return _print_json({"findings": [each.model_dump() for each in findings]})
    marks = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
    for each in findings:
        _print(f"{marks[each.status]}  {each.name}: {each.value}")
        if each.cure:
            _print(f"      {each.cure}")
    return None


def _train(data: str, words: Sequence[str], as_json: bool) -> None:
    from dmt.api import train_with
    from dmt.live import open_view

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
        return _print_json({"run": str(run.path), **run.summary.model_dump(mode="json")})
    _print_summary(run.summary.model_dump())
    _print(f"report: {run.path / 'report.html'}")
    return None


def _print_summary(summary: Mapping[str, Any]) -> None:
    _print(summary["sentence"])
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
        _print(f"{summary['metric']} in % on {summary['held_out']}:")
    for name, value in known.items():
        _print(f"  {value:6.2f}  {name}")
    if summary["gap_closed"] is not None:
        _print(f"  {100 * summary['gap_closed']:6.0f} % of the gap to all labels closed")


def _options(words: Sequence[str], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The key=value words of a command that takes few keys."""
    import difflib

    values = dict(defaults)
    for word in words:
        key, separator, text = word.partition("=")
        if key not in defaults:
            near = difflib.get_close_matches(key, defaults, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(defaults)}"
            what = f"unknown setting {key!r}" if separator else f"{word!r} is no setting"
            raise SettingError(f"{what}; {hint}")
        if isinstance(defaults[key], bool):
            if text not in {"true", "false"}:
                raise SettingError(f"{word} does not work; {key} takes true or false")
            values[key] = text == "true"
        else:
            values[key] = text
    return values


def _print(text: str) -> None:
    """A line that a file's name cannot break: control characters are shown, not obeyed."""
    typer.echo("".join(each if each.isprintable() else repr(each)[1:-1] for each in text))


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))


def main() -> None:
    """The entry point: every outcome as an exit code (0, 1 ours, 2 yours, 130/143 stopped)."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(words: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    show_traceback = "--debug" in words
    try:
        app(args=list(words) or ["--help"], prog_name="dmt", standalone_mode=False)
    except Interrupted as error:
        typer.echo(f"dmt: {error}", err=True)
        return 128 + error.signal
    except DmtError as error:
        if show_traceback:
            traceback.print_exc()
        typer.echo(f"dmt: {error}", err=True)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("dmt: stopped by Ctrl-C", err=True)
        return 128 + signal.SIGINT
    except (BrokenPipeError, SystemExit):
        # Whoever read our output has gone, as `head` does; nothing is wrong. (That is the one
        # case in which typer exits by itself here.)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # A wrong command line; by its method, as typer keeps these classes where it likes.
        if hasattr(error, "format_message"):
            typer.echo(f"dmt: {_sentence(error)}", err=True)
            return 2
        return _unexpected(error, show_traceback)
    return 0


def _sentence(error: Any) -> str:
    context = getattr(error, "ctx", None)
    where = f"; see `{context.command_path} --help`" if context else ""
    return str(error.format_message()).rstrip(".").replace("\n", " ") + where


def _unexpected(error: Exception, show_traceback: bool) -> int:
    """What nobody raised on purpose: memory is the user's to mend, the rest is ours."""
    if show_traceback:
        traceback.print_exc()
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        typer.echo(
            "dmt: out of memory; give a smaller batch_size=, data.image_size= or model=", err=True
        )
        return 2
    typer.echo(
        f"dmt: a fault of ours: {type(error).__name__}: {error}"
        f"{'' if show_traceback else ' (--debug shows where)'}",
        err=True,
    )
    return 1
