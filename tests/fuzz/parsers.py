"""Fuzzing of whatever reads text or bytes from outside, with atheris; no test, see `make fuzz`.

    python tests/fuzz/parsers.py [SECONDS [TARGET …]]   each target in a process of its own
    python tests/fuzz/parsers.py one TARGET [libFuzzer's options]

Of several targets joined by `+`, an input's first byte says which it is for: one process is then
started for all of them, which saves time where starting takes long.

A target gives a value or a DmtError. Anything else is a finding: its input and traceback are kept
in `build/fuzz/findings/`, and the run goes on. What stops a process (memory, time, a crash)
libFuzzer keeps there too. The corpus stays beside it, so that the next run goes on from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import resource
import subprocess
import sys
import time
import traceback
from pathlib import Path

HOME = Path("build/fuzz")
FINDINGS = HOME / "findings"
LIMITS = ("-max_len=4096", "-timeout=120", "-rss_limit_mb=4096", "-print_final_stats=1")


def run_one(name: str, options: list[str]) -> None:
    """Fuzz one target in this process, until libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["dmt", "yaml"]):
        from targets import TARGETS
    from dmt.errors import DmtError

    targets = [TARGETS[each] for each in name.split("+")]
    seen: set[tuple[str, str]] = set()
    readers = []
    for number, target in enumerate(targets):
        folder = HOME / "scratch" / name / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        readers.append(target.prepare(folder))
    is_alone = len(targets) == 1

    def read(content: bytes) -> None:
        if is_alone:
            readers[0](content)
        elif content:
            readers[content[0] % len(readers)](content[1:])

    def try_one(content: bytes) -> None:
        try:
            read(content)
        except DmtError:
            return
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a Rust library's panic is no Exception
            place = traceback.extract_tb(error.__traceback__)[-1]
            key = type(error).__name__, f"{place.filename}:{place.lineno}"
            if key not in seen:
                seen.add(key)
                keep(name, content, traceback.format_exc())

    corpus = HOME / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, target in enumerate(targets):
        for seed in target.seeds():
            whole = seed if is_alone else bytes([number]) + seed
            (corpus / hashlib.sha1(whole).hexdigest()).write_bytes(whole)
    FINDINGS.mkdir(parents=True, exist_ok=True)
    own = [*LIMITS, f"-artifact_prefix={FINDINGS}/{name[:40]}-"]
    atheris.Setup([sys.argv[0], *own, *options, str(corpus)], try_one)
    atheris.Fuzz()


def keep(name: str, content: bytes, trace: str) -> None:
    """Write down a finding."""
    path = FINDINGS / f"{name[:40]}-{hashlib.sha1(trace.encode()).hexdigest()[:8]}"
    path.write_bytes(content)
    path.with_suffix(".txt").write_text(trace, encoding="utf-8", errors="backslashreplace")
    print(f"FINDING in {name}: {trace.splitlines()[-1]!a}", file=sys.stderr, flush=True)


def run_all(seconds: float, names: list[str]) -> int:
    """Fuzz targets one after the other, equally long; print a line for each.

    Returns:
        How many of them found something.
    """
    if not names:
        from targets import TARGETS

        names = list(TARGETS)
    print(f"{'target':<40} {'inputs':>9} {'edges':>6} {'CPU s':>6} {'wall s':>6}  findings")
    num_bad = 0
    for name in names:
        began, used = time.perf_counter(), _cpu_seconds()
        options = [f"-max_total_time={max(1, round(seconds / len(names)))}"]
        done = subprocess.run(
            [sys.executable, __file__, "one", name, *options],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        told = done.stderr.decode(errors="replace")
        inputs = re.findall(r"number_of_executed_units: (\d+)", told) or ["0"]
        edges = re.findall(r"cov: (\d+)", told) or ["0"]
        findings = re.findall(r"FINDING in .*|ERROR: libFuzzer.*", told)
        if done.returncode and not findings:
            findings = [f"exit code {done.returncode}: {told.strip().splitlines()[-1:]}"]
        num_bad += bool(findings)
        wall, cpu = time.perf_counter() - began, _cpu_seconds() - used
        print(
            f"{name:<40} {int(inputs[-1]):>9,} {edges[-1]:>6} {cpu:>6.0f} {wall:>6.0f}  "
            f"{'; '.join(findings) or 'none'}",
            flush=True,
        )
    return num_bad


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(words: list[str]) -> int:
    """See the top of the file."""
    if words[:1] == ["one"]:
        run_one(words[1], words[2:])
        return 0
    seconds = 600.0
    with contextlib.suppress(IndexError, ValueError):
        seconds = float(words[0])
        words = words[1:]
    return min(1, run_all(seconds, words))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
