"""SIGTERM and Ctrl-C as a flag that the loops look at, so that a run stops between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from dmt.engine.runtime import Runtime
from dmt.errors import Interrupted


class StopFlag:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None
        # Asks ranks that train something else, without waiting; given and returned: a signal or 0.
        self.ask_others: Callable[[int], int] | None = None

    def agree(self, runtime: Runtime, *, is_due: bool = False) -> bool:
        """Whether a save is due on some rank; who was asked to stop tells the others.

        So all ranks do both at the same step. The message stays on the CPU: no GPU is waited for.

        Args:
            runtime: whose ranks all ask at the same time.
            is_due: whether it is due on this one.
        """
        asked, due = self.signal or 0, int(is_due)
        if self.ask_others is not None:
            asked = self.ask_others(asked)
        if runtime.world_size > 1:
            asked, due = runtime.largest(torch.tensor([asked, due])).tolist()
        if asked:  # a flag is never taken down: a signal may come while ranks compare theirs
            self.signal = asked
        return bool(due)

    def check(self, saved: str) -> None:
        """Stop here if asked to.

        Args:
            saved: what was kept, in words.

        Raises:
            Interrupted: a signal came.
        """
        if self.signal is not None:
            name = signal.Signals(self.signal).name
            raise Interrupted(f"stopped by {name}; {saved}", self.signal)


@contextmanager
def listening() -> Iterator[StopFlag]:
    """Within, the first SIGINT or SIGTERM sets the flag; the second acts as it always did.

    Signals reach only the main thread; elsewhere the flag stays down.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        flag.signal = number
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
