"""The doctor's findings: what a healthy, a bare and a broken installation are told."""

from __future__ import annotations

import importlib
import json
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from dmt.commands import doctor
from dmt.commands.doctor import Finding, diagnose

TRAP = "operator torchvision::nms does not exist"


def finding(name: str) -> Finding:
    return next(each for each in diagnose() if each.name == name)


def break_import(monkeypatch: pytest.MonkeyPatch, broken: str, error: Exception) -> None:
    genuine = importlib.import_module

    def import_module(name: str, package: str | None = None) -> object:
        if name == broken:
            raise error
        return genuine(name, package)

    monkeypatch.setattr(importlib, "import_module", import_module)


def install(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    genuine = metadata.version

    def version(name: str) -> str:
        found = versions[name] if name in versions else genuine(name)
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, "version", version)


def test_this_installation_can_train() -> None:
    findings = diagnose()
    by_name = {each.name: each for each in findings}
    assert len(by_name) == len(findings)
    assert {"python", "torch", "cpu", "disk", "packages", "weights", "DMT_DATA"} <= set(by_name)
    assert [by_name[name].status for name in ("python", "torch", "packages")] == ["ok"] * 3
    assert all(each.cure for each in findings if each.status != "ok")
    assert json.loads(json.dumps([each.model_dump() for each in findings]))[0]["name"] == "python"


def test_every_finding_is_one_line() -> None:
    assert all("\n" not in each.value + each.cure for each in diagnose())


def test_the_torchvision_trap_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, torchvision="0.29.2", timm="1.0.31")
    for name in ("torchvision", "timm"):
        break_import(monkeypatch, name, RuntimeError(TRAP))
    assert finding("timm").cure == "mend torch and torchvision first (see above)"
    found = finding("torchvision")
    assert found.status == "fail"
    assert TRAP in found.value
    assert "CPU-only" in found.cure
    assert "pip install --force-reinstall torch torchvision" in found.cure


@pytest.mark.parametrize(
    ("torch", "cure"),
    [("2.13.0", "pip install timm"), ("2.13.0+cpu", "pip install timm from where your CPU-only")],
)
def test_a_missing_companion_is_a_limit_not_a_failure(
    monkeypatch: pytest.MonkeyPatch, torch: str, cure: str
) -> None:
    install(monkeypatch, timm=None, torch=torch)
    found = finding("timm")
    assert found.status == "warn"
    assert found.cure.startswith(cure)
    assert ("CPU-only" in found.cure) == torch.endswith("+cpu")
    assert "pre-trained" in found.value


def test_a_broken_torch_is_told_and_the_rest_still_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_import(monkeypatch, "torch", OSError("libgomp.so.1: cannot open\nmore lines"))
    by_name = {each.name: each for each in diagnose()}
    assert by_name["torch"].status == "fail"
    assert by_name["torch"].value == "libgomp.so.1: cannot open"
    assert by_name["cpu"].status == "ok"
    assert "disk" in by_name


def test_an_old_torch_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    found = finding("torch")
    assert found.status == "fail"
    assert "torch>=2.11" in found.cure


def test_a_missing_package_fails_and_a_missing_extra_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, numpy=None, ruff=None)
    assert finding("packages").status == "fail"
    assert finding("packages").cure == "pip install numpy"
    assert finding("extra [dev]").status == "ok"
    assert "missing ruff" in finding("extra [dev]").value


def test_more_threads_than_cores_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 4096)
    found = finding("cpu")
    assert found.status == "warn"
    assert "OMP_NUM_THREADS=" in found.cure


@pytest.mark.parametrize(("fast", "precision"), [(True, "bf16"), (False, "fp32")])
def test_the_cpu_s_precision_is_told(
    monkeypatch: pytest.MonkeyPatch, fast: bool, precision: str
) -> None:
    import torch

    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast, raising=False)
    assert finding("cpu").value.endswith(f"precision=auto takes {precision}")


@pytest.mark.parametrize(
    ("quota", "cores"), [("50000 100000", 1), ("max 100000", None), ("", None)]
)
def test_a_container_s_quota_limits_the_cores(
    tmp_path: Path, quota: str, cores: int | None
) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text(quota)
    assert doctor.num_usable_cores(limit) == (cores or doctor.num_usable_cores(tmp_path / "none"))


def test_memory_is_read_in_bytes_and_limited_by_a_container(tmp_path: Path) -> None:
    table = tmp_path / "meminfo"
    table.write_text("MemTotal:       2048 kB\nMemAvailable:    1024 kB\n")
    assert doctor.memory_bytes(table, tmp_path) == (2**21, 2**20)
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("900000\n")
    assert doctor.memory_bytes(table, tmp_path) == (1_000_000, 100_000)
    assert doctor.memory_bytes(tmp_path / "none") is None


@pytest.mark.parametrize(("capability", "precision"), [((9, 0), "bf16"), ((7, 5), "fp32")])
def test_a_gpu_is_told_with_its_precision(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    import torch

    properties = SimpleNamespace(name="Test GPU", total_memory=24 * 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert finding("cuda:0").value == f"Test GPU, 24 GiB, precision=auto takes {precision}"


def test_a_driver_that_torch_cannot_use_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(doctor, "NVIDIA_DRIVER", tmp_path)
    assert finding("cuda").status == "warn"
    assert finding("cuda").cure == "install a CUDA build of torch"


def test_little_disk_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 2**30})())
    found = finding("disk")
    assert found.status == "warn"
    assert "out=" in found.cure


def test_cached_weights_are_found_without_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert finding("weights").value.startswith("none cached")
    (tmp_path / "models--timm--resnet18.a1_in1k").mkdir()
    assert "timm/resnet18.a1_in1k cached" in finding("weights").value


def test_the_data_folder_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DMT_DATA", raising=False)
    assert finding("DMT_DATA").value == "not set"
    monkeypatch.setenv("DMT_DATA", str(tmp_path / "gone"))
    assert finding("DMT_DATA").status == "warn"
    (tmp_path / "cifar10-jpeg").mkdir()
    monkeypatch.setenv("DMT_DATA", str(tmp_path))
    assert finding("DMT_DATA").value == f"{tmp_path} holds cifar10-jpeg"
