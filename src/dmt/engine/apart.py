"""The two halves of a round on two groups of ranks at once; the first group's first rank records.

How a network is trained is the runner's, how the groups hear of each other `pulse`'s. With one
process a second one takes the other half: `halves`.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from dmt.engine.half_folder import HalfFolder
from dmt.engine.interrupt import StopFlag
from dmt.engine.pulse import Pulse, Word
from dmt.engine.runtime import Runtime
from dmt.engine.stage import Stage, TrainStage, halves_of_rounds
from dmt.errors import DmtError, Interrupted, TrainingError

Train = Callable[[TrainStage, HalfFolder], None]


class Apart:
    """Has the second half of the ranks train peer b's stages while the first trains peer a's.

    A stage without another half is the first group's alone. Whatever happens to one group, both
    end their half first, or save what they have of it, and then go on or end together.

    Args:
        stages: of the run.
        path: its folder.
        runtime: of all ranks, an even number.
        crew: of this rank's group.
        stop: looked at after every step; learns what other ranks were told.
        train: trains a stage in a folder, by this rank's group.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        path: Path,
        runtime: Runtime,
        crew: Runtime,
        stop: StopFlag,
        train: Train,
    ) -> None:
        self._other_half = dict(halves_of_rounds(stages))
        self._second = {each.name for each in self._other_half.values()}
        self._runtime = runtime
        self._size = crew.world_size
        self._is_first = runtime.rank < self._size
        self._folder = HalfFolder(path, is_first=crew.is_writer and not self._is_first)
        self._stop = stop
        self._train = train
        self._pulse = Pulse(runtime.timeout)
        self._is_apart = False
        self._of_second: dict[str, list[dict[str, Any]] | DmtError] = {}

    def __enter__(self) -> Apart:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._stop.ask_others = None
        if self._is_apart and isinstance(error, Interrupted | TrainingError):
            self._meet(None, error)
        if kind is None:
            self._folder.forget()

    def take(self, stage: TrainStage, weights: Path) -> list[dict[str, Any]] | None:
        """The lines of a stage that the second group trained; [] where this group left it to the
        first one, which has recorded it; None: this group is to train it now.

        Args:
            stage: which.
            weights: where its network is written.

        Raises:
            TrainingError: something is not finite; on all ranks.
            Interrupted: a rank was told to stop; on all ranks.
            LeftAlone: a rank has ended, or does not answer.
        """
        if stage.name not in self._second:
            self._begin()
            if self._is_first:
                return None
            self._do_second(self._other_half.get(stage.name))
            return []
        if stage.name not in self._of_second:  # a session that ended between the two
            self._begin()
            if self._is_first:
                self._meet(stage, None)
            else:
                self._do_second(stage)
        found = self._of_second.pop(stage.name)
        if isinstance(found, DmtError):
            raise found
        assert weights.exists(), "it is written before the groups meet"
        return found

    def put(self, stage: TrainStage, weights: Path, events: Iterable[Mapping[str, Any]]) -> None:
        """The first group has trained a stage: wait for the second one.

        Raises:
            LeftAlone: as `take`.
        """
        self._meet(self._other_half.get(stage.name), None)

    def _begin(self) -> None:
        self._is_apart = True
        self._stop.ask_others = self._ask_others

    def _ask_others(self, number: int) -> int:
        """The signal to stop by, of this rank or another; 0: none that is known of."""
        heard = self._pulse.beat(Word(number, is_busy=1)) or Word()
        if heard.is_first_failed or heard.is_second_failed:
            return number or signal.SIGTERM
        return number or heard.signal

    def _do_second(self, stage: TrainStage | None) -> None:
        error: DmtError | None = None
        if stage is not None and not self._folder.take_up_finished(stage.name):
            try:
                self._train(stage, self._folder)
            except (Interrupted, TrainingError) as stopped:
                if not self._folder.take_up_finished(stage.name):
                    error = stopped
        self._meet(stage, error)

    def _meet(self, second: TrainStage | None, error: DmtError | None) -> None:
        """Wait until all ranks are here, and hear how it ended for both groups.

        Args:
            second: the second group's stage.
            error: what ended this group's.

        Raises:
            TrainingError, Interrupted: the first group's stage did not come to its end.
        """
        self._is_apart, self._stop.ask_others = False, None
        heard = Word(is_busy=1)
        while heard.is_busy:
            undone, failed = error is not None, isinstance(error, TrainingError)
            of_group = (undone, 0, failed, 0) if self._is_first else (0, undone, 0, failed)
            heard = self._pulse.hear(Word(self._stop.signal or 0, 0, *of_group))
        if heard.is_first_failed or heard.is_second_failed:
            self._stop.signal = None  # by which the failure has stopped the other group
        elif heard.signal:
            self._stop.signal = heard.signal
        own = json.dumps(self._folder.lines if error is None else str(error))
        first, of_second = (
            json.loads(self._runtime.first_text(own, rank)) for rank in (0, self._size)
        )
        number = heard.signal or signal.SIGTERM
        stopped: DmtError | None = None
        if heard.is_second_undone:
            is_failure = heard.is_second_failed
            stopped = TrainingError(of_second) if is_failure else Interrupted(of_second, number)
        if heard.is_first_undone:
            if heard.is_first_failed or not heard.is_second_failed:
                is_failure = heard.is_first_failed
                stopped = TrainingError(first) if is_failure else Interrupted(first, number)
            assert stopped is not None
            raise stopped
        if second is not None:
            self._of_second[second.name] = stopped or of_second
