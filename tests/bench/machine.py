"""What the benchmarks ran on, and how much memory of it a process takes (Linux)."""

import platform
import re
from pathlib import Path

import torch

from mofa_lib.profiles import has_bfloat16


def machine() -> dict[str, object]:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "bfloat16": has_bfloat16(),
        "torch": torch.__version__,
    }


def resident(what: str) -> float:
    """VmRSS (now) or VmHWM (the most so far), in megabytes."""
    return int(re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


def forget_peak() -> None:
    """VmHWM starts anew."""
    Path("/proc/self/clear_refs").write_text("5")
