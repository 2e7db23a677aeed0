"""Reading settings: words, recipes, what displaces what, and the sentences of refusal."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from dmt.config import (
    Settings,
    describe,
    dump,
    load_recipe,
    recipe_header,
    recipe_names,
    resolve,
    yaml_value,
)
from dmt.errors import SettingError


def settings(*words: str, recipe: str | None = None) -> Settings:
    return resolve(words, dataset="data", default_recipe=recipe)


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("seed=3", "seed", 3),
        ("oracle=true", "oracle", True),
        ("budget=90s", "budget", 90.0),
        ("budget=30m", "budget", 1800.0),
        ("budget=1.5h", "budget", 5400.0),
        ("budget=1d", "budget", 86400.0),
        ("budget=45", "budget", 45.0),
        ("steps=", "steps", None),
        ("model=a.b:c", "model", "a.b:c"),
        ("out=null", "out", None),
        ("labels=0.125", "labels", 0.125),
        ("workers=0", "workers", 0),
    ],
)
def test_word(word: str, key: str, value: Any) -> None:
    assert getattr(settings(word), key) == value


def test_dotted_words_reach_their_group_alone() -> None:
    found = settings("student.lr=0.5", "data.scale=[0.5, 2]", "peers.b.model=wrn_16_1")
    assert found.student.lr == 0.5
    assert found.initial.lr == Settings().initial.lr
    assert found.data.scale == (0.5, 2.0)
    assert (found.peers.a.model, found.peers.b.model) == (None, "wrn_16_1")


def test_later_layers_win() -> None:
    recipe = load_recipe("digits")
    assert settings(recipe="digits").batch_size == recipe["batch_size"] != Settings().batch_size
    assert settings("batch_size=7", recipe="digits").batch_size == 7
    assert settings("seed=1", "seed=2").seed == 2
    assert settings("recipe=photos", recipe="digits").recipe == "photos"


def test_words_mappings_and_nesting_are_the_same() -> None:
    expected = settings("student.lr=0.5", "seed=3")
    for overrides in ({"student.lr": 0.5, "seed": 3}, {"student": {"lr": 0.5}, "seed": 3}):
        assert resolve(overrides, dataset="data", default_recipe=None) == expected


def test_paths_are_taken_as_text() -> None:
    found = resolve({"out": PurePosixPath("a/b")}, dataset=None, default_recipe=None)
    assert found.out == "a/b"


@pytest.mark.parametrize(
    ("recipe", "word", "gone"),
    [
        ("labels_per_class: 4", "labels=100", ["labels_per_class"]),
        ("labels: 0.5", "labels_per_class=4", ["labels"]),
        ("steps: 100", "budget=5m", ["steps"]),
        ("initial: {epochs: 3}\nstudent: {epochs: 3}", "steps=9",
         ["initial.epochs", "student.epochs"]),
        ("initial: {epochs: 3}\nstudent: {epochs: 3}", "budget=5m",
         ["initial.epochs", "student.epochs"]),
    ],
)  # fmt: skip
def test_own_word_displaces_the_recipes_rival(
    recipe: str, word: str, gone: list[str], tmp_path: Path
) -> None:
    """`dmt train digits budget=1m` must not train for the recipe's own number of steps."""
    (tmp_path / "r.yaml").write_text(recipe)
    found = settings(f"recipe={tmp_path / 'r.yaml'}", word)
    for key in gone:
        value: Any = found
        for part in key.split("."):
            value = getattr(value, part)
        assert value is None
    # Without the word the recipe's value is there, and a null displaces nothing.
    nothing = word.partition("=")[0] + "="
    assert settings(f"recipe={tmp_path / 'r.yaml'}", nothing) != found


def test_person_may_still_contradict_themselves() -> None:
    found = settings("labels=100", "labels_per_class=3")
    assert (found.labels, found.labels_per_class) == (100, 3)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("sed=1", "unknown setting 'sed'; did you mean seed?"),
        ("student.learning_rate=1", "unknown setting 'student.learning_rate'; did you mean"),
        ("zzzzzz=1", "unknown setting 'zzzzzz'; `dmt train DATA --list-keys` lists the keys"),
        ("lr=3", "unknown setting 'lr'; did you mean initial.lr or student.lr?"),
        ("seed", "'seed' is not a setting; write key=value, for example seed=1"),
        ("=3", "'=3' is not a setting"),
        ("student=3", "'student' is a group of settings; write student.NAME=value"),
        ("budget=later", "budget=later does not work: give a time such as 90s, 30m or 2h"),
        ("oracle=perhaps", "oracle=perhaps does not work: input should be a valid boolean"),
        ("data.scale=[1]", "data.scale=[1] does not work"),
        ("selection.fractions=[0.5,3]", "selection.fractions=3 does not work"),
        ("selection.fractions=[]", "selection.fractions=[] does not work"),
        ("data.fill=grey", "data.fill=grey does not work"),
        ("seed={", "seed="),
    ],
)
def test_refusal_is_one_sentence(word: str, sentence: str) -> None:
    with pytest.raises(SettingError) as error:
        settings(word)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert "pydantic" not in str(error.value)


def test_value_that_yaml_cannot_write_is_shown_all_the_same() -> None:
    with pytest.raises(SettingError, match="seed=<object"):
        resolve({"seed": object()}, dataset=None, default_recipe=None)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"\xff", "cannot be read as UTF-8 text"),
        (b"a: [", "is not YAML"),
        (b"", "must be a mapping"),
        (b"- 1", "must be a mapping"),
    ],
)
def test_recipe_file_that_cannot_be_used(content: bytes, part: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingError, match=part) as error:
        settings(f"recipe={path}")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(SettingError, match="did you mean digits"):
        settings("recipe=digit")


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_resolves_and_survives_its_dump(name: str, tmp_path: Path) -> None:
    found = settings(f"recipe={name}")
    (tmp_path / "config.yaml").write_text(dump(found))
    again = settings(f"recipe={tmp_path / 'config.yaml'}")
    assert again.model_copy(update={"recipe": name}) == found
    assert recipe_header(name), "says on top what it is for"


def test_every_key_is_described_once_and_can_be_set() -> None:
    described = describe()
    keys = [key for key, _, _ in described]
    assert len(keys) == len(set(keys))
    promised = (
        "recipe method seed out budget steps labels labels_per_class rounds schedule model weights "
        "init_from baseline oracle folds device precision workers batch_size parallel_peers "
        "checkpoint_every bad_images trust_code student.start student.lr student.lr_schedule "
        "student.optimizer student.ema_decay student.mixup track.to"
    )
    assert set(promised.split()) <= set(keys)
    assert settings(*(f"{key}={default}" for key, default, _ in described if key != "recipe"))


@pytest.mark.parametrize(
    ("value", "text"),
    [((1.0, 2.0), "[1.0, 2.0]"), (None, "null"), ("edge", "edge"), (True, "true"), (3, "3")],
)
def test_yaml_value(value: Any, text: str) -> None:
    assert yaml_value(value) == text
    assert yaml.safe_load(text) == (list(value) if isinstance(value, tuple) else value)


def test_unknown_key_in_a_group_is_refused_without_resolve() -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        Settings.model_validate({"student": {"lrr": 1}})
