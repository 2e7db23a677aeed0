"""The second process of a round, which trains the stages it is asked for. Who asks is `halves`.

Run as `python -m dmt.runs.half PARENT` by a run with parallel_peers=true, for nobody else.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import torch

from dmt.config import Settings
from dmt.data.layouts import open_catalog
from dmt.runs.materials import with_pool
from dmt.engine.half_folder import HalfFolder
from dmt.engine.listener import Quiet
from dmt.engine.runtime import open_runtime
from dmt.errors import DmtError, Interrupted
from dmt.engine.machine import die_with_parent, keep_freed_memory
from dmt.runs.session import Session


class Server:
    """Trains the stages that are asked for, until nobody asks any more."""

    def __init__(self) -> None:
        self._is_training = False

    def serve(self, lines: Iterator[str], say: Callable[[str], None]) -> None:
        """Answer every question.

        Args:
            lines: the first says which run; every other is the name of a stage.
            say: called with one line for every stage.
        """
        asked = json.loads(next(lines))
        torch.set_num_threads(asked["threads"])
        folder = HalfFolder(Path(asked["path"]))
        train: Callable[[str], None] | None = None
        for line in lines:
            try:
                train = train or _open(Settings.model_validate(asked["settings"]), folder)
                self._is_training = True
                if not folder.take_up_finished(line.strip()):
                    train(line.strip())
                self._is_training = False
            except DmtError as error:
                number = error.signal if isinstance(error, Interrupted) else None
                say(
                    json.dumps(
                        {"error": type(error).__name__, "text": str(error), "signal": number}
                    )
                )
                return
            say(json.dumps({"lines": folder.lines}))

    def end(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGTERM, which a training has heard first: it is about to save what it has."""
        if not self._is_training:
            os._exit(128 + number)


def _open(settings: Settings, folder: HalfFolder) -> Callable[[str], None]:
    assert settings.dataset is not None
    catalog = open_catalog(settings.dataset, follow_links=settings.data.follow_links)
    catalog = with_pool(catalog, settings)
    runtime = open_runtime(settings.device, settings.precision)
    return Session(catalog, settings, folder, runtime, Quiet()).as_half()


def main() -> None:
    """The second process: questions on stdin, answers on stdout; whatever else is printed goes to
    stderr."""
    die_with_parent(int(sys.argv[1]))
    keep_freed_memory()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(line: str) -> None:
        answers.write(f"{line}\n")
        answers.flush()

    server = Server()
    signal.signal(signal.SIGTERM, server.end)
    server.serve(iter(sys.stdin.readline, ""), say)


if __name__ == "__main__":
    main()
