"""How much memory skdive takes, measured in processes of their own (Linux).

Memory is what a process takes at its peak, above what it takes idle: with everything imported and
torch warm.
"""

import sys
import warnings

import numpy as np
import torch
from compare import Row, in_child
from machine import MB, memory
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit

from skdive import DeepDIVEForecaster, sliding_windows
from skdive.model import DeepDIVE

LOOKBACK, HORIZON = 168, 24


def warm_up():
    """Fit a small model and predict, so that torch and scikit-learn have what they keep."""
    noise = np.random.default_rng(0).standard_normal((128, 2), dtype=np.float32)
    w = sliding_windows(noise, 48, 12)
    grid = {"lr": [0.001, 0.002]}
    model = DeepDIVEForecaster(max_epochs=1, early_stopping=False)
    GridSearchCV(model, grid, cv=TimeSeriesSplit(2)).fit(w.X, w.y).predict(w.X)


def grid_search(n_steps, n_channels, stride):
    """Peak bytes of a search over windows of a wide series, series included."""
    rng = np.random.default_rng(0)
    warm_up()
    idle = memory("VmHWM")
    series = rng.standard_normal((n_steps, n_channels), dtype=np.float32)
    w = sliding_windows(series, LOOKBACK, HORIZON, stride=stride)
    model = DeepDIVEForecaster(max_epochs=1)
    cv = TimeSeriesSplit(5, gap=w.embargo)
    GridSearchCV(model, {"lr": [0.001, 0.002]}, cv=cv).fit(w.X, w.y)
    return memory("VmHWM") - idle


def predict(n, n_most):
    """Peak bytes of the forecast of n windows out of one series."""
    rng = np.random.default_rng(0)
    series = rng.standard_normal((n_most + LOOKBACK + HORIZON - 1, 7), dtype=np.float32)
    w = sliding_windows(series, LOOKBACK, HORIZON)
    model = DeepDIVEForecaster(max_epochs=1, early_stopping=False)
    model.fit(w.X[:512], w.y[:512]).predict(w.X[:2048])
    idle = memory("VmHWM")
    model.predict(w.X[:n])
    return memory("VmHWM") - idle


def memory_search(strides=(24,)):
    """A grid search over windows of a wide series, against the size of the series."""
    shape = (26_304, 321)
    size = 4 * shape[0] * shape[1]
    for stride in strides:
        (peak,) = in_child(__file__, "grid_search", *shape, stride)
        what = f"peak memory of GridSearchCV, {shape[0]} x {shape[1]}, stride {stride}"
        ours, theirs = f"{peak / MB:.0f} MiB", f"{size / MB:.0f} MiB"
        yield Row(what, ours, "size of the series", theirs, peak / size, "", "<= 8")


def memory_search_all():
    """The same with a window at every step; takes long."""
    yield from memory_search(strides=(1,))


def memory_predict(counts=(25_000, 50_000, 100_000)):
    """The growth of peak memory in predict with the number of windows, against the output's."""
    peaks = [in_child(__file__, "predict", n, counts[-1])[0] for n in counts]
    for n, peak in zip(counts, peaks, strict=True):
        output = 4 * n * HORIZON * 7
        ours, theirs = f"{peak / MB:.0f} MiB", f"{output / MB:.0f} MiB"
        yield Row(f"peak memory of predict, {n:,} windows", ours, "output", theirs, peak / output)
    growth = peaks[-1] - peaks[0]
    output = 4 * (counts[-1] - counts[0]) * HORIZON * 7
    what = f"its growth from {counts[0]:,} to {counts[-1]:,}"
    ours, theirs = f"{growth / MB:.0f} MiB", f"{output / MB:.0f} MiB"
    yield Row(what, ours, "growth of the output", theirs, growth / output, "", "<= 1.1")


def network(n_channels):
    """The default network for the hours, weekdays and months of a panel of many channels."""
    priors = [[1 / n] * n for n in (24, 7, 12)]
    return DeepDIVE(LOOKBACK, n_channels, priors, HORIZON, tuple(range(n_channels)))


def count(module):
    """Parameters of a module."""
    return sum(p.numel() for p in module.parameters())


def parameters():
    """The size of the default network, and how its encoders grow with the channels."""
    wide, narrow = count(network(321)), count(network(7))
    what = f"parameters, 321 channels, {LOOKBACK} -> {HORIZON}"
    yield Row(what, f"{wide:,}", "7 channels", f"{narrow:,}", wide / narrow)
    yield Row(what, f"{wide:,}", "2 million", "", wide / 2e6, "", "<= 1")
    with torch.device("meta"):  # no weights are needed to count them
        sizes = [count(network(c).marginal.encoder) for c in (160, 320, 640)]
    what, against = "parameters of an encoder, 320 to 640 channels", "160 to 320 channels, twice"
    ours, theirs = sizes[2] - sizes[1], 2 * (sizes[1] - sizes[0])
    yield Row(what, f"+{ours:,}", against, f"+{theirs:,}", ours / theirs, "", "<= 1")


if __name__ == "__main__":  # in a child process
    warnings.simplefilter("ignore")
    job, *numbers = sys.argv[1:]
    print(globals()[job](*map(int, numbers)))
