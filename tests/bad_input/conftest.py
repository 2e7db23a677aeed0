"""What the tables of bad input share: small data to spoil, finished runs, an empty folder to be in.

Holds no tests. How a refusal must look is in `commands`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from spoiling import TINY

from commands import call
from tiny_scenes import WORDS, write_pairs
from trees import save_image

_COLORS = {"blue": (40, 70, 200), "green": (60, 190, 70)}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; a run's folder would be made in it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def whole_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with nothing wrong; nobody changes them."""
    root = tmp_path_factory.mktemp("whole") / "photos"
    random = np.random.default_rng(0)
    for name, color in _COLORS.items():
        noise = random.normal(0, 15, (7, 24, 24, 3))
        pictures = (np.array(color) + noise).clip(0, 255).astype(np.uint8)
        for index in range(3):
            save_image(root / "labeled" / name / f"{index:04d}.png", pictures[index])
        for index in range(4):
            save_image(root / "unlabeled" / f"{name}{index}.png", pictures[3 + index])
    return root


@pytest.fixture
def photos(whole_photos: Path, tmp_path: Path) -> Path:
    """`labeled/{blue,green}/000{0,1,2}.png`, `unlabeled/{blue,green}{0,…,3}.png`, to spoil."""
    return Path(shutil.copytree(whole_photos, tmp_path / "photos"))


@pytest.fixture(scope="session")
def whole_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and masks with nothing wrong; nobody changes them."""
    return write_pairs(tmp_path_factory.mktemp("whole") / "scenes", "abcdef", num_labeled=4)


@pytest.fixture
def scenes(whole_scenes: Path, tmp_path: Path) -> Path:
    """`images/{a,…,f}.png`, `masks/{a,…,d}.png` and a `classes.txt` of three, to spoil."""
    return Path(shutil.copytree(whole_scenes, tmp_path / "scenes"))


@pytest.fixture(scope="session")
def photo_run(whole_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on `whole_photos`; nobody changes it."""
    run = tmp_path_factory.mktemp("run") / "photos"
    outcome = call("train", whole_photos, *TINY, "device=cpu", f"out={run}")
    assert outcome.code == 0, outcome.err
    return run


@pytest.fixture(scope="session")
def scene_run(whole_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on `whole_scenes`; nobody changes it."""
    run = tmp_path_factory.mktemp("run") / "scenes"
    outcome = call("train", whole_scenes, *WORDS, f"out={run}")
    assert outcome.code == 0, outcome.err
    return run
