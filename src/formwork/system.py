"""What wall-clock figures were measured on."""

import os
import platform
from pathlib import Path

GPUS = ("nvidia[0-9]*", "kfd", "dxg")  # in /dev: those of NVIDIA, of AMD, and of Windows' Linux


def machine() -> str:
    """CPU, cores that this process may use, and the first GPU that torch would use."""
    return ", ".join([cpu(), f"cores {cores()}", *_gpu()])


def _gpu() -> list[str]:
    if not any(path for name in GPUS for path in Path("/dev").glob(name)):
        return []
    import torch  # which takes seconds: not where there is no GPU

    return [torch.cuda.get_device_name(0)] if torch.cuda.is_available() else []


def cpu() -> str:
    """The name of its model."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cores() -> int:
    """That this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1
