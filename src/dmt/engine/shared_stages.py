"""Stages that several runs have in common: trained by one of them, found again by the others.

A stage is found by a hash of all that its outcome depends on. Which runs belong together, and so
share a store, is the business of who opens it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from dmt import faults
from dmt.engine.stage import TrainStage, Weights
from dmt.errors import RunError
from dmt.records import Record, read_json, write_bytes, write_json
from dmt.records.events import fault_in
from dmt.records.writing import make_folder


class _Kept(Record):
    """What is known of a stored network. Written after it, so it never speaks of half a one."""

    run: str
    stage: str
    sha256: str
    lines: list[dict[str, Any]]


class Elsewhere(Protocol):
    """Stages that another process trains, or has trained."""

    def take(self, stage: TrainStage, weights: Path) -> list[dict[str, Any]] | None:
        """The lines of a stage whose network is now at `weights`; None: train it here."""
        ...

    def put(self, stage: TrainStage, weights: Path, events: Iterable[Mapping[str, Any]]) -> None:
        """A stage was trained here."""
        ...


class SharedStages:
    """A folder of trained stages. Only one process may write to it at a time.

    Args:
        folder: where they are; made when the first one comes.
        run: the name of the run that takes and keeps.
        context: what a stage depends on beside its own fields, as JSON values: data and split,
            seed, views, precision, machine, versions.
    """

    def __init__(self, folder: Path, run: str, context: Mapping[str, Any]) -> None:
        self._folder = folder
        self._run = run
        self._context = context

    def take(self, stage: TrainStage, weights: Path) -> list[dict[str, Any]] | None:
        """Copy the network of an equal stage to `weights`, if one was trained before.

        Args:
            stage: which.
            weights: a file in a folder that is there; written whole or not at all.

        Returns:
            The stage's events in `metrics.jsonl` without their times, alarms left out, `shared`
            unless this run trained it before it was interrupted; None, and nothing written, where
            there is no such stage or what is kept of it is damaged.

        Raises:
            RunError: `weights` cannot be written.
        """
        if not is_shareable(stage):
            return None
        network, record = self._files(stage)
        try:
            kept = _Kept.model_validate(read_json(record))
            content = network.read_bytes()
        except (OSError, RunError, ValidationError):
            return None
        if hashlib.sha256(content).hexdigest() != kept.sha256 or any(map(fault_in, kept.lines)):
            return None
        write_bytes(weights, content)
        faults.reached("shared stage taken")
        return [line if kept.run == self._run else {**line, "shared": True} for line in kept.lines]

    def put(self, stage: TrainStage, weights: Path, events: Iterable[Mapping[str, Any]]) -> None:
        """Keep a network and what was recorded of its training, for the runs that come after.

        Args:
            stage: which; one that cannot be shared is passed over.
            weights: its network.
            events: of the run's `metrics.jsonl`, other stages' too.

        Raises:
            RunError: the disk is full or may not be written.
        """
        if not is_shareable(stage):
            return
        lines = [
            {name: value for name, value in event.items() if name != "time"}
            for event in events
            # An alarm comes again by itself: it depends on what its run has said before.
            if event.get("stage") == stage.name and event["event"] != "alarm"
        ]
        try:
            make_folder(self._folder)
            content = weights.read_bytes()
        except OSError as error:
            raise RunError(f"cannot keep {weights} in {self._folder}: {error.strerror}") from error
        network, record = self._files(stage)
        write_bytes(network, content)
        faults.reached("shared network kept")
        digest = hashlib.sha256(content).hexdigest()
        write_json(record, _Kept(run=self._run, stage=stage.name, sha256=digest, lines=lines))
        faults.reached("shared stage kept")

    def _files(self, stage: TrainStage) -> tuple[Path, Path]:
        fields = asdict(stage)
        if Path(stage.weights).is_file():  # wherever it lies, its content is what counts
            fields["weights"] = hashlib.sha256(Path(stage.weights).read_bytes()).hexdigest()
        text = json.dumps([fields, self._context], sort_keys=True, allow_nan=False)
        name = hashlib.sha256(text.encode()).hexdigest()
        return self._folder / f"{name}.safetensors", self._folder / f"{name}.json"


def is_shareable(stage: TrainStage) -> bool:
    """Whether a stage learns from given labels alone, and depends on nothing that its run made:
    round 0, baseline, oracle."""
    is_first = stage.pseudo is None and stage.start is None and not stage.needs
    is_first = is_first and stage.online is None
    return is_first and stage.weighting == Weights()
