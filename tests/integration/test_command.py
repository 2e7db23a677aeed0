"""The command from words to files: exit codes, JSON, the run's folder, repeating a run.

Bad input is in `tests/bad_input`, stopping in `test_resume`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dmt.records import Summary

HEAVY = ("torch", "rich", "numpy", "pydantic", "yaml", "PIL", "sklearn", "jinja2")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from dmt.cli import run_command; code = run_command(['--help']); "
        f"print([name for name in {HEAVY!r} if name in sys.modules], code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split("\n")[0] == "[] 0"
    for command in ("demo", "check", "train", "resume", "compare", "evaluate", "predict", "report",
                    "recipes", "doctor"):  # fmt: skip
        assert f"\n  {command} " in done.stdout


def test_module_is_the_command(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "dmt", "train"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "dmt train --help" in done.stderr


def test_run_folder_has_the_promised_layout(digits_run: Path, snapshot) -> None:
    weights = {f"rounds/{r}/{peer}/model.safetensors" for r in range(3) for peer in "ab"}
    fixed = {"config.yaml", "data.json", "metrics.jsonl", "examples.json", "summary.json",
             "report.html"}  # fmt: skip
    names = set(snapshot(digits_run))
    assert weights | fixed | {"baseline/a/model.safetensors"} <= names
    labels = {name.rsplit("/", 1)[0] for name in names if "pseudo_labels" in name}
    assert labels == {f"rounds/{r}/{peer}/pseudo_labels" for r in (1, 2) for peer in "ab"}
    left = {name for name in names if not name.startswith(("rounds/", "baseline/", "checkpoint/"))}
    assert left == fixed | {".lock"}
    assert (digits_run / "report.html").read_text().lstrip().lower().startswith("<!doctype html>")


def test_summary_has_the_contract_s_fields(digits_run: Path) -> None:
    found = json.loads((digits_run / "summary.json").read_text())
    wanted = (
        "task dataset method metric supervised supervised_ensemble peers ensemble headline oracle "
        "gap_closed verdict interval images_seen rounds seconds images_per_second labeled "
        "unlabeled seed versions hardware"
    )
    assert set(wanted.split()) <= set(found)
    summary = Summary.model_validate(found)
    assert (summary.task, summary.dataset, summary.method) == ("classification", "digits", "dmt")
    assert (summary.labeled, summary.unlabeled, summary.num_held_out) == (40, 1400, 357)
    assert (summary.headline, summary.oracle, summary.gap_closed) == ("ensemble", None, None)
    assert summary.verdict in {"helped", "hurt", "unclear"}
    assert summary.interval is not None
    assert summary.peers["a"] is not None
    assert summary.supervised is not None
    assert summary.interval.value == pytest.approx(summary.peers["a"] - summary.supervised)
    assert [each.round for each in summary.rounds] == [0, 1, 2]
    assert [each.label_fraction for each in summary.rounds] == [None, 0.5, 1.0]
    assert [each.selected for each in summary.rounds] == [0, 700, 1400]
    # Peers and the baseline each took 9 steps of 16; one peer is compared with one model.
    assert summary.images_seen.trained == 2 * 9 * 16
    assert summary.images_seen.baseline == 9 * 16
    assert set(summary.versions) >= {"dmt", "torch", "python", "numpy"}


def test_json_is_one_object_and_nothing_else(tmp_path: Path, start, tiny) -> None:
    short = ("steps=2", "rounds=1", "selection.fractions=[1]", "baseline=none")
    process = start(["train", "digits", *tiny, *short, "out=run", "--json"], tmp_path)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert found.pop("run") == "run"
    assert found == json.loads((tmp_path / "run" / "summary.json").read_text())
    assert err == ""
    assert found["verdict"] == "none"


def test_config_repeats_the_run_to_the_bit(
    digits_run: Path, tmp_path: Path, dmt, outcome_of
) -> None:
    again = tmp_path / "again"
    outcome = dmt("train", "digits", f"recipe={digits_run / 'config.yaml'}", f"out={again}")
    assert outcome.code == 0, outcome.err
    files, lines, _ = outcome_of(again)
    assert (files, lines) == outcome_of(digits_run)[:2]
    before, after = (
        yaml.safe_load((run / "config.yaml").read_text()) for run in (digits_run, again)
    )
    assert before.pop("recipe") == "digits"
    assert after.pop("recipe") == str(digits_run / "config.yaml")
    assert before == after
    assert before["out"] is None
    assert before["model"] == "wrn_10_1"


def test_command_in_the_summary_repeats_the_run(
    digits_run: Path, tmp_path: Path, dmt, monkeypatch
) -> None:
    words = json.loads((digits_run / "summary.json").read_text())["command"].split()
    assert words[:3] == ["dmt", "train", "digits"]
    assert words[3] == f"recipe={digits_run}/config.yaml"
    monkeypatch.chdir(tmp_path)
    assert dmt(*words[1:], "--print-config").code == 0


def test_run_without_a_name_gets_a_free_one(tmp_path: Path, dmt, tiny, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        outcome = dmt("train", "digits", *tiny, "method=supervised", "steps=2", "seed=3")
        assert outcome.code == 0, outcome.err
    names = {path.name for path in (tmp_path / "runs").iterdir()}
    assert names == {"digits-supervised-s3", "digits-supervised-s3-2"}
    assert "report: runs/digits-supervised-s3-2/report.html" in outcome.out


def test_demo_takes_settings(tmp_path: Path, dmt, tiny) -> None:
    outcome = dmt("demo", *tiny, "steps=3", f"out={tmp_path / 'run'}", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.value["dataset"] == "digits"
    assert len(outcome.value["rounds"]) == 3


def test_evaluate_prints_the_runs_own_table(digits_run: Path, dmt) -> None:
    told = dmt("evaluate", digits_run)
    assert told.code == 0
    summary = json.loads((digits_run / "summary.json").read_text())
    assert told.out.startswith(summary["sentence"])
    assert f"{summary['supervised']:6.2f}  supervised" in told.out
    assert dmt("evaluate", digits_run, "--json").value == summary


def test_evaluate_on_data_agrees_with_the_table(digits_run: Path, dmt) -> None:
    found = dmt("evaluate", digits_run, "digits", "device=cpu", "--json").value
    summary = json.loads((digits_run / "summary.json").read_text())
    assert found["num_images"] == 357
    assert found["value"] == pytest.approx(summary["ensemble"])
    assert sum(each["count"] for each in found["classes"]) == 357
    assert "error " in dmt("evaluate", digits_run, "digits").out


def test_report_is_written_anew(digits_run: Path, tmp_path: Path, dmt) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(digits_run, copy)
    (copy / "report.html").unlink()
    found = dmt("report", copy, "--json").value
    assert found == {"reports": [str(copy / "report.html")], "page": None}
    assert (copy / "report.html").stat().st_size > 10_000


def test_recipes_are_listed_and_printed(dmt) -> None:
    listed = {each["name"]: each["about"] for each in dmt("recipes", "--json").value["recipes"]}
    assert {"digits", "photos"} <= set(listed)
    assert all(listed.values())
    assert yaml.safe_load(dmt("recipes", "digits").out)["model"] == "wrn_10_1"
    assert dmt("recipes", "digits", "--json").value["name"] == "digits"


def test_doctor_prints_json(dmt) -> None:
    outcome = dmt("doctor", "--json")
    assert outcome.code == 0
    assert {each["status"] for each in outcome.value["findings"]} <= {"ok", "warn", "fail"}
    assert len(outcome.value["findings"]) >= 3


def test_check_counts_and_changes_nothing(tmp_photos, dmt, snapshot) -> None:
    photos = tmp_photos(labeled=5, unlabeled=4, val=2, test=3)
    before = snapshot(photos)
    found = dmt("check", photos, "--json").value
    assert (found["task"], found["layout"]) == ("classification", "class-folders")
    assert (found["labeled"], found["unlabeled"], found["val"], found["test"]) == (10, 8, 4, 6)
    assert found["classes"] == [{"name": "blue", "count": 5}, {"name": "green", "count": 5}]
    assert snapshot(photos) == before
    assert "10 labeled, 8 unlabeled, 4 val, 6 test" in dmt("check", photos).out


def test_print_config_trains_nothing(tmp_path: Path, dmt, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = dmt("train", "digits", "student.lr=0.5", "--print-config")
    assert outcome.code == 0
    assert yaml.safe_load(outcome.out)["student"]["lr"] == 0.5
    assert list(tmp_path.iterdir()) == []


def test_names_with_control_characters_do_not_reach_the_terminal(tmp_photos, dmt) -> None:
    photos = tmp_photos(labeled=3, unlabeled=2)
    (photos / "unlabeled" / "a\x1b[31m\nb.png").write_bytes(b"no image")
    outcome = dmt("check", photos)
    assert "\x1b" not in outcome.out
    assert "\\x1b[31m\\nb.png" in outcome.out
