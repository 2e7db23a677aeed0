"""A warm process that forks the ranks of one `dmt` command at a time. No tests here.

Importing torch costs seconds a rank. `Ranks` is what tests use; as a program this file is the other
end, which computes nothing itself, so that its children begin as fresh processes do.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

_LIMIT = 400  # seconds: a machine may be busy with other things


class Ranks:
    """Starts `dmt` on several ranks of this machine, without a launcher that looks after them."""

    def __init__(self) -> None:
        here = Path(__file__).resolve()
        paths = [str(here.parent), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, str(here)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ
            | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )  # fmt: skip

    def __enter__(self) -> Ranks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()

    def __call__(
        self,
        folder: Path,
        num: int,
        *words: str,
        plan: Mapping[str, Mapping[Any, Any]] | None = None,
        env: Mapping[str, str] | None = None,
        envs: Mapping[str, Mapping[str, str]] | None = None,
    ) -> list[tuple[int, str]]:
        """How every rank of `dmt words…` ended, and what it said on stderr.

        Args:
            folder: where it runs.
            num: of ranks.
            plan: by rank, what it does at which of its steps: the name of a signal, or `fail`; of
                `slow`, by rank, the seconds that it sleeps at every step.
            env: variables of all ranks.
            envs: more of one rank, by rank.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        launcher = {"WORLD_SIZE": str(num), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        ranks = [
            launcher | {"RANK": str(rank), **(env or {}), **(envs or {}).get(str(rank), {})}
            for rank in range(num)
        ]
        request = {"cwd": str(folder), "words": words, "plan": plan or {}, "ranks": ranks}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the zygote has died"
        return [(code, err) for code, err in json.loads(answer)]


def said(ended: list[tuple[int, str]]) -> list[str]:
    """The sentences of all ranks."""
    return [line for _, err in ended for line in err.splitlines() if line.startswith("dmt: ")]


def _disturb(rank: str, plan: Mapping[str, Mapping[Any, Any]]) -> None:
    from dmt import faults
    from dmt.engine.finite import NotFiniteError

    num = 0

    def reached(name: str) -> None:
        nonlocal num
        if name != "step recorded":
            return
        num += 1
        time.sleep(plan.get("slow", {}).get(rank, 0))
        what = plan.get(rank, {}).get(str(num))
        if what == "fail":
            raise NotFiniteError("the gradient", step=num, num_steps=num)
        if what:
            os.kill(os.getpid(), getattr(signal, what))

    faults.reached = reached


def _child(request: dict[str, Any], env: dict[str, str], err: Path) -> int:
    from dmt.cli import run_command

    os.chdir(request["cwd"])
    sys.path.insert(0, request["cwd"])  # for a network of the test's own
    os.environ.update(env)
    for number, name in ((1, os.devnull), (2, str(err))):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    _disturb(env.get("RANK", "0"), request["plan"])
    code = run_command(request["words"])
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _serve(request: dict[str, Any]) -> list[tuple[int, str]]:
    errs = [Path(request["cwd"]) / f"rank{rank}.err" for rank in range(len(request["ranks"]))]
    pids = []
    for env, err in zip(request["ranks"], errs, strict=True):
        err.touch()
        pid = os.fork()
        if not pid:
            try:
                os._exit(_child(request, env, err))
            except BaseException:
                traceback.print_exc()
                os._exit(70)
        pids.append(pid)
    began, codes = time.monotonic(), dict.fromkeys(pids, 0)
    left = set(pids)
    while left:
        for pid in list(left):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                left.remove(pid)
                codes[pid] = os.waitstatus_to_exitcode(status)
            elif time.monotonic() - began > _LIMIT:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return [(codes[pid], err.read_text()) for pid, err in zip(pids, errs, strict=True)]


def main() -> None:
    """Serve until the other end closes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes elsewhere
    import sklearn.datasets
    import torch
    import torch._dynamo  # the first optimizer imports it, for seconds

    sklearn.datasets.load_digits()
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(_serve(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
