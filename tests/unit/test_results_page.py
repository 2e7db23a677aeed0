"""docs/results.md is what the records in results/ say, and nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "accuracy"))
sys.path.insert(0, str(Path(__file__).parent / "insight"))
from results import PAGE, README, key_lines, page, readme
from sample_comparison import sample_comparison

ROOT = Path(__file__).parents[2]


def test_page_is_made_from_the_records() -> None:
    assert PAGE == ROOT / "docs" / "results.md"
    assert page(ROOT / "results") == PAGE.read_text(encoding="utf-8"), "run `make results`"


def test_the_readme_says_what_the_records_say() -> None:
    text = README.read_text(encoding="utf-8")
    assert readme(text, ROOT / "results") == text, "run `make results`"
    lines = key_lines(ROOT / "results").splitlines()
    assert lines
    results = PAGE.read_text(encoding="utf-8")
    for line in lines:
        assert line.split(": ", 1)[1].rstrip(".") in results


def test_what_is_not_there_is_not_measured(tmp_path: Path) -> None:
    text = page(tmp_path)
    sections = text.split("\n## ")[1:]
    assert [section.split("\n")[0] for section in sections] == [
        "digits", "shapes", "cifar10-mini", "camvid", "Elsewhere",
    ]  # fmt: skip
    assert all("ot measured" in section for section in sections)
    assert "±" not in text.split("\n## ", 1)[1]


def test_records_of_dmt_compare_are_taken_too(tmp_path: Path) -> None:
    record = sample_comparison()
    (tmp_path / "digits-methods.json").write_text(record.model_dump_json())
    (tmp_path / "unfinished.json").write_text(
        record.model_copy(update={"result": None}).model_dump_json()
    )
    text = page(tmp_path)
    assert "\n## digits-methods\n" in text
    assert "`dmt compare digits methods=" in text
    assert "| supervised | " in text
    assert "3 seeds, torch 2.15, a machine." in text
    assert "unfinished" not in text


def test_runs_of_another_budget_are_refused(tmp_path: Path) -> None:
    lines = (ROOT / "results" / "camvid.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    records[-1]["summary"]["images_seen"]["trained"] //= 3
    text = "".join(json.dumps(each) + "\n" for each in records)
    (tmp_path / "camvid.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit, match="these runs saw 3,200, 9,600 images a model"):
        page(tmp_path)


def test_runs_of_another_recipe_are_refused(tmp_path: Path) -> None:
    lines = (ROOT / "results" / "digits.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines[:3]]
    records[1]["recipe"] = {"initial.lr": 0.1, "online.new": None}
    records[2]["recipe"] = {"initial.lr": 0.2}
    text = "".join(json.dumps(each) + "\n" for each in records)
    (tmp_path / "digits.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit, match=r"initial\.lr=0\.1 and with initial\.lr=0\.2"):
        page(tmp_path)


def test_methods_of_fewer_seeds_have_a_command_and_a_note_of_their_own(tmp_path: Path) -> None:
    lines = (ROOT / "results" / "digits.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    kept = [each for each in records if each["method"] in ("dmt", "mutual") and each["seed"] < 3]
    alone = [each for each in records if each["method"] == "fixmatch" and each["seed"] == 0]
    text = "".join(json.dumps(each) + "\n" for each in [*kept, *alone])
    (tmp_path / "digits.jsonl").write_text(text, encoding="utf-8")
    told = page(tmp_path)
    assert "digits --seeds 3 --methods mutual --out" in told
    assert "digits --seeds 1 --methods fixmatch --out" in told
    (row,) = (line for line in told.splitlines() if line.startswith("| fixmatch |"))
    assert row.startswith(f"| fixmatch | {alone[0]['summary']['peers']['a']:.2f} (1 seed) |")
    assert "fixmatch − supervised: " in told
    assert "on one seed, which has no interval: cannot tell." in told
