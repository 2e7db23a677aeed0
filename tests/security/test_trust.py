"""Code that only a file names is not run, by any command that reads a config, unless allowed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import call, refused
from dmt.api import evaluate, load, resume, train
from dmt.errors import SettingError

_CODE = """
import pathlib, torch
pathlib.Path("THE-CODE-RAN").touch()
def build(num_classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, num_classes))
"""
_RECIPE = "model: strangers:build\nsteps: 2\nrounds: 1\nbatch_size: 8\nbaseline: none\n"
WORDS = ("digits", "recipe=stranger.yaml", "labels_per_class=2", "data.image_size=8", "device=cpu")
REFUSAL = "is code that only a file names; read it, then allow it with trust_code=true"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a stranger's recipe and code, in which the command is run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "strangers.py").write_text(_CODE)
    (tmp_path / "stranger.yaml").write_text(_RECIPE)
    yield tmp_path
    sys.modules.pop("strangers", None)


@pytest.fixture
def run(here: Path) -> Path:
    """A finished run of that code, which was allowed once; since then nobody has run it."""
    assert call("train", *WORDS, "trust_code=true", "out=run").code == 0
    sys.modules.pop("strangers")
    (here / "THE-CODE-RAN").unlink()
    return here / "run"


def not_run() -> bool:
    return "strangers" not in sys.modules and not Path("THE-CODE-RAN").exists()


@pytest.mark.parametrize(
    "key", ["model: strangers:build", "peers: {a: {model: strangers:build}}",
            "peers: {b: {model: strangers:build}}", "peers.b.model: strangers:build"],
)  # fmt: skip
@pytest.mark.parametrize("permission", ["", "trust_code: true\n"])
def test_a_recipe_cannot_name_code_nor_trust_itself(key: str, permission: str, here: Path) -> None:
    text = _RECIPE.replace("model: strangers:build\n", key + "\n" + permission)
    (here / "stranger.yaml").write_text(text + ("model: wrn_10_1\n" if "peers" in key else ""))
    refused("train", [*WORDS, "out=run"], "model=strangers:build", REFUSAL)
    with pytest.raises(SettingError, match="trust_code=true"):
        train("digits", recipe="stranger.yaml", labels_per_class=2, out="run")
    assert not_run()
    assert not Path("run").exists()


def test_the_person_may_name_it_or_trust_the_file(here: Path) -> None:
    assert call("train", *WORDS, "model=strangers:build", "out=one").code == 0
    assert call("train", *WORDS, "trust_code=true", "out=two").code == 0
    refused("train", [*WORDS, "peers.a.model=wrn_10_1", "out=three"], REFUSAL)


def test_a_runs_folder_asks_again_for_every_command(run: Path, tmp_photos) -> None:
    image = tmp_photos() / "unlabeled" / "0000.png"
    for text in ("", "trust_code: true\n"):
        config = run / "config.yaml"
        config.write_text(config.read_text().replace("trust_code: false\n", text))
        refused("evaluate", [run, "digits"], "strangers:build", "trust_code=true")
        refused("predict", [run, image], "strangers:build", "trust_code=true")
        refused("train", ["digits", f"recipe={config}", "out=again"], REFUSAL)
        for use in (lambda: load(run), lambda: evaluate(run, "digits")):
            with pytest.raises(SettingError, match="trust_code=true"):
                use()
        assert call("report", run).code == 0
        assert not_run()
    (run / "summary.json").unlink()
    refused("resume", [run], REFUSAL)
    with pytest.raises(SettingError, match="trust_code=true"):
        resume(run)
    assert not_run()


def test_a_review_and_a_start_from_a_run_ask_again(run: Path) -> None:
    refused("review", [run, "device=cpu"], "strangers:build")
    refused("review", [run, "--audit", "folds=2", "device=cpu"], "strangers:build")
    words = ["digits", "labels_per_class=2", "steps=2", "rounds=1", "device=cpu", "out=next"]
    refused("train", [*words, "data.image_size=8", f"init_from={run}"], REFUSAL)
    assert not_run()
    assert call("review", run, "device=cpu", "show=3", "trust_code=true").code == 0


def test_weights_that_name_code_do_not_run_it(run: Path) -> None:
    """The weights file says which network it holds, whatever the config says."""
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("model: strangers:build", "model: wrn_10_1"))
    refused("evaluate", [run, "digits"], "strangers:build", "trust_code=true")
    assert not_run()


@pytest.mark.parametrize(
    "spec", ["unet:strangers", "unet:tu-hf-hub:a/b", "deeplab_v2:hf-hub:a/b", "timm:hf-hub:a/b",
             "hf-hub:a/b", "local-dir:/tmp", "strangers", "../strangers:build",
             "strangers.py:build"],
)  # fmt: skip
def test_names_that_are_nearly_code(spec: str, here: Path, tmp_path: Path) -> None:
    """Whatever is no factory's path must not end up as one, nor as a download."""
    (here / "stranger.yaml").write_text(_RECIPE.replace("strangers:build", f"'{spec}'"))
    refused("train", [*WORDS, "out=run"], spec.removeprefix("timm:").split(":tu-")[0])
    assert not_run()
