"""What a budget of seconds buys depends on: processors and GPUs, as the kernel names them."""

from __future__ import annotations

import os
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
NVIDIA = Path("/proc/driver/nvidia/gpus")


def hardware() -> str:
    """One line, such as `x86_64, 2 x AMD EPYC, GPU NVIDIA H200`. Reads no driver and starts none."""
    processor = _value(CPUINFO, "model name") or platform.processor() or "unknown processor"
    gpus = [_value(path, "Model") or "unknown" for path in sorted(NVIDIA.glob("*/information"))]
    return ", ".join([platform.machine(), f"{os.cpu_count()} x {processor}", *(f"GPU {gpu}" for gpu in gpus)])


def _value(path: Path, key: str) -> str | None:
    """The first value of a key in a file of lines `key : value`."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)
