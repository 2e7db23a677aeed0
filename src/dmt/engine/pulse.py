"""A word that all ranks exchange in the background while groups of them work by themselves.

It is how a group learns that another one was told to stop, is done, or is gone.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist

from dmt.engine.meeting import company

_EVERY = 1.0  # seconds between two words of a group that works
_LOOK_EVERY = 0.02  # seconds between two looks of one that waits


class Word(NamedTuple):
    """What a rank has to say; of all ranks' words the largest of each is heard."""

    signal: int = 0  # that it was told to stop by
    is_busy: int = 0
    is_first_undone: int = 0  # whether the first group did not end what it had to do
    is_second_undone: int = 0
    is_first_failed: int = 0  # whether that is a failure, which stops the other group too
    is_second_failed: int = 0


class Pulse:
    """All ranks' words, again and again; every rank hears the same ones in the same order.

    A rank that has ended is noticed at once, as its connection falls; one that says nothing for
    `timeout` when all others have spoken is given up. Messages go between CPUs.

    Args:
        timeout: seconds.
    """

    def __init__(self, timeout: float) -> None:
        group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout))
        assert isinstance(group, dist.ProcessGroup)
        self._group = group
        self._words = torch.zeros(0)
        self._work: dist.Work | None = None
        self._since = -_EVERY

    def beat(self, own: Word) -> Word | None:
        """Say a word if it is time to, and wait for nothing.

        Returns:
            All ranks' last word, the first time that it is known here.

        Raises:
            LeftAlone: another rank has ended, or has said nothing in time.
        """
        heard = None
        if self._work is not None and self._work.is_completed():
            heard = self._heard()
        if self._work is None and time.monotonic() - self._since > _EVERY:
            self._say(own)
        return heard

    def hear(self, own: Word) -> Word:
        """Say a word, if the last one was heard, and wait for that of all ranks.

        Raises:
            LeftAlone: as `beat`.
        """
        if self._work is None:
            self._say(own)
        assert self._work is not None
        while not self._work.is_completed():
            time.sleep(_LOOK_EVERY)
        return self._heard()

    def _say(self, own: Word) -> None:
        self._words, self._since = torch.tensor(own), time.monotonic()
        with company():
            self._work = dist.all_reduce(
                self._words, dist.ReduceOp.MAX, group=self._group, async_op=True
            )

    def _heard(self) -> Word:
        work, self._work = self._work, None
        assert work is not None
        with company():
            work.wait()
        return Word(*self._words.tolist())
