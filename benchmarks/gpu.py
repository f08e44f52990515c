"""How well skdive uses a GPU."""

from compare import Row, paired, ratio_row
from speed import LARGE, Setting
from torch.profiler import ProfilerActivity, profile

BATCH = LARGE | dict(n=30_720, batch_size=1024)


def busy():
    """The share of the time of training in which the GPU computes."""
    setting = Setting(**BATCH, device="cuda")
    setting.fit(max_epochs=2)  # warm
    with profile(activities=[ProfilerActivity.CUDA]) as one:
        short = setting.fit(max_epochs=1)
    with profile(activities=[ProfilerActivity.CUDA]) as many:
        long = setting.fit(max_epochs=11)
    # Ten epochs, without what a fit does before the first one.
    kernels = (kernel_seconds(many) - kernel_seconds(one))
    wall = sum(long.net_.history[:, "dur"]) - sum(short.net_.history[:, "dur"])
    what = f"GPU computes, training, {setting.size}"
    yield Row(what, f"{kernels:.3g} s", "wall", f"{wall:.3g} s", kernels / wall, "", ">= 0.8")


def kernel_seconds(profiled):
    """Seconds in which kernels ran on the GPU."""
    return sum(event.device_time_total for event in profiled.key_averages()) / 1e6


def against_cpu():
    """Epochs per second in training, against the CPU of the same machine."""
    gpu, cpu = Setting(**BATCH, device="cuda"), Setting(**BATCH, device="cpu")
    seconds = paired(gpu.fit_epoch, cpu.fit_epoch, 5)
    what = f"training on the GPU, {gpu.size}"
    yield ratio_row(what, "CPU", seconds, ">= 10", rate=gpu.n)
