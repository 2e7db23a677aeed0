"""What this machine offers and what is wrong with its installation. Nothing is changed or fetched.

torch and its companions are imported inside the checks: each may be missing or broken here.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Literal

from dmt.records import Record

MIN_PYTHON = (3, 11)
MIN_TORCH = (2, 11)
GIB = 2**30
_MEMORY_FIELDS = ("MemTotal", "MemAvailable")
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")

# Companions of torch: the first sign of a mismatched build is that one of these does not import.
COMPANIONS = {
    "torchvision": "reading some data sets and building timm models",
    "timm": "models by timm's names and pre-trained weights",
    "segmentation_models_pytorch": "segmentation models by name",
}


class Finding(Record):
    """One thing looked at. `warn`: works with a limit; `fail`: something named in `cure` is due."""

    name: str
    status: Literal["ok", "warn", "fail"]
    value: str
    cure: str = ""


def diagnose() -> list[Finding]:
    """Look at Python, torch, devices, memory, packages and folders, without any network.

    Returns:
        One finding for each thing, in an order to read; it never raises for what is broken.
    """
    checks: list[Callable[[], list[Finding]]] = [
        _python,
        _torch,
        _devices,
        _cpu,
        _memory,
        _disk,
        *(_companion_check(name, use) for name, use in COMPANIONS.items()),
        _packages,
        _weights,
        _data,
    ]
    return [finding for check in checks for finding in check()]


def _python() -> list[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < MIN_PYTHON:
        return [Finding(name="python", status="fail", value=version, cure="install Python 3.11")]
    return [Finding(name="python", status="ok", value=f"{version} at {sys.executable}")]


def _torch() -> list[Finding]:
    problem = _import_problem("torch")
    if problem:
        cure = "pip install torch"
        return [Finding(name="torch", status="fail", value=problem, cure=cure)]
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    if getattr(torch.version, "hip", None):
        build = f"ROCm {torch.version.hip}"
    if torch.backends.mps.is_built():
        build = "CPU and MPS"
    value = f"{torch.__version__} ({build})"
    if _numbers(torch.__version__)[:2] < MIN_TORCH:
        wanted = ".".join(map(str, MIN_TORCH))
        cure = f'pip install --upgrade "torch>={wanted}"'
        return [Finding(name="torch", status="fail", value=value, cure=cure)]
    return [Finding(name="torch", status="ok", value=value)]


def _devices() -> list[Finding]:
    if _import_problem("torch"):
        return []
    import torch

    from dmt.engine.runtime import has_fast_bf16

    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CUDA warns of an old driver; it is a finding below
        has_cuda = torch.cuda.is_available()
        for index in range(torch.cuda.device_count() if has_cuda else 0):
            device = torch.cuda.get_device_properties(index)
            fast = has_fast_bf16(torch.device("cuda", index))
            precision = f"precision=auto takes {'bf16' if fast else 'fp32'}"
            value = f"{device.name}, {device.total_memory / GIB:.0f} GiB, {precision}"
            found.append(Finding(name=f"cuda:{index}", status="ok", value=value))
    if torch.backends.mps.is_available():
        found.append(Finding(name="mps", status="ok", value="Apple GPU"))
    if not has_cuda and NVIDIA_DRIVER.exists():
        built = torch.version.cuda is not None
        cure = "update the NVIDIA driver" if built else "install a CUDA build of torch"
        found.append(
            Finding(
                name="cuda",
                status="warn",
                value="an NVIDIA driver that torch cannot use",
                cure=cure,
            )
        )
    return found or [Finding(name="devices", status="ok", value="CPU only")]


def _cpu() -> list[Finding]:
    num_cores = num_usable_cores()
    if _import_problem("torch"):
        return [Finding(name="cpu", status="ok", value=f"{num_cores} usable cores")]
    import torch

    from dmt.engine.runtime import has_fast_bf16

    capability = torch.backends.cpu.get_cpu_capability()
    precision = "bf16" if has_fast_bf16(torch.device("cpu")) else "fp32"
    num_threads = torch.get_num_threads()
    value = (
        f"{num_cores} usable cores, {num_threads} threads, {capability}, "
        f"precision=auto takes {precision}"
    )
    if num_threads > num_cores:
        cure = f"set OMP_NUM_THREADS={num_cores}: threads that share a core slow each other down"
        return [Finding(name="cpu", status="warn", value=value, cure=cure)]
    return [Finding(name="cpu", status="ok", value=value)]


def num_usable_cores(limit: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores this process may use, by its affinity and by a container's quota (file `limit`)."""
    if hasattr(os, "sched_getaffinity"):
        num_cores = len(os.sched_getaffinity(0))
    else:
        num_cores = os.cpu_count() or 1
    words = _text(limit).split()
    if len(words) == 2 and words[0].isdigit():
        num_cores = min(num_cores, max(1, round(int(words[0]) / int(words[1]))))
    return num_cores


def _memory() -> list[Finding]:
    table = memory_bytes()
    if table is None:
        return []
    total, free = table
    value = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    if free < 2 * GIB:
        cure = "close other programs, or take a smaller batch_size or image size"
        return [Finding(name="memory", status="warn", value=value, cure=cure)]
    return [Finding(name="memory", status="ok", value=value)]


