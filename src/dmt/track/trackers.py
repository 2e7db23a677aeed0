"""TensorBoard, MLflow and W&B, each as little as a run needs of it. What is sent: `tracking`.

Where they are and who may write there, their own environment variables say (docs/tracking.md).
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmt.errors import EnvironmentFault, RunError
from dmt.records import read_json, write_json

if TYPE_CHECKING:
    from dmt.track.tracking import Figure

KEPT = "tracking.json"
_PROJECT = "dmt"
_AT_ONCE = 1000  # figures a call that MLflow takes
_LONGEST = 500  # letters of a parameter that MLflow takes
_EXTRAS = {"tensorboard": "track", "mlflow": "mlflow", "wandb": "wandb"}


def require(name: str) -> None:
    """Look for a tracker's package, without loading it.

    Raises:
        EnvironmentFault: it is not installed.
    """
    try:
        is_there = find_spec(name) is not None
    except ValueError:  # as where it was taken out on purpose
        is_there = False
    if not is_there:
        raise EnvironmentFault(
            f"track.to={name} needs the package {name}, which is not installed; "
            f"pip install 'dmt[{_EXTRAS[name]}]', or leave track.to out"
        )


class TensorBoard:
    """Event files in the run's own folder."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        with warnings.catch_warnings(action="ignore"):  # its own, of what it would rather use
            self._writer: Any = SummaryWriter(str(path / "tensorboard"))
        lines = "\n".join(f"    {key}: {value}" for key, value in flat(settings).items())
        self._writer.add_text("settings", lines)
        self._num_notes = 0

    def add(self, figures: Sequence[Figure]) -> None:
        """See `Tracker`."""
        for name, value, step in figures:
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def note(self, text: str) -> None:
        """See `Tracker`."""
        self._writer.add_text("notes", text, self._num_notes)
        self._num_notes += 1

    def close(self, status: str) -> None:
        """See `Tracker`."""
        self._writer.close()


class MLflow:
    """A run on the server, or in the store, that MLFLOW_TRACKING_URI names."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient()
        self._num_notes = 0
        self._id = kept_id(path, "mlflow")
        if self._id is not None:
            self._client.update_run(self._id, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        self._id = self._client.create_run(number, run_name=path.name).info.run_id
        params = [Param(key, value[:_LONGEST]) for key, value in flat(settings).items()]
        for start in range(0, len(params), 100):
            self._client.log_batch(self._id, params=params[start : start + 100])
        keep_id(path, "mlflow", self._id)

    def add(self, figures: Sequence[Figure]) -> None:
        """See `Tracker`."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value, step in figures]
        for start in range(0, len(metrics), _AT_ONCE):
            self._client.log_batch(self._id, metrics=metrics[start : start + _AT_ONCE])

    def note(self, text: str) -> None:
        """See `Tracker`."""
        self._client.set_tag(self._id, f"note.{self._num_notes}", text)
        self._num_notes += 1

    def close(self, status: str) -> None:
        """See `Tracker`."""
        self._client.set_terminated(self._id, "FINISHED" if status == "finished" else "KILLED")


class Wandb:
    """A run of W&B, by its own settings.

    Its files lie where WANDB_DIR says and not in the run's folder: it makes links there that lead
    out of it, which a run refuses.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        import wandb

        own = wandb.Settings(console="off", silent=True, x_disable_meta=True, x_disable_stats=True)
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=path.name,
            id=kept_id(path, "wandb"),
            resume="allow",
            config=dict(settings),
            settings=own,
        )
        keep_id(path, "wandb", str(self._run.id))
        self._curves: set[str] = set()
        self._num_notes = 0

    def add(self, figures: Sequence[Figure]) -> None:
        """See `Tracker`."""
        rows: dict[tuple[str, int], dict[str, float]] = {}
        for name, value, step in figures:
            group = name.rsplit("/", 1)[0]
            if group not in self._curves:  # each stage counts its own steps
                self._curves.add(group)
                self._run.define_metric(f"{group}/*", step_metric=f"{group}/step")
            row = rows.setdefault((group, step), {f"{group}/step": step})
            row[name] = value
        for row in rows.values():
            self._run.log(row)

    def note(self, text: str) -> None:
        """See `Tracker`."""
        self._run.summary[f"note.{self._num_notes}"] = text
        self._num_notes += 1

    def close(self, status: str) -> None:
        """See `Tracker`."""
        self._run.finish(exit_code=0 if status == "finished" else 1)


def kept_id(path: Path, name: str) -> str | None:
    """What a tracker called this run when it began, so that a resumed one goes on there."""
    if not (path / KEPT).exists():
        return None
    with suppress(RunError):
        found = read_json(path / KEPT)
        if isinstance(found, dict) and found.get("to") == name and isinstance(found["id"], str):
            return str(found["id"])
    return None


def keep_id(path: Path, name: str, id_: str) -> None:
    """Write down for `kept_id` what a tracker calls this run."""
    write_json(path / KEPT, {"to": name, "id": id_})


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings by dotted key, as text; those left open are left out."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            found[f"{prefix}{key}"] = str(value)
    return found
