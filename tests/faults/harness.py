"""How a run is killed, resumed and compared with the one that nobody killed. No tests here."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from zlib import crc32

from dmt.faults import POINTS, SWITCH
from trees import save_image, scene, write_image_masks

KILLED = -signal.SIGKILL
# Reached only by a session that goes on with a run.
OF_RESUMING = ("session resumed", "metrics.jsonl cuts", "metrics.jsonl cut")
# Reached only by the runs of a comparison.
OF_COMPARING = ("shared network kept", "shared stage kept", "shared stage taken")
_EVERY_STEP = "checkpoint_every=1e-9"
_CLOCK = re.compile(r"time|seconds|.*_seconds|images_per_second")


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    seconds: float
    out: str
    err: str


class Zygote:
    """A warm process that forks commands; see `zygote`."""

    def __init__(self) -> None:
        self._scratch = Path(tempfile.mkdtemp(prefix="dmt-zygote-"))
        here = Path(__file__).parent
        paths = [str(here), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, str(here / "zygote.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ
            | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        assert self._read() == {"ready": True}

    def __enter__(self) -> Zygote:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()
        shutil.rmtree(self._scratch)

    def call(
        self,
        words: Sequence[object],
        cwd: Path,
        *,
        crash_at: str | None = None,
        kill_after: float | None = None,
        power: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run `dmt words…` in a folder until it ends or is killed.

        Args:
            words: of the command.
            cwd: the folder.
            crash_at: a point of `dmt.faults`, NAME@N for the N-th time.
            kill_after: seconds until SIGKILL.
            power: `to` and `survives` of `power_loss.Disk`: at the point the power goes.
        """
        return Ended(**self._ask(words, cwd, crash_at, kill_after, power, None))

    def points(self, words: Sequence[object], cwd: Path, crash_at: str = "") -> Counter[str]:
        """How often each point is reached by a command that ends well."""
        path = self._scratch / "points"
        ended = Ended(**self._ask(words, cwd, crash_at, None, None, str(path)))
        assert ended.code == 0, ended.err
        return Counter(json.loads(path.read_text()))

    def _ask(
        self,
        words: Sequence[object],
        cwd: Path,
        crash_at: str | None,
        kill_after: float | None,
        power: Mapping[str, str] | None,
        points: str | None,
    ) -> Any:
        assert self._process.stdin is not None
        request = {
            "words": [str(word) for word in words],
            "cwd": str(cwd),
            "env": {SWITCH: crash_at or ""},
            "out": str(self._scratch / "out"),
            "err": str(self._scratch / "err"),
            "kill_after": kill_after,
            "power": power,
            "points": points,
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the zygote has died"
        return json.loads(line)


class Case(NamedTuple):
    """A short run to be killed."""

    name: str
    words: tuple[str, ...]

    @property
    def train(self) -> tuple[str, ...]:
        """The command that begins it, in the folder `run`."""
        return ("train", *self.words, "out=run")


class Whole(NamedTuple):
    """The run that nobody killed: where it lies, how often it reached each point, how long."""

    case: Case
    run: Path
    points: Counter[str]
    seconds: float


def cases(data: Path) -> dict[str, Case]:
    """Both tasks with both schedules, and folders whose images are read by threads.

    Args:
        data: an empty folder, for images.
    """
    scenes = write_image_masks(data / "scenes", 4, 4, 2, 2, size=(40, 48))
    photos = _write_photos(data / "photos")
    digits = ("digits", "steps=6", "rounds=1", "model=wrn_10_1", "batch_size=16", "device=cpu",
              "data.val_per_class=2", _EVERY_STEP)  # fmt: skip
    masks = ("steps=4", "rounds=1", "model=deeplab_v2:wrn_10_1:1-3", "batch_size=2",
             "data.crop=32", "device=cpu", _EVERY_STEP)  # fmt: skip
    streamed = ("data.memory_limit=0", "workers=1")
    listed = [
        Case("digits-pair", (*digits, "schedule=pair")),
        Case(
            "digits-online",
            (*digits, "method=dmt-online", "baseline=none", "selection.fractions=[0.5]"),
        ),
        Case("digits-chain", (*digits, "schedule=chain", "student.optimizer=adamw")),
        Case("scenes-pair", (str(scenes), *masks, "schedule=pair")),
        Case("scenes-chain", (str(scenes), *masks, "schedule=chain", "student.lr_span=stage")),
        Case("scenes-streamed", (str(scenes), *masks, "schedule=pair", *streamed)),
        Case(
            "photos-streamed",
            (str(photos), "steps=6", "rounds=1", "model=wrn_10_1", "batch_size=8", "device=cpu",
             "data.image_size=16", "data.val_per_class=0", _EVERY_STEP, *streamed),
        ),
        Case("shapes-pair", ("shapes:32", *masks, "schedule=pair")),
    ]  # fmt: skip
    return {case.name: case for case in listed}


def _write_photos(root: Path) -> Path:
    for part, count in (("labeled", 6), ("unlabeled", 12), ("test", 6)):
        for index in range(count):
            image, _ = scene(100 * len(part) + index, (24, 24), 3)
            kind = "" if part == "unlabeled" else ("red", "green")[index % 2]
            save_image(root / part / kind / f"{index:02d}.png", image)
    return root


def undisturbed(zygote: Zygote, case: Case, folder: Path) -> Whole:
    """Do a run in `folder` without killing it."""
    folder.mkdir(parents=True)
    began = time.monotonic()
    points = zygote.points(case.train, folder)
    return Whole(case, folder / "run", points, time.monotonic() - began)


def finish(zygote: Zygote, case: Case, folder: Path) -> list[str]:
    """Go on until the run in `folder` is done; what was needed: `again`, `resume`."""
    needed = []
    ended = zygote.call(("resume", "run"), folder)
    if ended.code == 2 and not (folder / "run" / "data.json").exists():
        sentence = ended.err.strip()
        assert "\n" not in sentence, sentence
        assert re.match(
            r"dmt: run (holds only the beginning of a run, which ended before its data were "
            r"written down; nothing is lost: start it again with `dmt train` and out=run"
            r"|is no run: it has no config.yaml)",
            sentence,
        ), sentence
        needed.append("again")
        ended = zygote.call(case.train, folder)
    else:
        needed.append("resume")
    assert ended.code == 0, (ended.code, ended.err)
    return needed


def assert_equal(run: Path, whole: Path) -> None:
    """Two runs ended the same but for the clock: every file, every bit, every line once."""
    found, wanted = _files(run), _files(whole)
    assert sorted(found) == sorted(wanted)
    for name, content in wanted.items():
        if name == "metrics.jsonl":
            lines, expected = (
                [timeless(json.loads(line)) for line in each.splitlines()]
                for each in (found[name], content)
            )
            assert lines == expected
        elif name == "summary.json":
            assert timeless(json.loads(found[name])) == timeless(json.loads(content))
        elif name == "checkpoint/progress.json":
            assert json.loads(found[name])["finished"] == json.loads(content)["finished"]
        elif name not in {"report.html", "config.yaml", ".lock"}:
            assert found[name] == content, name
    # Threads that read may be other ones; a session may have written it to say so.
    assert _unthreaded(found["config.yaml"]) == _unthreaded(wanted["config.yaml"])


def set_workers(run: Path, number: int) -> None:
    """Say in a run's settings how many threads read its images from now on."""
    path = run / "config.yaml"
    if path.exists():
        path.write_text(re.sub(r"(?m)^workers: .*$", f"workers: {number}", path.read_text()))


def timeless(value: Any) -> Any:
    """A value of JSON without what a clock says."""
    if isinstance(value, dict):
        return {key: timeless(each) for key, each in value.items() if not _CLOCK.fullmatch(key)}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def occurrence(point: str, counts: Counter[str], salt: str) -> str:
    """One of the times that a run reaches a point, always the same one, as `NAME@N`."""
    return f"{point}@{1 + crc32(f'{point} {salt}'.encode()) % counts[point]}"


def points_of(whole: Whole) -> list[str]:
    """The points that a run reaches, in the order of the table, those of resuming included."""
    return [point for point in POINTS if whole.points[point] or point in OF_RESUMING]


def kill_at(zygote: Zygote, whole: Whole, point: str, folder: Path) -> None:
    """Begin a run in `folder` and end it at a point, in a second session where it must be."""
    folder.mkdir(parents=True)
    if point in OF_RESUMING:
        # The record has a line then that no checkpoint knows of.
        first = occurrence("step recorded", whole.points, whole.case.name)
        assert zygote.call(whole.case.train, folder, crash_at=first).code == KILLED
        ended = zygote.call(("resume", "run"), folder, crash_at=point)
    else:
        at = point if "@" in point else occurrence(point, whole.points, whole.case.name)
        ended = zygote.call(whole.case.train, folder, crash_at=at)
    assert ended.code == KILLED, (point, ended)


def _files(run: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file()
    }


def _unthreaded(config: bytes) -> bytes:
    return re.sub(rb"(?m)^workers: .*$", b"", config)
