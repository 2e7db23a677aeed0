"""Every outcome of a command as an exit code and, where it went wrong, one sentence on stderr."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

import typer

from dmt.commands.printing import say
from dmt.errors import DmtError, Interrupted, LeftAlone

_OF_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


class Terminated(BaseException):
    """SIGTERM came while nobody listened for it, as between two parts of a run."""


def end_by_sentence_at_sigterm() -> None:
    """Make SIGTERM raise `Terminated` from now on, in place of ending the process without a word.

    A run that trains listens by itself (`engine.interrupt`), and saves first.
    """

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)


def exit_code(work: Callable[[], None], *, show_traceback: bool) -> int:
    """Do `work` and return 0 (done), 1 (our fault), 2 (the user's), 130 or 143 (stopped)."""
    try:
        work()
    except Interrupted as error:
        _tell(f"dmt: {error}")
        return 128 + error.signal
    except DmtError as error:
        if show_traceback:
            traceback.print_exc()
        _tell(f"dmt: {error}", is_echo=isinstance(error, LeftAlone))
        return 2
    except Terminated:
        # A launcher ends by it those that another one left.
        _tell("dmt: stopped by SIGTERM", is_echo=True)
        return 128 + signal.SIGTERM
    except (KeyboardInterrupt, typer.Abort):
        _tell("dmt: stopped by Ctrl-C")
        return 128 + signal.SIGINT
    except (BrokenPipeError, SystemExit):
        # Whoever read our output has gone, as `head` does; nothing is wrong. (That is the one
        # case in which typer exits by itself here.)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # A wrong command line; by its method, as typer keeps these classes where it likes.
        if hasattr(error, "format_message"):
            _tell(f"dmt: {_sentence(error)}")
            return 2
        return _unexpected(error, show_traceback)
    return 0


def _tell(sentence: str, *, is_echo: bool = False) -> None:
    """Say it; of the processes that train together, one does."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        from dmt.engine.meeting import is_mine_to_say

        if not is_mine_to_say(sentence, is_echo=is_echo):
            return
    say(sentence)


def _sentence(error: Any) -> str:
    context = getattr(error, "ctx", None)
    where = f"; see `{context.command_path} --help`" if context else ""
    return str(error.format_message()).rstrip(".").replace("\n", " ") + where


def _unexpected(error: Exception, show_traceback: bool) -> int:
    """What nobody raised on purpose: memory and disks are the user's to mend, the rest is ours."""
    if show_traceback:
        traceback.print_exc()
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        _tell(
            "dmt: out of memory; give a smaller batch_size=, model= or image (data.image_size=; of "
            "a segmentation data.crop=, data.max_side= or data.window=)"
        )
        return 2
    if isinstance(error, OSError) and error.errno in _OF_DISKS:
        where = f" ({error.filename})" if error.filename else ""
        _tell(
            f"dmt: the disk does not do what is asked of it{where}: {error.strerror}; free some "
            "space, make it writable or choose another place"
        )
        return 2
    _tell(
        f"dmt: a fault of ours: {type(error).__name__}: {error}"
        f"{'' if show_traceback else ' (--debug shows where)'}"
    )
    return 1
