"""What is checked: parameters, devices and windows, each with one clear error."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from math import inf
from numbers import Real
from typing import Any

import numpy as np
import torch

from skdive.losses import LIKELIHOODS
from skdive.model import FUSIONS
from skdive.parallel import launched_process
from skdive.storage import all_finite, chunks, runs
from skdive.warning import warn
from skdive.windows import Windows, check_int

INTS = {  # parameter: least value
    "marginal_dim": 1,
    "conditional_dim": 0,
    "latent_dim": 1,
    "hidden_dim": 1,
    "max_epochs": 1,
    "batch_size": 1,
    "n_iter_no_change": 1,
    "horizon": 0,
}
FLOATS = {  # parameter: (accepted, test)
    "dropout": ("in [0, 1)", lambda v: 0 <= v < 1),
    "beta": ("finite and at least 0", lambda v: 0 <= v < inf),
    "lr": ("finite and greater than 0", lambda v: 0 < v < inf),
    "validation_fraction": ("in (0, 1)", lambda v: 0 < v < 1),
}
BOOLS = ("linear_path", "early_stopping", "autocast", "compile")
CHOICES = {"fusion": tuple(FUSIONS), "likelihood": tuple(LIKELIHOODS)}


def check_parameters(parameters: dict[str, Any]) -> None:
    """Check the parameters that an estimator has.

    Raises
    ------
    TypeError, ValueError
        Naming the parameter, its value and what is accepted.
    """
    for name, minimum in INTS.items():
        if name in parameters:
            check_int(name, parameters[name], minimum)
    for name, (accepted, test) in FLOATS.items():
        value = parameters[name]
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name} must be a number {accepted}, got {value!r}.")
        if not test(value):
            raise ValueError(f"{name} must be {accepted}, got {value!r}.")
    for name in BOOLS:
        value = parameters.get(name, False)
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{name} must be True or False, got {value!r}.")
    for name, choices in CHOICES.items():
        if name in parameters and parameters[name] not in choices:
            raise ValueError(f"{name} must be one of {choices}, got {parameters[name]!r}.")
    callbacks = parameters["callbacks"]
    if not (callbacks is None or isinstance(callbacks, list | tuple)):
        raise TypeError(f"callbacks must be a list of callbacks of skorch, got {callbacks!r}.")
    missing_label: Any = parameters.get("missing_label")
    if np.ndim(missing_label):
        raise TypeError(f"missing_label must be one label or None, got {missing_label!r}.")
    if parameters["hidden_dim"] % 4:
        raise ValueError(
            "hidden_dim must be a multiple of 4, the number of attention heads, got "
            f"{parameters['hidden_dim']}."
        )


def check_windows(windows: Windows, name: str) -> None:
    """Check that there are windows, and that what they show of the base is finite."""
    if not len(windows):
        raise ValueError(f"{name} has 0 samples; at least one window is needed.")
    if windows.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"{name} must be windows of float32 or float64, got {windows.dtype}; convert the "
            "series before it is cut into windows."
        )
    shown = slice(None) if windows.columns is None else windows.columns
    covered = chunks(windows.base, *runs(windows.starts, windows.length))
    if not all(all_finite(values[:, shown]) for values in covered):
        raise ValueError(
            f"{name} contains NaN or infinity. Fill such values or drop their time steps before "
            "the series is cut into windows."
        )


def resolve_device(device: Any) -> torch.device:
    """Turn the parameter `device` into a device that is there.

    Raises
    ------
    ValueError
        If there is no such device.
    ImportError
        If the package accelerate is asked for and not installed.
    """
    if device == "accelerate":
        return launched_process().device
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            "device must be 'auto', 'cpu', 'cuda', 'cuda:<number>' or 'accelerate', got "
            f"{device!r}."
        ) from error
    n_cuda = torch.cuda.device_count()
    there = {"cpu": True, "cuda": (found.index or 0) < n_cuda}
    if not there.get(found.type, False):
        raise ValueError(
            f"device {device!r} is not there: skdive computes on CPUs and CUDA devices, of which "
            f"this machine has {n_cuda}. Use device='auto' or 'cpu'."
        )
    return found


def can_autocast(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether steps on a device can compute in bfloat16; where not, warn and do without."""
    if dtype != torch.float32:
        warn(
            f"autocast=True, but the windows are {str(dtype).removeprefix('torch.')}, which "
            "torch.autocast leaves as it is; training goes on in full precision. Convert the "
            "series to float32 before it is cut into windows.",
        )
        return False
    if device.type != "cuda" or torch.version.hip:
        return True
    if torch.cuda.get_device_capability(device) >= (8, 0):
        return True
    warn(
        f"autocast=True, but {torch.cuda.get_device_name(device)} does not compute in bfloat16; "
        "training goes on in full precision.",
    )
    return False


def can_compile(device: torch.device) -> bool:
    """Whether there are the compilers that `torch.compile` needs; if not, warn and do without."""
    if not os.environ.get("CXX") and not any(map(shutil.which, ("g++", "clang++", "cl"))):
        missing = "C++ compiler was found (g++, clang++, or the environment variable CXX)"
    elif device.type == "cuda" and find_spec("triton") is None:
        missing = "package triton was found"
    else:
        return True
    warn(
        f"compile=True, but no {missing}, which torch.compile needs; training goes on without.",
    )
    return False
