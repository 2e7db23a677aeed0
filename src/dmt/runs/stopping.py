"""What a run that cannot go on says and leaves behind. Who notices that it cannot is `engine`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from dmt.data.decode import shown
from dmt.engine.finite import NotFiniteError
from dmt.engine.folder import RunFolder
from dmt.engine.outcome import RunFacts, summarize_stopped
from dmt.engine.runtime import Runtime
from dmt.engine.stage import Stage
from dmt.engine.task import Task
from dmt.errors import DataError, RunError, TrainingError
from dmt.insight.report import write_report
from dmt.records import METRICS, SUMMARY, is_finished, read_metrics, write_json


@contextmanager
def stopping(
    folder: RunFolder,
    facts: RunFacts,
    task: Task,
    stages: Sequence[Stage],
    paths: Sequence[str],
    runtime: Runtime,
) -> Iterator[None]:
    """Within, a run that cannot go on says in its folder why, and how it might.

    Args:
        folder, facts, task, stages, runtime: of the run.
        paths: of the images by id.

    Raises:
        TrainingError: something is not finite; on all ranks alike.
        DataError: an image or a mask has vanished or changed.
    """
    try:
        try:
            yield
        except NotFiniteError as error:  # the runner names those of its stages
            sentence = error.told("the last evaluation", lambda id: shown(paths[id]))
            raise TrainingError(sentence) from error
    except TrainingError as error:
        if runtime.is_writer and not is_finished(folder.path):
            _write_stopped(folder, facts, task, stages, str(error), runtime)
        runtime.barrier()  # a launcher ends all ranks as soon as it sees one gone
        raise
    except DataError as error:
        raise DataError(
            f"{error}; put it back as it was, then `dmt resume {folder.path}` goes on"
        ) from error


def _write_stopped(
    folder: RunFolder,
    facts: RunFacts,
    task: Task,
    stages: Sequence[Stage],
    reason: str,
    runtime: Runtime,
) -> None:
    with suppress(RunError):  # a full disk or a damaged record must not hide the reason
        summary = summarize_stopped(
            facts,
            task,
            stages,
            folder.progress.finished,
            reason,
            read_metrics(folder.path / METRICS),
            runtime,
            folder.seconds,
        )
        write_json(folder.path / SUMMARY, summary)
        write_report(folder.path)
