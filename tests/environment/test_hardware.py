"""The names of processors and GPUs, from a /proc of any kind."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from autoresearch_rl.environment import hardware as module
from autoresearch_rl.environment.hardware import hardware

CPUINFO = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9554: 64 Core\n\n"
INFORMATION = "Model: \t\t NVIDIA {}\nIRQ:   \t\t 43\nGPU UUID: \t GPU-??\nGPU Excluded:\t No\n"


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc that is still empty, on a machine with two processors."""
    monkeypatch.setattr(module, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(module, "NVIDIA", tmp_path / "gpus")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "processor", lambda: "")
    return tmp_path


def add_gpu(proc: Path, address: str, text: str) -> None:
    (proc / "gpus" / address).mkdir(parents=True)
    (proc / "gpus" / address / "information").write_text(text)


def test_processors_are_named_by_the_kernel(proc: Path) -> None:
    (proc / "cpuinfo").write_text(CPUINFO * 2)
    assert hardware() == "x86_64, 2 x AMD EPYC 9554: 64 Core"


def test_gpus_are_named_in_the_order_of_the_bus(proc: Path) -> None:
    (proc / "cpuinfo").write_text(CPUINFO)
    add_gpu(proc, "0000:4e:00.0", INFORMATION.format("H200"))
    add_gpu(proc, "0000:0f:00.0", INFORMATION.format("A100-SXM4-80GB"))
    assert hardware().endswith(", GPU NVIDIA A100-SXM4-80GB, GPU NVIDIA H200")


def test_what_has_no_name_is_unknown(proc: Path) -> None:
    assert hardware() == "x86_64, 2 x unknown processor"
    add_gpu(proc, "0000:0f:00.0", "IRQ:   \t\t 43\n")
    (proc / "gpus" / "0000:4e:00.0" / "information").mkdir(parents=True)
    (proc / "cpuinfo").mkdir()
    assert hardware() == "x86_64, 2 x unknown processor, GPU unknown, GPU unknown"


def test_odd_bytes_stay_one_line_of_text(proc: Path) -> None:
    (proc / "cpuinfo").write_bytes(b"model name\nmodel name\t: \xff\xfe\r\n")
    add_gpu(proc, "0000:0f:00.0", "Model: \t\t \n")
    assert hardware().splitlines() == [hardware()]
    assert hardware().endswith("GPU unknown")
    hardware().encode("utf-8")


def test_this_machine_is_named_the_same_each_time() -> None:
    assert hardware() == hardware()
    assert hardware().startswith(f"{platform.machine()}, {os.cpu_count()} x ")
