"""`dmt review` and `dmt apply`: words in, sentences out. The work: `reviewing`, `correcting`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from dmt.commands.options import FOLLOW_LINKS, Debug, Json, RunPath, Words, read_options
from dmt.commands.printing import print_json, print_line
from dmt.errors import SettingError

app = typer.Typer()

_MOST_SAID = 20


@app.command()
def review(
    run: RunPath,
    settings: Words = None,
    audit: Annotated[
        bool, typer.Option("--audit", help="Train the folds that wrong labels are found by.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write review.html and review.csv: images to label next, labels that look wrong.

    Settings: show=500 (rows of each section on the page), balanced=true (classes in turn),
    folds=5 (with --audit), export=label-studio or export=coco (the same images as a file for a
    labeling tool), only=corrections.csv (export those to annotate), device=, trust_code=true,
    data.follow_links=true.
    """
    from dmt.commands.live import open_view
    from dmt.reviews.reviewing import review as write

    known: dict[str, Any] = {"show": "500", "folds": None, "balanced": False, "device": "auto",
                             "export": None, "only": None}  # fmt: skip
    options = read_options(settings or [], {**known, "trust_code": False, FOLLOW_LINKS: False})
    with open_view(is_quiet=as_json) as view:
        found = write(
            run,
            listener=view,
            is_auditing=audit,
            folds=None if options["folds"] is None else _number("folds", options["folds"]),
            balanced=options["balanced"],
            show=_number("show", options["show"]),
            export=options["export"],
            only=options["only"],
            device=options["device"],
            trust_code=options["trust_code"],
            follow_links=options[FOLLOW_LINKS],
        )
    if as_json:
        return print_json({
            "page": str(found.page), "table": str(found.table), "label_next": found.num_next,
            "mislabeled": found.num_wrong, "notes": found.notes,
            "exported": [str(path) for path in found.exported],
        })  # fmt: skip
    for note in found.notes:
        print_line(note)
    print_line(f"label next: {found.num_next:,} images, ranked")
    if found.num_wrong is None:
        print_line(f"probably mislabeled: not known; `dmt review {run} --audit` finds out")
    else:
        print_line(f"probably mislabeled: {found.num_wrong:,} labels that the models contradict")
    for path in found.exported:
        print_line(f"exported: {path}")
    print_line(f"review: {found.page}")
    return None


@app.command()
def apply(
    run: RunPath,
    corrections: Annotated[Path, typer.Argument(help="corrections.csv, as the review saves it.")],
    settings: Words = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check corrections and write a new label file that `dmt train` reads; change no other file.

    Columns: path,label,action with the actions label, keep, none and unusable; of a segmentation
    accept (label: a network, such as rounds/1/a), annotate, keep and unusable. Or JSON: what Label
    Studio exports, or COCO's. Settings: out=FILE (default: labels-corrected.csv or
    masks-corrected.csv beside the data), rest=CLASS (of pixels that no drawn area covers),
    device=, trust_code=true, data.follow_links=true.
    """
    from dmt.reviews.correcting import apply as write

    known: dict[str, Any] = {"out": None, "rest": None, "device": "auto", "trust_code": False}
    options = read_options(settings or [], {**known, FOLLOW_LINKS: False})
    follow_links = options.pop(FOLLOW_LINKS)
    found = write(run, corrections, **options, follow_links=follow_links)
    if as_json:
        return print_json({
            "labels": str(found.path), "twice": found.twice, "num_kept": found.num_kept,
            "changes": [change._asdict() for change in found.changes], "waiting": found.waiting,
            "copies": found.copies, "in_pool": found.in_pool,
        })  # fmt: skip
    for path in found.twice[:_MOST_SAID]:
        print_line(f"{path} is corrected twice: the last line counts")
    for change in found.changes[:_MOST_SAID]:
        print_line(f"  {change.path}: {change.before or 'no label'} → {change.after}")
    if len(found.changes) > _MOST_SAID:
        print_line(f"  … and {len(found.changes) - _MOST_SAID} more; --json lists them all")
    print_line(f"{len(found.changes):,} changed, {found.num_kept:,} kept as they were")
    if found.copies:
        print_line(f"{len(found.copies):,} of {found.pool} copied beside the data")
    if found.in_pool:
        more = len(found.in_pool) - _MOST_SAID
        print_line(
            f"{len(found.in_pool):,} stay in {found.pool}, which no label file can change; remove "
            f"them there: {', '.join(found.in_pool[:_MOST_SAID])}"
            + (f" and {more} more (--json lists them all)" if more > 0 else "")
        )
    if found.waiting:
        print_line(
            f"{len(found.waiting):,} to annotate: dmt review {run} export=label-studio "
            f"only={corrections}"
        )
    print_line(f"labels: {found.path}")
    words = ["dmt", "train", str(found.path), f"init_from={run}"]
    words += [f"data.unlabeled={found.pool}"] if found.pool else []
    print_line(f"next: {shlex.join(words)}")
    return None


def _number(key: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise SettingError(f"{key}={text} does not work; give a whole number")
    return int(text)
