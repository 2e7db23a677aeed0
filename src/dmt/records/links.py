"""What a run's folder from a stranger may not hold: links that leave it, pipes and devices."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from dmt.errors import RunError
from dmt.escapes import visible


def refuse_links(run: Path) -> None:
    """Raise RunError if anything below the folder `run` leads out of it, or has no end.

    A run appends to its record, cuts it back and removes what is left over, so a folder from a
    stranger could have it spoil any file of yours; and whoever reads a pipe or a device there
    waits for ever. `run` itself may be reached by a link.
    """
    limit = os.path.realpath(run).rstrip(os.sep) + os.sep
    for folder, folders, files in os.walk(run):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            if os.path.islink(path) and not os.path.realpath(path).startswith(limit):
                raise RunError(
                    f"the link {visible(path)} leaves the run's folder (it leads to "
                    f"{visible(os.path.realpath(path))}): replace it by what it leads to"
                )
            if not os.path.isdir(path) and not _is_plain(path):
                raise RunError(
                    f"{visible(path)} is a pipe or a device, which no run makes: remove it"
                )


def _is_plain(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:  # gone by now, or a link to nothing
        return True
