"""What a comparison is asked for, in words: which runs it needs, and with which settings."""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dmt.config import flat_words, yaml_value
from dmt.engine.plan import PRESETS
from dmt.errors import SettingError
from dmt.records.comparison import ORACLE, SUPERVISED
from dmt.runs.setting_checks import foreign_keys

_OWN = {  # what a run is told by the comparison, and how that is said here
    "method": "methods= names them",
    "seed": "seeds= names them",
    "oracle": "name oracle in methods=",
}
_SECOND = "peers.b.model"
_MOST = 1000  # runs; more are a slip


class Job(NamedTuple):
    """One run."""

    method: str
    labels: float | None  # None: not compared at several numbers of labels
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        labels = "" if self.labels is None else f"-l{_plain(self.labels)}"
        return f"{self.method}{labels}-s{self.seed}"


@dataclass(frozen=True)
class Question:
    """What was asked: methods, seeds and labels to compare, and settings of every run."""

    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    labels: tuple[float, ...]  # empty: one and the same, as the settings say
    out: str | None
    settings: Mapping[str, Any]

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """Methods with runs of their own: the others train supervised models and oracles."""
        return trained_of(self.methods)

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """Every run, seed by seed, so that what is interrupted holds whole seeds."""
        return tuple(
            Job(method, at, seed)
            for seed in self.seeds
            for at in self.labels or (None,)
            for method in self.trained
        )

    def words(self, job: Job, schedule: Literal["pair", "chain"] = "pair") -> dict[str, Any]:
        """The settings of one run, by dotted key, without what its method knows nothing of.

        A key that no method knows stays, so that it is refused.

        Args:
            job: the run.
            schedule: of the methods with rounds.
        """

        def foreign(method: str) -> set[str]:
            # Of two models is the second peer, which a baseline of two is compared with.
            return foreign_keys(method, [*self.settings, _SECOND], schedule)

        unknown = set.intersection(*map(foreign, self.trained))
        left_out = foreign(job.method) - unknown
        words = {key: value for key, value in self.settings.items() if key not in left_out}
        baseline = words.get("baseline") or ("equal" if self._has_baseline else "none")
        words["baseline"] = "equal" if _SECOND in left_out and baseline == "pair" else baseline
        if ORACLE in self.methods:
            words["oracle"] = True
        if job.labels is not None:
            words["labels"] = job.labels
        return words | {"method": job.method, "seed": job.seed}

    @property
    def _has_baseline(self) -> bool:
        # The gap that a method closes begins at the supervised model.
        return SUPERVISED in self.methods or ORACLE in self.methods

    def command(self, data: str | Path) -> str:
        """The command that asks this."""
        own: dict[str, Sequence[object]] = {"methods": self.methods, "seeds": self.seeds}
        if self.labels:
            own["labels"] = [_plain(each) for each in self.labels]
        words = [f"{key}={','.join(map(str, values))}" for key, values in own.items()]
        words += [f"{key}={yaml_value(value)}" for key, value in self.settings.items()]
        return shlex.join(["dmt", "compare", str(data), *words])


def trained_of(methods: Sequence[str]) -> tuple[str, ...]:
    """Of the methods of a comparison, those with runs of their own."""
    own = tuple(each for each in methods if each not in (SUPERVISED, ORACLE))
    return own or (SUPERVISED,)


def read_question(overrides: Sequence[str] | Mapping[str, Any]) -> Question:
    """The question in `key=value` words or in a mapping.

    Raises:
        SettingError: no methods, an unknown one, seeds or labels that are no numbers, or one of
            them twice.
    """
    words = flat_words(overrides)
    for key, cure in _OWN.items():
        if key in words:
            raise SettingError(f"{key}= is not for a comparison; {cure}")
    if "methods" not in words:
        known = ",".join([*PRESETS, ORACLE])
        raise SettingError(f"methods= is missing; name some of {known}")
    methods = tuple(_method(each) for each in _taken(words, "methods", "supervised,dmt"))
    seeds: tuple[int, ...] = (0, 1, 2)
    if "seeds" in words:
        seeds = tuple(_seed(each) for each in _taken(words, "seeds", "0,1,2"))
    labels: tuple[float, ...] = ()
    if words.get("labels") is not None:
        labels = tuple(_labels(each) for each in _taken(words, "labels", "40,80"))
        if len(labels) == 1:
            words["labels"], labels = labels[0], ()
    for key, values in (("methods", methods), ("seeds", seeds), ("labels", labels)):
        for value in (each for each in values if values.count(each) > 1):
            raise SettingError(f"{key}= names {value} twice; name it once")
    _check_baseline(words, methods)
    out = words.pop("out", None)
    question = Question(methods, seeds, labels, None if out is None else os.fspath(out), words)
    if len(question.jobs) > _MOST:
        raise SettingError(f"methods=, seeds= and labels= ask for {len(question.jobs)} runs; "
                           f"compare at most {_MOST} at once")  # fmt: skip
    return question


def _check_baseline(words: Mapping[str, Any], methods: Sequence[str]) -> None:
    baseline = words.get("baseline")
    if baseline == "round0":
        raise SettingError(
            "baseline=round0 sees fewer images than the methods, so that nothing can be compared "
            "with it; leave it out"
        )
    if baseline == "none" and {SUPERVISED, ORACLE} & set(methods):
        raise SettingError(
            "baseline=none trains no supervised model, which methods= asks for; leave it out"
        )


def _taken(words: dict[str, Any], key: str, example: str) -> list[Any]:
    """The values of a list, or of a text with commas, which is taken out of `words`."""
    value = words.pop(key)
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    values = [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
    if not values:
        raise SettingError(f"{key}= is empty; write for example {key}={example}")
    return values


def _method(value: Any) -> str:
    known = [*PRESETS, ORACLE]
    if value in known:
        return str(value)
    near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    raise SettingError(f"there is no method {_shown(value)}; {hint}")


def _seed(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise SettingError(
        f"seeds= holds {_shown(value)}, which is no whole number from 0; write seeds=0,1,2"
    )


def _labels(value: Any) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError):
        number = -1.0
    if 0 < number < float("inf"):
        return number
    raise SettingError(
        f"labels= holds {_shown(value)}, which is no number of labels, nor a share up to 1"
    )


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)


def _shown(value: Any) -> str:
    text = repr(str(value))
    return text if len(text) <= 80 else f"{text[:80]}…"
