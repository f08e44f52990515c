"""
A series larger than memory
===========================

How is a model fitted to a series that does not fit in memory? Nothing changes but the array: the
series is a `numpy.memmap` or an array of zarr, and what a batch shows is read when it is needed.
Here 1,000 meters for 20 years, made of the load of 7 zones of PJM, take 725 MB
(`pip install 'skdive[zarr]'`).

What this does *not* do well: training shuffles its windows, so that every epoch jumps about in the
file, and zarr decompresses a whole chunk for a window that touches it. Make chunks about as long as
a window, and load what fits into memory: that is several times faster.
"""

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

from skdive import DeepDIVEForecaster, sliding_windows
from skdive.datasets import load_pjm

N_METERS, CHUNK = 1000, 256  # rows of a chunk: a window has 192
load = load_pjm().frame.to_numpy(dtype=np.float32)
shape = 4 * len(load), N_METERS


def peak():
    """Peak memory of this process so far, in MB (ru_maxrss is in KiB on Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


# %%
# The series is written in pieces, as whatever collects it would do: every meter is a zone of its
# own size, with noise.
def write(folder):
    rng = np.random.default_rng(0)
    zone = rng.integers(load.shape[1], size=N_METERS)
    size = rng.uniform(1e-4, 1e-3, size=N_METERS).astype(np.float32)
    stored = zarr.create_array(
        folder / "meters.zarr", shape=shape, chunks=(CHUNK, N_METERS), dtype="f4"
    )
    with open(folder / "meters.f4", "wb") as file:
        for i in range(0, shape[0], CHUNK):
            hours = np.arange(i, min(i + CHUNK, shape[0])) % len(load)
            rows = load[hours][:, zone] * size
            rows *= 1 + 0.02 * rng.standard_normal(rows.shape, dtype=np.float32)
            stored[i : i + CHUNK] = rows
            rows.tofile(file)


# %%
# The fit is the same for both, and the windows are those of any other array.
def fit(series):
    w = sliding_windows(series, lookback=168, horizon=24, stride=720)
    train, test = w.split_fractions(0.9, 0.1)
    model = DeepDIVEForecaster(
        max_epochs=1, hidden_dim=32, batch_size=4, early_stopping=False, random_state=0
    )
    model.fit(train.X, train.y)
    return np.mean(np.abs(model.predict(test.X) - np.asarray(test.y)))


# %%
# The peak before the fits is that of Python and torch. The peak of the mapped file includes those
# of its pages that the system keeps while there is memory to spare; it takes them back when there
# is none.
with tempfile.TemporaryDirectory() as folder:
    write(Path(folder))
    print(f"the series: {np.prod(shape) * 4 / 1e6:.0f} MB; peak before the fits: {peak():.0f} MB")
    kinds = {
        "zarr": zarr.open_array(f"{folder}/meters.zarr", mode="r"),
        "memmap": np.memmap(f"{folder}/meters.f4", dtype=np.float32, mode="r", shape=shape),
    }
    for kind, series in kinds.items():
        began = time.perf_counter()
        error = fit(series)
        seconds = time.perf_counter() - began
        print(f"{kind:6}: MAE {error:.2f} MW, {seconds:.0f} s, peak so far {peak():.0f} MB")
