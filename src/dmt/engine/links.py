"""Links in a run's folder, through which a run would write to where it has no business."""

from __future__ import annotations

import os
from pathlib import Path

from dmt.data.decode import shown
from dmt.errors import RunError


def refuse_links(run: Path) -> None:
    """Raise RunError if anything below the folder `run` is a link that leads out of it.

    A run appends to its record, cuts it back and removes what is left over, so a folder from a
    stranger could have it spoil any file of yours. `run` itself may be reached by a link.
    """
    limit = os.path.realpath(run).rstrip(os.sep) + os.sep
    for folder, folders, files in os.walk(run):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            if os.path.islink(path) and not os.path.realpath(path).startswith(limit):
                raise RunError(
                    f"the link {shown(path)} leaves the run's folder (it leads to "
                    f"{shown(os.path.realpath(path))}), so the run would write there: replace it "
                    "by what it leads to"
                )
