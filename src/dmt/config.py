"""Reading settings from recipes and the command line; what they are stands in `settings`.

Below the rooms that make and use runs `engine/plan` alone sees it: what it asks takes flat
arguments.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dmt.errors import SettingError
from dmt.plain_yaml import read_yaml
from dmt.settings import Peers, Settings, Training

__all__ = [
    "PERMISSIONS",
    "Peers",
    "Settings",
    "Training",
    "changed_settings",
    "chosen_values",
    "describe",
    "differently_asked",
    "dump",
    "flat_words",
    "load_recipe",
    "may_follow_links",
    "recipe_header",
    "recipe_names",
    "resolve",
    "settings_hash",
    "with_values",
    "yaml_value",
]


# What a recipe says by another name of the same thing gives way to the person's own word: without
# this, a recipe's `steps` would make `budget=` mean nothing.
_DISPLACED = {
    "labels": ("labels_per_class", "data.labeled_list"),
    "data.labeled_list": ("labels", "labels_per_class"),
    "labels_per_class": ("labels",),
    "steps": ("initial.epochs", "student.epochs"),
    "budget": ("steps", "initial.epochs", "student.epochs"),
    "rounds": ("selection.fractions",),
    "model": ("aspp_dilations",),
}


# What allows more than is safe; a file may come from a stranger, so none can allow it to itself.
PERMISSIONS = ("trust_code", "data.follow_links")
_LONGEST = 120  # letters of a value that a sentence shows
_TEXTS = {
    "out",
    "recipe",
    "model",
    "data.group",
    "data.test_group",
    "data.labeled_list",
    "data.unlabeled",
}

# Settings that may be changed between two sessions of a run.
_MAY_CHANGE = {
    *PERMISSIONS, "dataset", "recipe", "out", "workers", "checkpoint_every", "data.memory_limit",
    "rank_timeout", "shard", "go_on", "track.to", "data.unlabeled",
}  # fmt: skip


def resolve(
    overrides: Sequence[str] | Mapping[str, Any], *, dataset: str | None, default_recipe: str | None
) -> Settings:
    """Defaults < recipe < command line; a permission counts on the command line alone.

    Args:
        overrides: `key=value` words, or a mapping of (dotted or nested) keys to values.
        dataset: DATA.
        default_recipe: the recipe of the data's layout, unless `recipe=` names another.

    Raises:
        SettingError: an unknown key or recipe (with the nearest one), or a value that a key
            does not take.
    """
    given = flat_words(overrides)
    recipe = given.get("recipe", default_recipe)
    layers = _flatten(load_recipe(str(recipe))) if recipe is not None else {}
    for key in PERMISSIONS:
        layers.pop(key, None)
    for key in (key for key in _DISPLACED if given.get(key) is not None):
        for other in _DISPLACED[key]:
            layers.pop(other, None)
    layers |= given | {"recipe": recipe}
    if dataset is not None:
        layers["dataset"] = dataset
    groups = set(_leaves(Settings, groups=True))
    known = set(_leaves(Settings)) | groups
    for key, value in layers.items():
        where = "" if key in given else f" in the recipe {recipe}"
        if key in groups:
            raise SettingError(f"{key!r}{where} is a group of settings; write {key}.NAME=value")
        if key not in known:
            near = [each for each in sorted(known) if each.endswith(f".{key}")]
            near = near or difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.5)
            several = " or ".join(near[:2])
            hint = (
                f"; did you mean {several}?"
                if near
                else "; `dmt train DATA --list-keys` lists the keys"
            )
            raise SettingError(f"unknown setting {_brief(key)!r}{where}{hint}")
        _refuse_unwritable(key, value)
    try:
        return Settings.model_validate(_nest(layers))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in _key_parts(first["loc"]))
        is_own = any(each == key or each.startswith(f"{key}.") for each in given)
        where = "" if is_own or key not in layers else f" in the recipe {recipe}"
        raise SettingError(_one_sentence(key, where, first)) from error


def flat_words(overrides: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """`key=value` words or a nested mapping as dotted keys and values.

    Raises:
        SettingError: a word is no `key=value`.
    """
    return _flatten(_parse_words(overrides) if not isinstance(overrides, Mapping) else overrides)


def may_follow_links(overrides: Sequence[str] | Mapping[str, Any]) -> bool:
    """Whether the person's own words allow links that leave the data folder.

    Asked before anything else is resolved: which recipe is meant depends on the data.

    Raises:
        SettingError: a word is no `key=value`, or this one is neither true nor false.
    """
    value = flat_words(overrides).get("data.follow_links", False)
    if not isinstance(value, bool):
        raise SettingError(f"data.follow_links={value} does not work; it takes true or false")
    return value


def load_recipe(name: str) -> dict[str, Any]:
    """The settings of a recipe: a built-in's name, or the path of a YAML file.

    Raises:
        SettingError: no such recipe, or not a YAML mapping.
    """
    names = recipe_names()
    if name in names:
        text = resources.files("dmt.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    elif Path(name).is_file():
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(
                f"the recipe {name} cannot be read as UTF-8 text: {error}"
            ) from error
    else:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "`dmt recipes` lists them"
        raise SettingError(f"there is no recipe or file {_brief(name)!r}; {hint}")
    try:
        content = read_yaml(text)
    except ValueError as error:
        raise SettingError(f"the recipe {name} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise SettingError(f"the recipe {name} must be a mapping of settings, `key: value` a line")
    return content


def recipe_names() -> list[str]:
    """The built-in recipes."""
    folder = resources.files("dmt.recipes")
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def recipe_header(name: str) -> list[str]:
    """The comment lines on top of a built-in recipe: what it is for, how long it takes."""
    text = resources.files("dmt.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    header: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        header.append(line.removeprefix("#").strip())
    return header


def changed_settings(before: Mapping[str, Any], settings: Settings) -> str | None:
    """What is different in a run's settings since it began, in words; None if nothing is.

    What moves no bit of the outcome may change: where the data lie (their content is checked),
    threads that read, memory, how often a run is saved.

    Args:
        before: as they were, `Settings.model_dump(mode="json")`; empty: not known.
        settings: as they are.
    """
    old, new = _flatten(before), _flatten(settings.model_dump(mode="json"))
    for key in sorted(old.keys() & new.keys() - _MAY_CHANGE):
        if old[key] != new[key]:
            return f"{key} was {yaml_value(old[key])} and is {yaml_value(new[key])} now"
    return None


def differently_asked(before: Mapping[str, Any], asked: Settings) -> str | None:
    """`changed_settings` of a command that is given again: what it leaves open, the run chose.

    Args:
        before: settings of the run, `Settings.model_dump(mode="json")`.
        asked: as the command says them now.
    """
    old, new = _flatten(before), _flatten(asked.model_dump(mode="json"))
    is_open = {key for key, value in new.items() if value in (None, "auto")}
    return changed_settings({k: v for k, v in old.items() if k not in is_open}, asked)


def settings_hash(settings: Settings) -> bytes:
    """Equal for settings with the same outcome on any machine, wherever its data and device."""
    flat = _flatten(settings.model_dump(mode="json"))
    of_place = _MAY_CHANGE - {"shard"}  # ranks must agree on that
    kept = {key: flat[key] for key in sorted(flat.keys() - of_place - {"device"})}
    return hashlib.sha256(repr(kept).encode()).digest()


def chosen_values(asked: Settings, settings: Settings) -> dict[str, Any]:
    """By dotted key, what `asked` left open (null or auto) and `settings` have a value for."""
    old, new = (_flatten(each.model_dump(mode="json")) for each in (asked, settings))
    return {
        key: new[key]
        for key in new.keys() - _MAY_CHANGE
        if old[key] in (None, "auto") and new[key] != old[key]
    }


def with_values(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """The settings with some of them replaced, by dotted key."""
    return Settings.model_validate(_nest(_flatten(settings.model_dump(mode="json")) | dict(values)))


def dump(settings: Settings) -> str:
    """The settings as YAML that `recipe=` reads back to the same settings."""
    return yaml.safe_dump(
        settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100
    )


def describe() -> list[tuple[str, str, str]]:
    """(key, default, meaning) of every setting, for `--help` and the docs."""
    return list(_leaves(Settings).values())


def _leaves(
    group: type[BaseModel], prefix: str = "", *, groups: bool = False
) -> dict[str, tuple[str, str, str]]:
    """Dotted key -> (key, default, meaning); with `groups`, the keys of whole groups instead."""
    found: dict[str, tuple[str, str, str]] = {}
    for name, field in group.model_fields.items():
        key = prefix + name
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if groups:
                found[key] = (key, "", "")
            found |= _leaves(kind, key + ".", groups=groups)
        elif not groups:
            found[key] = (key, yaml_value(field.default), field.description or "")
    return found


def yaml_value(value: Any) -> str:
    """A value as it is written after `key=`."""
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, (str, int, float, list, dict, type(None))):
        return repr(value)
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


def _parse_words(words: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for word in words:
        key, separator, text = word.partition("=")
        if not separator or not key:
            raise SettingError(
                f"{_brief(word)!r} is not a setting; write key=value, for example seed=1"
            )
        try:
            # A name or an expression is taken to the letter: 0001 is not 1, a date no date.
            is_plain = key in _TEXTS and not text.startswith("[") and text != "null"
            values[key] = (text if is_plain else read_yaml(text)) if text else None
        except ValueError:
            values[key] = text
    return values


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = os.fspath(value) if isinstance(value, os.PathLike) else value
    return flat


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *groups, last = key.split(".")
        place = nested
        for group in groups:
            place = place.setdefault(group, {})
            if not isinstance(place, dict):
                raise SettingError(f"{group!r} is a group of settings; write {group}.NAME=value")
        if isinstance(place.get(last), dict):
            raise SettingError(f"{key!r} is a group of settings; write {key}.NAME=value")
        place[last] = value
    return nested


def _one_sentence(key: str, where: str, error: ErrorDetails) -> str:
    message = error["msg"].removeprefix("Value error, ")
    value = _brief(yaml_value(error["input"]))
    # The words that are taken, where it takes only some.
    words = re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected", "")))
    near = difflib.get_close_matches(str(error["input"]), words, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{key}={value}{where} does not work: {message[0].lower() + message[1:]}{hint}"


def _brief(text: str) -> str:
    """`text` on one line and cut to what a sentence can hold."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _refuse_unwritable(key: str, value: Any) -> None:
    """Raise SettingError if a text cannot be the name of a file, nor be kept in one."""
    if not isinstance(value, str):
        return
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SettingError(f"{key}={_brief(ascii(value))} is not valid UTF-8; rename it") from None
    if "\0" in value:
        raise SettingError(f"{key}={_brief(ascii(value))} holds a zero byte; leave it out")


def _key_parts(location: Sequence[int | str]) -> Iterator[int | str]:
    """The location without the union branches pydantic adds after the field's name."""
    group: type[BaseModel] | None = Settings
    for part in location:
        if group is None or not isinstance(part, str) or part not in group.model_fields:
            return
        yield part
        kind = group.model_fields[part].annotation
        group = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
