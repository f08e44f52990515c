"""What a system gets: a series and where its windows begin, in one file, the same for every system.

The systems have requirements that exclude each other, so they run in environments of their own and
meet in this file. Its checksum is of the windows as `skdive.sliding_windows` cut them; every run
makes it again, of the windows as its own library cuts them.
"""

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

PARTS = ("train", "valid", "test")
CHUNK = 4096  # windows that are made at a time


class Problem(NamedTuple):
    """A data set and a horizon."""

    data: str
    horizon: int
    lookback: int
    series: np.ndarray  # (n_rows, n_channels) float32, z-scored with training statistics
    bounds: np.ndarray  # rows where each series of a panel begins, and the last one ends
    starts: dict  # of a part: first row of each window, lookback + horizon rows long
    labels: dict  # of a part: {factor: label of each window}
    seasons: tuple  # steps after which the values may repeat, for the naive forecast
    checksum: str

    @property
    def n_channels(self):
        """Channels, which are all inputs and targets."""
        return self.series.shape[1]

    def windows(self, part, chunk=CHUNK):
        """Pairs of X (n, lookback, n_channels) and y (n, horizon, n_channels), chunk by chunk."""
        starts = self.starts[part]
        for i in range(0, len(starts), chunk):
            rows = np.add.outer(starts[i : i + chunk], np.arange(self.lookback + self.horizon))
            values = self.series[rows]
            yield values[:, : self.lookback], values[:, self.lookback :]

    def whole(self, part):
        """All windows of a part at once, as a pair of X and y."""
        return next(self.windows(part, max(len(self.starts[part]), 1)))

    def save(self, path):
        """Write it to an npz file, at once or not at all."""
        arrays = {f"starts {part}": starts for part, starts in self.starts.items()}
        for part, factors in self.labels.items():
            arrays |= {f"label {part} {name}": values for name, values in factors.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.stem}.draft.npz")
        np.savez(draft, **self._asdict() | {"starts": 0, "labels": 0}, **arrays)
        draft.replace(path)

    @classmethod
    def load(cls, path):
        """Read what `save` wrote."""
        with np.load(path) as archive:
            found = dict(archive)
        labels = {part: {} for part in PARTS}
        for key in found:
            if key.startswith("label "):
                _, part, name = key.split(" ", 2)
                labels[part][name] = found[key]
        return cls(
            str(found["data"]),
            int(found["horizon"]),
            int(found["lookback"]),
            found["series"],
            found["bounds"],
            {part: found[f"starts {part}"] for part in PARTS},
            labels,
            tuple(found["seasons"].tolist()),
            str(found["checksum"]),
        )


class Checksum:
    """A hash of windows that does not depend on how they are divided into chunks."""

    def __init__(self):
        self._hashes = sha256(), sha256()

    def add(self, *pair):
        """Add X (n, lookback, n_channels) and y (n, horizon, n_channels)."""
        for known, values in zip(self._hashes, pair, strict=True):
            known.update(np.ascontiguousarray(values, dtype="<f4").data)

    def result(self):
        """The hash of all of it, as 16 hexadecimal digits."""
        return sha256(b"".join(known.digest() for known in self._hashes)).hexdigest()[:16]


def checksum(windows):
    """Hash of the windows of all parts; `windows(part)` iterates over pairs of X and y."""
    total = Checksum()
    for part in PARTS:
        for X, y in windows(part):
            total.add(X, y)
    return total.result()


def of_parts(data, horizon, parts, seasons):
    """The problem that windows of `skdive` pose; `parts` has train, valid and test."""

    def windows(part):
        cut = getattr(parts, part)
        for i in range(0, len(cut), CHUNK):
            X = np.asarray(cut.X[i : i + CHUNK])
            yield X, np.asarray(cut.y[i : i + CHUNK]).reshape(len(X), horizon, -1)

    labels = {part: {} for part in PARTS}
    for part in PARTS:
        if parts.train.marginals is not None:
            known = getattr(parts, part).marginals
            labels[part] = {str(name): known[name].to_numpy() for name in known}
    for factors in labels.values():
        for name, values in factors.items():
            if values.dtype == object:
                factors[name] = values.astype(str)
    return Problem(
        data,
        horizon,
        parts.train.lookback,
        parts.train.X.base,
        parts.train.X.bounds,
        {part: getattr(parts, part).X.starts for part in PARTS},
        labels,
        seasons,
        checksum(windows),
    )


def file_of(folder, data, horizon):
    """Path of the file of a problem."""
    return Path(folder) / f"{data}-{horizon}.npz"


def prepare(folder, data, horizon, source):
    """Write the file of a problem, unless it is there, from the data folder `source`."""
    path = file_of(folder, data, horizon)
    if path.is_file():
        return path
    if source is None:
        raise FileNotFoundError(
            f"{path} is missing; name the data folder with --data, in an environment with skdive, "
            "to write it."
        )
    from data import FORECASTING, forecasting_parts

    hourly = "hour" in (FORECASTING[data].factors or ())
    parts = forecasting_parts(data, Path(source), horizon)
    of_parts(data, horizon, parts, (24, 168) if hourly else (1,)).save(path)
    return path
