"""A warm process that forks one `dmt` command at a time and says how it ended. No tests here.

Importing torch costs seconds, and hundreds of runs are killed. It reads a request as a line of JSON
and answers with one; `harness.Zygote` is at the other end. It computes nothing itself, so that its
children begin as a fresh process does: one thread, no state.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any


def _warm() -> None:
    import jinja2  # noqa: F401
    import sklearn.datasets
    import torch
    import torch._dynamo  # the first optimizer imports it, for seconds
    from PIL import Image

    import dmt.api
    import dmt.cli
    import dmt.commands.live
    import dmt.insight.report  # noqa: F401

    sklearn.datasets.load_digits()
    Image.init()
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # else the collector of every child would copy all of this


def _child(request: dict[str, Any]) -> int:
    from dmt import faults
    from dmt.cli import run_command

    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    for number, name in ((1, request["out"]), (2, request["err"])):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    if request["power"] is not None:
        from power_loss import Disk

        disk = Disk(Path(request["cwd"]))
        disk.watch()

        def cut() -> None:
            disk.materialise(Path(request["power"]["to"]), request["power"]["survives"])
            os.kill(os.getpid(), signal.SIGKILL)

        faults.die = cut
    seen: list[str] = []
    if request["points"] is not None:
        original = faults.reached

        def note(point: str) -> None:
            seen.append(point)
            original(point)

        faults.reached = note
    code = run_command(request["words"])
    sys.stdout.flush()
    sys.stderr.flush()
    if request["points"] is not None:
        Path(request["points"]).write_text(json.dumps(seen))
    return code


def _serve(request: dict[str, Any]) -> dict[str, Any]:
    pid = os.fork()
    if not pid:
        try:
            os._exit(_child(request))
        except BaseException:
            traceback.print_exc()
            os._exit(70)
    began = time.monotonic()
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        after = request["kill_after"]
        if after is not None and time.monotonic() - began > after:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            break
        time.sleep(0.001)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - began,
        "out": Path(request["out"]).read_text(errors="replace"),
        "err": Path(request["err"]).read_text(errors="replace"),
    }


def main() -> None:
    """Serve until the other end closes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes elsewhere
    _warm()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        for name in ("out", "err"):
            Path(request[name]).touch()
        print(json.dumps(_serve(request)), file=answers, flush=True)


if __name__ == "__main__":
    main()