def memory_bytes(
    table: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")
) -> tuple[int, int] | None:
    """Total and free memory in bytes, no more than a container may use; None where unknown."""
    found = [re.search(rf"^{field}:\s+(\d+) kB", _text(table), re.M) for field in _MEMORY_FIELDS]
    total, free = (int(each[1]) * 1024 if each else None for each in found)
    if total is None or free is None:
        return None
    limit, used = (_text(group / name).strip() for name in ("memory.max", "memory.current"))
    if limit.isdigit() and used.isdigit():
        return min(total, int(limit)), min(free, max(0, int(limit) - int(used)))
    return total, free


def _disk() -> list[Finding]:
    free = shutil.disk_usage(Path.cwd()).free
    value = f"{free / GIB:.1f} GiB free in {Path.cwd()}"
    if free < 2 * GIB:
        cure = "free some space, or let runs go elsewhere with out=FOLDER"
        return [Finding(name="disk", status="warn", value=value, cure=cure)]
    return [Finding(name="disk", status="ok", value=value)]


def _companion_check(name: str, use: str) -> Callable[[], list[Finding]]:
    def check() -> list[Finding]:
        version = _version(name.replace("_", "-"))
        if version is None:
            cure = f"pip install {name.replace('_', '-')}"
            if (_version("torch") or "").endswith("+cpu"):
                # Following the plain advice would walk into the trap that _companion_cure names.
                cure += " from where your CPU-only torch came from, or stay with built-in models"
            value = f"not installed; needed for {use}"
            return [Finding(name=name, status="warn", value=value, cure=cure)]
        problem = _import_problem(name)
        if problem:
            value = f"{version} cannot be imported: {problem}"
            cure = _companion_cure(name, problem)
            return [Finding(name=name, status="fail", value=value, cure=cure)]
        return [Finding(name=name, status="ok", value=version)]

    return check


def _companion_cure(name: str, problem: str) -> str:
    """The cure for a companion that is installed and broken, by what its import said."""
    if "No module named 'torch'" in problem or (name != "torchvision" and "torchvision" in problem):
        return "mend torch and torchvision first (see above)"
    if "torchvision::" in problem:
        return (
            "torch and torchvision are different builds, as when the package index's torchvision "
            "lies beside a CPU-only torch: take both from one place with pip install "
            "--force-reinstall torch torchvision (give the CPU-only index to both, or to neither), "
            "or pip uninstall torchvision timm and use the built-in models"
        )
    return f"pip install --force-reinstall {name.replace('_', '-')}"


def _packages() -> list[Finding]:
    """One finding for the plain dependencies, one for each extra, as the metadata lists them."""
    wanted: dict[str, list[str]] = {"": []}
    for requirement in metadata.requires("dmt") or []:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if name and name[0] not in {"torch", *COMPANIONS}:
            wanted.setdefault(extra[1] if extra else "", []).append(name[0])
    found = []
    for extra_name, names in wanted.items():
        missing = [each for each in names if _version(each) is None]
        title = f"extra [{extra_name}]" if extra_name else "packages"
        value = f"missing {', '.join(missing)}" if missing else f"all {len(names)} installed"
        # An extra is nobody's duty, so a missing one is told without alarm.
        status: Literal["ok", "fail"] = "fail" if missing and not extra_name else "ok"
        wish = (
            f'pip install "dmt[{extra_name}]"' if extra_name else f"pip install {' '.join(missing)}"
        )
        found.append(Finding(name=title, status=status, value=value, cure=wish if missing else ""))
    return found


def _weights() -> list[Finding]:
    """Pre-trained weights that need no network: what the hub's cache on this disk holds."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface"
    home = Path(os.environ.get("HF_HOME") or home).expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    names = sorted(
        path.name.removeprefix("models--").replace("--", "/") for path in cache.glob("models--*")
    )
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    value = f"{shown or 'none'} cached in {cache}"
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        value += ", the hub is switched off by HF_HUB_OFFLINE"
    cure = "" if names else "train once with network and the weights stay in the cache"
    return [Finding(name="weights", status="ok", value=value, cure=cure)]


def _data() -> list[Finding]:
    folder = os.environ.get("DMT_DATA")
    if not folder:
        return [Finding(name="DMT_DATA", status="ok", value="not set")]
    if not Path(folder).is_dir():
        cure = "let DMT_DATA name the folder that holds your data sets, or unset it"
        return [Finding(name="DMT_DATA", status="warn", value=f"{folder} is no folder", cure=cure)]
    names = [path.name for path in sorted(Path(folder).iterdir()) if path.is_dir()]
    value = f"{folder} holds {', '.join(names[:5]) or 'no data set'}"
    return [Finding(name="DMT_DATA", status="ok", value=value)]


def _import_problem(name: str) -> str:
    """Why a package cannot be imported, in one line, or an empty string."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    except Exception as error:  # a broken build raises OSError, RuntimeError, AttributeError, …
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return lines[0]
    return ""


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.split("+")[0]))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
