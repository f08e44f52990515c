"""How well skdive uses a GPU."""

import sys

import torch
from compare import Row, paired, ratio_row
from speed import LARGE, Setting
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

BATCH = LARGE | dict(batch_size=1024)


def on_gpu():
    """The setting on the GPU, if there is one."""
    if not torch.cuda.is_available():
        sys.exit("no CUDA device: the GPU cases need one.")
    return Setting(**BATCH, device="cuda")


def kernel_seconds(setting, epochs):
    """Seconds in which the GPU computes or copies during a fit."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        setting.fit(max_epochs=epochs)
    events = [e for e in profiled.events() if e.device_type == DeviceType.CUDA]
    return sum(e.time_range.elapsed_us() for e in events if not e.is_user_annotation) / 1e6


def gpu_busy(epochs=4):
    """The share of the time of training in which the GPU computes.

    The work of the kernels is profiled, the time of the same epochs taken without the profiler.
    """
    setting = on_gpu()
    start = kernel_seconds(setting, 1)  # with what a fit does before its first epoch
    kernels = kernel_seconds(setting, 1 + epochs) - start
    wall = sum(setting.fit(max_epochs=1 + epochs).net_.history[1:, "dur"])
    what, against = f"GPU busy, training, {setting.size}", "time of the epochs"
    yield Row(what, f"{kernels:.3g} s", against, f"{wall:.3g} s", kernels / wall, "", ">= 0.8")


def gpu_speed():
    """Training against the CPU of the same machine."""
    gpu, cpu = on_gpu(), Setting(**BATCH)
    seconds = paired(gpu.fit_epoch, cpu.fit_epoch, 5)
    yield ratio_row(f"training on the GPU, {gpu.size}", "CPU", seconds, ">= 10", rate=gpu.n)
