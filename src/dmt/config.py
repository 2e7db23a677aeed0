"""Every setting, its meaning and default; reading them from recipes and the command line.

Seen by `cli`, `api` and `engine/plan` alone: everything below takes flat arguments.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from dmt.errors import SettingError


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)


class Training(_Group):
    """How one network is trained."""

    epochs: float | None = Field(
        None,
        gt=0,
        description="passes over the selected images (round 0: over the labeled ones), "
        "instead of a share of `steps`",
    )
    lr: float = Field(0.05, gt=0, description="learning rate at the start of a stage")
    lr_schedule: Literal["cosine", "poly", "constant"] = "cosine"
    warmup: int = Field(0, ge=0, description="steps over which the learning rate rises to lr")
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    ema_decay: float = Field(
        0.999, ge=0, lt=1, description="share of history kept in the averaged weights; 0 = none"
    )
    mixup: float = Field(0.75, ge=0, description="Beta's parameter; 0 = no mixup")
    keep_max: bool = Field(True, description="λ ← max(λ, 1 − λ)")


class Initial(Training):
    """Round 0, on the given labels; also the baseline and the oracle."""

    share: float | None = Field(
        None, gt=0, lt=1, description="of `steps`, for round 0; null: as much as a later round"
    )


class Student(Training):
    """The rounds, on given and pseudo labels."""

    start: Literal["fresh", "continue"] = Field(
        "continue",
        description="begin a round from new weights or the peer's own (chain: fresh)",
    )
    lr_span: Literal["stage", "run"] = Field(
        "stage",
        description="whether the schedule restarts with every round, or peers follow one over "
        "round 0 and all rounds (student.lr_span; needs student.start=continue)",
    )
    labeled_share: float = Field(
        0.125, gt=0, le=1, description="share of labeled images in a batch of the rounds"
    )


class Data(_Group):
    """What images become before a network sees them, and which are held out."""

    image_size: int | None = Field(None, ge=8, description="side in pixels; chosen if null")
    flip: bool = True
    shift: float = Field(0.125, ge=0, le=0.5, description="share of the side")
    scale: tuple[float, float] = Field((1.0, 1.0), description="zoom range of a training view")
    rotate: float = Field(0.0, ge=0, le=180, description="degrees, ±")
    fill: int | Literal["edge"] = Field("edge", description="what comes in from outside: 0–255")
    randaugment: int = Field(1, ge=0, description="operations a training view undergoes")
    magnitude: tuple[int, int] = Field((1, 10), description="of 10, drawn for every image")
    cutout: float = Field(0.0, ge=0, le=1, description="an extra cutout, share of the side")
    val_per_class: int = Field(0, ge=0, description="kept for validation when labels are hidden")
    hold_out: float = Field(
        0.2, gt=0, lt=1, description="share of the labels held out if there is no test/ or val/"
    )
    memory_limit: float = Field(
        4.0, ge=0, description="GB up to which the images are kept in memory on the device"
    )


class Selection(_Group):
    """Which pseudo labels a round trains on."""

    kind: Literal["global", "class-balanced"] = "global"
    fractions: list[Annotated[float, Field(gt=0, le=1)]] | None = Field(
        None, min_length=1, description="label fraction of every round; null: 1/R, 2/R … 1"
    )


class Weighting(_Group):
    """The exponents of the dynamic weights."""

    agreement_gamma: float = Field(4.0, ge=0)
    disagreement_gamma: float = Field(4.0, ge=0)
    ramp: bool = Field(True, description="γ · exp(−5 (1 − t/T)²) over a stage")


class Peer(_Group):
    """What one peer has of its own; null: as its twin."""

    model: str | None = None
    weights: str | None = None


class Peers(_Group):
    """The two lasting models."""

    a: Peer = Peer()
    b: Peer = Peer()
    labeled_subset: Literal["all", "dms"] = Field(
        "all", description="dms: difference-maximised sampling of the labels for round 0"
    )


class Track(_Group):
    """Where figures go besides the run's folder."""

    to: Literal["none"] = Field("none", description="others are not available yet")


