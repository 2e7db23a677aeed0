"""Hostile names of files and classes go through every command of both tasks, and are only shown."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from commands import Outcome, call, refused
from conftest import TINY
from dmt.commands import live
from dmt.escapes import visible, visible_json
from trees import write_image_masks

EVIL_HTML = '"><img src=x onerror=alert(1)>'
EVIL = (
    "\x1b[31mred\x1b[0m", "two\nlines", "over\rwritten", "\u202egnp.exe", "[bold]markup[/]",
    "=cmd()|' /C calc'!A0", ":bomb:", "\x9b2Jclear", "</script><b>", "{{ 7 * 7 }}", EVIL_HTML,
)  # fmt: skip
WORDS = (*TINY, "data.image_size=16", "workers=0")
SCENE_WORDS = ("model=deeplab_v2:wrn_10_1:1-3", "steps=4", "rounds=1", "batch_size=2",
               "data.crop=32", "device=cpu", "workers=0")  # fmt: skip


_OBEYED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def named(name: str) -> str:
    """As a file system takes it."""
    return name.replace("/", "\u2215")


def is_clean(text: str) -> bool:
    """Whether a terminal has nothing to obey in it, line breaks apart."""
    return not _OBEYED.search(text)


def clean(outcome: Outcome) -> Outcome:
    """Check what a command said."""
    assert outcome.code == 0, outcome.err
    assert is_clean(outcome.err), repr(outcome.err)
    assert is_clean(outcome.out), repr(outcome.out)
    for text in (outcome.out, outcome.err):
        assert "\nlines" not in text, "a name begins no line of its own"
    return outcome


class Nodes(HTMLParser):
    """Counts the elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.images: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.images += [dict(attrs).get("src") or ""] if tag == "img" else []


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data set whose folder, classes and files have hostile names, and a run on it."""
    import numpy as np
    from PIL import Image

    base = tmp_path_factory.mktemp("hostile")
    root = base / named(EVIL_HTML)
    for number, name in enumerate(EVIL):
        for part, files in (("labeled", 3), ("test", 1)):
            for index in range(files):
                pixels = np.random.default_rng((number, index, files)).integers(0, 256, (16, 16, 3))
                path = root / part / named(name) / f"{index}{named(name)}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(path)
        (root / "unlabeled").mkdir(exist_ok=True)
        shutil.copy(path, root / "unlabeled" / f"{named(name)}.png")
    yield root
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def run(photos: Path) -> Path:
    """A finished run on it, whose folder has a hostile name too."""
    run = photos.parent / f"run{named(EVIL_HTML)}"
    clean(call("train", photos, *WORDS, f"out={run}"))
    return run


def check_page(page: str, names: tuple[str, ...]) -> None:
    nodes, text = Nodes(page), unescape(page)
    assert all(each.startswith("data:image/webp;base64,") for each in nodes.images)
    assert nodes.handlers == []
    assert (nodes.tags.count("script"), nodes.tags.count("style")) == (1, 1)
    assert is_clean(page.replace("\t", ""))
    for name in names:
        assert visible(name, keep="\n\t") in text


def test_check(photos: Path) -> None:
    clean(call("check", photos))
    listed = clean(call("check", photos, "--json")).value["classes"]
    assert {each["name"] for each in listed} == set(map(named, EVIL)), "and JSON loses nothing"


def test_report_page(run: Path) -> None:
    clean(call("report", run))
    check_page((run / "report.html").read_text(), tuple(map(named, EVIL)))


def test_evaluate_and_resume(run: Path, photos: Path) -> None:
    clean(call("evaluate", run))
    clean(call("evaluate", run, "--json"))
    clean(call("evaluate", run, photos))
    found = clean(call("evaluate", run, photos, "--json")).value
    assert {each["name"] for each in found["classes"]} == set(map(named, EVIL))
    clean(call("resume", run))
    assert json.loads((run / "summary.json").read_text())["classes"] == found_names(found)


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, strict=True))


def found_names(found: dict[str, Any]) -> list[str]:
    return [each["name"] for each in found["classes"]]


def test_predictions_are_a_csv_of_the_very_names(run: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    clean(call("predict", run, photos / "unlabeled", f"out={out}"))
    rows = rows_of(out)
    assert rows[0] == ["path", "label", "confidence", "agreement"]
    assert {Path(row[0]).name for row in rows[1:]} == {f"{named(name)}.png" for name in EVIL}
    assert all(os.path.isfile(row[0]) and row[1] in set(map(named, EVIL)) for row in rows[1:])
    assert all(len(row) == 4 for row in rows)


def test_no_path_in_a_table_is_a_formula(run: Path, photos: Path, monkeypatch) -> None:
    monkeypatch.chdir(photos / "unlabeled")
    formula = next(name for name in os.listdir(".") if name.startswith("="))
    for words in ((formula,), (".",)):
        table = io.StringIO(call("predict", run, *words).out, newline="")
        rows = list(csv.reader(table, strict=True))
        assert any(row[0] == f"./{formula}" for row in rows)
        assert not any(row[0].startswith(("=", "+", "-", "@")) for row in rows)


def test_a_terminal_gets_a_table_without_codes(run: Path, photos: Path) -> None:
    """To a program the CSV is to the letter; on a terminal nothing in it may be obeyed."""
    main, other = pty.openpty()
    words = [sys.executable, "-m", "dmt", "predict", str(run), str(photos / "unlabeled")]
    with subprocess.Popen(words, stdout=other, stderr=subprocess.DEVNULL) as process:
        os.close(other)
        said = b""
        try:
            while part := os.read(main, 4096):
                said += part
        except OSError:  # the other end is closed: how Linux ends such a stream
            pass
    os.close(main)
    assert process.returncode == 0
    text = said.decode().replace("\r\n", "\n")
    assert is_clean(text), repr(text)
    assert text.count("\n") == 1 + len(EVIL)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("check", ["\x1b[31mno\nsuch\u202e"]),
        ("train", ["digits", "mod\x1bel=\x1b[31m"]),
        ("train", ["digits", "weights=\x1b[31m\n"]),
        ("train", ["digits", "recipe=\x1b[31m\n"]),
        ("train", ["digits", "model=\u202e\x9b", *TINY[:2]]),
        ("report", ["\x1b[31m\n"]),
        ("evaluate", ["\x1b[31m\n", "digits"]),
        ("demo", ["\x1b[31m"]),
        ("recipes", ["\x1b[31m\n"]),
        ("\x1b[31m", []),
    ],
)
def test_refusals_show_what_was_typed(command: str, words: list[str]) -> None:
    sentence = refused(command, words)
    assert is_clean(sentence)


def test_a_weights_files_names_are_shown(tmp_path: Path) -> None:
    """Tensors in a stranger's file are named in a note of the live view."""
    import torch
    from safetensors.torch import save_file

    from dmt.models.build import build
    from dmt.models.weights import save

    network = build("wrn_10_1", 10, seed=1, image_size=8)
    save(network, tmp_path / "own.safetensors", {})
    path = tmp_path / "w.safetensors"
    extra = {"\x1b[31m[red]\u202e\nevil": torch.zeros(3)}
    save_file(dict(network.state_dict()) | extra, path)
    outcome = call(
        "train", "digits", *TINY, "baseline=none", f"weights={path}", f"out={tmp_path}/r"
    )
    assert "[red]" in clean(outcome).err, "and nothing is taken for markup"


