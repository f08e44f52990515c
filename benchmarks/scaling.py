"""How the time of training grows with the number of windows, with channels and with lookback."""

import numpy as np
from compare import Row, show

from skdive import DeepDIVEForecaster, sliding_windows


def seconds_per_epoch(n=4096, n_channels=7, lookback=168, horizon=24):
    """Seconds of the second epoch of training on noise."""
    shape = (n + lookback + horizon - 1, n_channels)
    noise = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    w = sliding_windows(noise, lookback, horizon)
    model = DeepDIVEForecaster(max_epochs=2, early_stopping=False, random_state=0)
    return model.fit(w.X, w.y, marginals=np.arange(n) % 24).net_.history[-1, "dur"]


def growth(name, sizes, goal, rounds=3, **options):
    """A line for each size against the smallest one, and the slope through all of them.

    The sizes are taken in turn, several rounds; the fastest epoch of each counts. The slope is that
    of a straight line through the logarithms of size and time: 1 is linear.
    """
    taken = [[seconds_per_epoch(**{name: s}, **options) for s in sizes] for _ in range(rounds)]
    seconds = np.min(taken, axis=0)
    for size, taken in zip(sizes[1:], seconds[1:], strict=True):
        what, against = f"epoch, {name} = {size:,}", f"{name} = {sizes[0]:,}"
        yield Row(what, show(taken), against, show(seconds[0]), taken / seconds[0])
    slope = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
    what = f"log-log slope of the time of an epoch in {name}"
    yield Row(what, f"{slope:.2f}", "linear", "1", slope, "", goal)


def scale_windows(sizes=(1_000, 10_000, 100_000)):
    """Time of an epoch by the number of windows."""
    yield from growth("n", sizes, "<= 1.05", n_channels=1, lookback=48, horizon=12)


def scale_windows_far():
    """The same up to a million windows."""
    yield from scale_windows((1_000, 10_000, 100_000, 1_000_000))


def scale_channels():
    """Time of an epoch by the number of channels."""
    yield from growth("n_channels", (1, 8, 64, 512), "<= 1.3", n=512)


def scale_lookback():
    """Time of an epoch by the length of the lookback."""
    yield from growth("lookback", (24, 128, 512, 2048), "<= 1.3", n=1024)