def _parse_budget(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)?", value.strip())
    if not match:
        raise ValueError("give a time such as 90s, 30m or 2h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, None: 1}[match[2]]


class Settings(_Group):
    """All settings of a run; `config.yaml` is this, resolved."""

    dataset: str | None = Field(None, description="DATA, as given on the command line")
    recipe: str | None = None
    method: Literal["supervised", "self-training", "dst", "mutual", "naive", "flip", "dmt"] = "dmt"
    seed: int = Field(0, ge=0)
    out: str | None = Field(None, description="the run's folder; null: runs/<name>")
    budget: Annotated[float | None, BeforeValidator(_parse_budget)] = Field(
        None, gt=0, description="time for everything, such as 30m; chooses steps, size and model"
    )
    steps: int | None = Field(
        None, gt=0, description="optimizer steps of one peer in the whole run, round 0 included"
    )
    labels: Annotated[float, Field(gt=0)] | None = Field(
        None, description="hide all but this share (≤ 1) or number of labels, for experiments"
    )
    labels_per_class: int | None = Field(None, gt=0, description="hide all but this many a class")
    rounds: int = Field(5, ge=1)
    schedule: Literal["pair", "chain"] = "pair"
    model: str = Field("auto", description="wrn_D_W, any timm classifier, package.module:factory")
    peers: Peers = Peers()
    weights: str = Field(
        "none", description="none, pretrained, auto (pretrained where it can be had)"
    )
    init_from: str | None = Field(None, description="not available yet")
    baseline: Literal["equal", "pair", "round0", "none"] = Field(
        "equal", description="what is trained on the labels alone, to compare with"
    )
    oracle: bool = Field(False, description="also train on all labels, hidden ones included")
    folds: int = Field(0, ge=0, description="judge on all labels by this many runs; 0 = off")
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    workers: int | None = Field(
        None, ge=0, description="threads that decode; null: as many as cores"
    )
    batch_size: int = Field(128, ge=2)
    parallel_peers: Literal[False] = Field(False, description="true is not available yet")
    checkpoint_every: float = Field(300.0, gt=0, description="seconds")
    bad_images: Literal["stop", "skip"] = "stop"
    trust_code: bool = Field(False, description="run a factory that only a run's config names")
    initial: Initial = Initial()
    student: Student = Student()
    data: Data = Data()
    selection: Selection = Selection()
    weighting: Weighting = Weighting()
    track: Track = Track()


# What a recipe says by another name of the same thing gives way to the person's own word: without
# this, a recipe's `steps` would make `budget=` mean nothing.
_DISPLACED = {
    "labels": ("labels_per_class",),
    "labels_per_class": ("labels",),
    "steps": ("initial.epochs", "student.epochs"),
    "budget": ("steps", "initial.epochs", "student.epochs"),
    "rounds": ("selection.fractions",),
}


def resolve(
    overrides: Sequence[str] | Mapping[str, Any], *, dataset: str | None, default_recipe: str | None
) -> Settings:
    """Defaults < recipe < command line.

    Args:
        overrides: `key=value` words, or a mapping of (dotted or nested) keys to values.
        dataset: DATA.
        default_recipe: the recipe of the data's layout, unless `recipe=` names another.

    Raises:
        SettingError: an unknown key or recipe (with the nearest one), or a value that a key
            does not take.
    """
    given = _flatten(_parse_words(overrides) if not isinstance(overrides, Mapping) else overrides)
    recipe = given.get("recipe", default_recipe)
    layers = _flatten(load_recipe(str(recipe))) if recipe is not None else {}
    for key in (key for key in _DISPLACED if given.get(key) is not None):
        for other in _DISPLACED[key]:
            layers.pop(other, None)
    layers |= given | {"recipe": recipe}
    if dataset is not None:
        layers["dataset"] = dataset
    groups = set(_leaves(Settings, groups=True))
    known = set(_leaves(Settings)) | groups
    for key in layers:
        if key in groups:
            raise SettingError(f"{key!r} is a group of settings; write {key}.NAME=value")
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else "; `dmt train --help` lists the keys"
            raise SettingError(f"unknown setting {key!r}{hint}")
    try:
        return Settings.model_validate(_nest(layers))
    except ValidationError as error:
        raise SettingError(_one_sentence(error.errors()[0])) from error


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
        raise SettingError(f"there is no recipe or file {name!r}; {hint}")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingError(
            f"the recipe {name} is not YAML: {' '.join(str(error).split())}"
        ) from error
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
    if not isinstance(value, (str, int, float, list, dict, type(None))):
        return repr(value)
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


def _parse_words(words: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for word in words:
        key, separator, text = word.partition("=")
        if not separator or not key:
            raise SettingError(f"{word!r} is not a setting; write key=value, for example seed=1")
        try:
            values[key] = yaml.safe_load(text) if text else None
        except yaml.YAMLError:
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


def _one_sentence(error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in _key_parts(error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    return f"{key}={yaml_value(error['input'])} does not work: {message[0].lower() + message[1:]}"


def _key_parts(location: Sequence[int | str]) -> Iterator[int | str]:
    """The location without the union branches pydantic adds after the field's name."""
    group: type[BaseModel] | None = Settings
    for part in location:
        if group is None or not isinstance(part, str) or part not in group.model_fields:
            return
        yield part
        kind = group.model_fields[part].annotation
        group = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