def test_live_view_takes_nothing_for_markup() -> None:
    stream = io.StringIO()
    view = live.open_view(stream)
    for name in EVIL:
        view.on_note(f"left out: {name}")
    lines = stream.getvalue().splitlines()
    assert lines == [f"left out: {visible(name)}" for name in EVIL]
    assert is_clean(stream.getvalue())


def test_json_is_the_same_value() -> None:
    value = {"name": "".join(map(chr, [*range(0x2100), 0xD800, 0x1F4A3, 0xE0001]))}
    text = visible_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert is_clean(text)


def test_both_tasks(tmp_path: Path) -> None:
    """Class names of a segmentation come from a text file, so they have no line breaks."""
    classes = ("ground", EVIL_HTML, "\x1b[31m\u202e=cmd()")
    root = write_image_masks(
        tmp_path / named(EVIL_HTML), 4, 1, 0, 2, size=(40, 48), classes=classes
    )
    for index, name in enumerate(EVIL[:4]):
        for part, suffix in (("images", ".jpg"), ("masks", ".png")):
            path = root / part / f"{index:04d}{suffix}"
            path.rename(path.with_name(named(name) + suffix))
    run, out = tmp_path / "run", tmp_path / "out"
    clean(call("check", root))
    clean(call("train", root, *SCENE_WORDS, f"out={run}"))
    clean(call("evaluate", run, root))
    clean(call("report", run))
    check_page((run / "report.html").read_text(), classes)
    clean(call("predict", run, root / "images", f"out={out}"))
    rows = rows_of(out / "predictions.csv")
    assert all(os.path.isfile(path) and os.path.isfile(mask) for path, mask, *_ in rows[1:])
    written = {path.relative_to(out / "masks") for path in (out / "masks").rglob("*.png")}
    assert {f"{named(name)}.png" for name in EVIL[:4]} <= {str(path) for path in written}
    assert (out / "classes.txt").read_text().splitlines() == list(classes)


@pytest.mark.browser
def test_the_report_in_a_browser_has_no_node_of_a_name(run: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    system = next((path for name in names if (path := shutil.which(name))), None)
    with playwright.sync_playwright() as driver:
        path = system or driver.chromium.executable_path
        if not os.path.exists(path):
            pytest.skip("no chromium on this machine")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        dialogs: list[str] = []
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        page.goto((run / "report.html").as_uri())
        assert page.locator("img:not([src^='data:image/webp;base64,']), [onerror]").count() == 0
        assert page.locator("figure img").count() == page.locator("img").count() > 0
        assert page.locator("script").count() == 1
        assert page.get_by_text(EVIL_HTML).count() > 0, "it is there, as text"
        assert dialogs == []
        browser.close()
