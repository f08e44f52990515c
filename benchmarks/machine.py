"""Where and with what numbers came about: memory of a process, versions, hardware."""

import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("skdive", "torch", "scikit-learn", "skorch", "neuralforecast", "darts", "u8darts")
PACKAGES += ("lightgbm", "aeon", "numpy")
MB = 2**20


def memory(field):
    """Resident memory of this process in bytes, on Linux: VmRSS is what it takes, VmHWM its peak.

    Not ``ru_maxrss``, which a child process inherits from the parent that started it.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split(f"{field}:")[1].split()[0]) * 1024


def versions():
    """Versions of what is installed here."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine():
    """Sentences with the date, the hardware and the versions."""
    import torch

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    hardware = f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, "
    hardware += f"{torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        hardware += f", {torch.cuda.get_device_name()}"
    software = ", ".join(f"{name} {found}" for name, found in versions().items())
    return f"{date.today()}. {hardware}. {software}."
