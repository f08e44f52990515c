"""What the network eats: standardised series that lie on the device once, gathered by index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from warnings import warn

import numpy as np
import torch
from torch import Tensor

from skdive.parallel import Process
from skdive.windows import Windows

ROWS = 1 << 16  # of a series that are converted at a time
CHUNK = 1 << 20  # values of a window batch in evaluation


class Batch(NamedTuple):
    """Some windows: the inputs by name, labels among them, and their futures."""

    inputs: dict[str, Tensor]  # x (batch, channel, lookback), codes (batch, factor)
    y: Tensor | None  # (batch, target, horizon)

    @property
    def n_windows(self) -> int:
        """How many windows it counts for in means over batches."""
        return len(self.inputs["x"])


class StandIn(Batch):
    """Some windows for a process whose share is empty: it goes along, but counts for nothing."""

    @property
    def n_windows(self) -> int:
        """None."""
        return 0


class Standardiser(NamedTuple):
    """Mean and standard deviation of each channel, from the training windows."""

    mean: np.ndarray  # (channel,) float64
    std: np.ndarray

    @classmethod
    def of(cls, windows: Windows) -> Standardiser:
        """Moments of the base rows that the windows cover, each row counted once."""
        covered = np.flatnonzero(windows.covered())
        chunks = np.array_split(covered, max(1, len(covered) // ROWS))
        mean = sum(windows.base[rows].sum(0, dtype=np.float64) for rows in chunks) / len(covered)
        squares = sum(np.square(windows.base[rows] - mean).sum(0) for rows in chunks)
        std = np.sqrt(squares / len(covered))
        std[std <= 1e-7 * np.abs(mean)] = 0  # what is left is rounding
        return cls(mean, np.where(std > 0, std, 1.0)).select(windows.columns)

    def select(self, columns: np.ndarray | None) -> Standardiser:
        """Only some of the channels."""
        return self if columns is None else Standardiser(self.mean[columns], self.std[columns])

    def apply(self, values: np.ndarray) -> np.ndarray:
        """To units of the network, (..., channel)."""
        return (values - self.mean) / self.std

    def undo(self, values: np.ndarray) -> np.ndarray:
        """Back to the units of the series."""
        return values * self.std + self.mean


class DeviceWindows:
    """Windows over standardised values that lie on a device once.

    Parameters
    ----------
    values : Tensor of shape (T, C)
    starts : Tensor of int64, shape (n,), on the device of `values`
    length : int
    device : torch.device
        Where batches go; `values` stay on the host if they do not fit there.
    """

    def __init__(self, values: Tensor, starts: Tensor, length: int, device: torch.device):
        self.values, self.starts, self.length, self.device = values, starts, length, device
        n_channels = values.shape[1]
        # Every window as a contiguous run of the series: one memory copy per window.
        self._runs = values.view(-1).unfold(0, length * n_channels, n_channels)

    @classmethod
    def upload(
        cls, windows: Windows, scale: Standardiser, dtype: torch.dtype, device: torch.device
    ) -> DeviceWindows:
        """Standardise the part of the base that the windows cover, and put it on the device."""
        first = int(windows.starts.min())
        rows = int(windows.starts.max()) + windows.length - first
        values = torch.empty(rows, windows.n_channels, dtype=dtype)
        columns = slice(None) if windows.columns is None else windows.columns
        for begin in range(0, rows, ROWS):
            end = min(begin + ROWS, rows)
            chunk = windows.base[first + begin : first + end][:, columns].astype(np.float64)
            values[begin:end] = torch.from_numpy(scale.apply(chunk))
        starts = torch.from_numpy(windows.starts - first)
        try:
            return cls(values.to(device), starts.to(device), windows.length, device)
        except torch.OutOfMemoryError:
            warn(
                f"the series ({values.nbytes / 2**20:.0f} MiB) does not fit on {device}; it stays "
                "on the host and every batch is copied, which is slower.",
                stacklevel=2,
            )
            return cls(values, starts, windows.length, device)

    def ahead(self, offset: int, length: int) -> DeviceWindows:
        """The windows of another length that begin `offset` steps later, over the same values."""
        return DeviceWindows(self.values, self.starts + offset, length, self.device)

    @property
    def chunk(self) -> int:
        """Windows to evaluate at a time."""
        return max(1, CHUNK // (self.length * self.values.shape[1]))

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, index: Tensor) -> Tensor:
        """Gather windows, (batch, channel, length)."""
        runs = self._runs.index_select(0, self.starts[index.to(self.starts.device)])
        windows = runs.unflatten(1, (self.length, -1)).transpose(1, 2)
        return windows.contiguous().to(self.device)


class WindowBatches(torch.utils.data.Dataset):
    """Windows, their futures and their labels on the device, as mini-batches.

    Parameters
    ----------
    x : DeviceWindows
    y : DeviceWindows or None
    codes : Tensor of int64, shape (n, F)
    y_columns : Tensor of int64 or None
        The channels of `y` that are targets; None for all.
    """

    def __init__(
        self,
        x: DeviceWindows,
        y: DeviceWindows | None,
        codes: Tensor,
        y_columns: Tensor | None = None,
    ):
        self.x, self.y, self.codes, self.y_columns = x, y, codes, y_columns

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor) -> Batch:
        """Gather the windows of an index on the device."""
        y = None if self.y is None else self.y.take(index)
        if y is not None and self.y_columns is not None:
            y = y[:, self.y_columns]
        return Batch({"x": self.x.take(index), "codes": self.codes[index]}, y)

    __getitem__ = take

    def fingerprint(self) -> list[float]:
        """The number of windows, and two numbers by which other values would be known."""
        return [len(self), *self.x.values[[0, -1]].double().mean(1).tolist()]

    def batches(
        self, batch_size: int, shuffle: bool = False, process: Process | None = None
    ) -> Iterator[Batch]:
        """All windows, in their order or, with torch's random numbers, in another.

        A process that is not alone gets its share of each batch.
        """
        process = process or Process(self.x.device)
        n, device = len(self), self.x.device
        order = process.from_main(torch.randperm(n)) if shuffle else torch.arange(n)
        for index in order.to(device).split(batch_size):
            rows = process.share(index)
            yield self.take(rows) if len(rows) else StandIn(*self.take(index[:1]))


def row_positions(rows: Windows, horizon: int) -> np.ndarray:
    """Time step at which each row of an ordinary array of windows begins.

    Rows that are windows of one series, each a few steps after the one before, are recognised by
    their equal values; other rows are taken as one after the other in time, without overlap.
    """
    n, lookback = len(rows), rows.length
    step = lookback + horizon
    if n > 1:
        pairs = [[rows[k].reshape(lookback, -1) for k in (i, i + 1)] for i in (0, n - 2)]
        for s in range(1, lookback):
            if all(np.array_equal(first[s:], second[:-s]) for first, second in pairs):
                step = s
                break
    return np.arange(n) * step


def offset_of(x: Windows, y: Windows | None) -> int | None:
    """Steps from the start of each window to that of its future in the same series.

    None where futures come from elsewhere, so that they cannot be gathered along with the windows.
    """
    if y is None or x.base is not y.base or x.columns is not None:
        return None
    offsets = np.unique(y.starts - x.starts)
    return int(offsets[0]) if len(offsets) == 1 and offsets[0] >= 0 else None


def continued_channels(x: Windows, y: Windows) -> tuple[int, ...]:
    """The channel of x that each target of y continues.

    As many targets as channels are taken in their order; else a target continues the channel whose
    last step its first step correlates with most.
    """
    if y.n_channels == x.n_channels or x.n_channels == 1:
        return tuple(min(target, x.n_channels - 1) for target in range(y.n_channels))
    some = np.linspace(0, len(x) - 1, min(len(x), 4096)).astype(int)
    last = np.asarray(x[some].steps(x.length - 1, x.length)).reshape(len(some), -1)
    first = np.asarray(y[some].steps(0, 1)).reshape(len(some), -1)
    last, first = (v - v.mean(0, dtype=np.float64) for v in (last, first))
    norm = np.sqrt(np.square(last).sum(0))
    return tuple(int(c) for c in np.abs(first.T @ last / np.where(norm > 0, norm, 1)).argmax(1))


def newest_tail(
    positions: np.ndarray, series: np.ndarray, span: int, fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Split windows into training ones and the newest ones of each series, without overlap.

    Parameters
    ----------
    positions : ndarray of int, shape (n,)
        Time step at which each window begins.
    series : ndarray of int, shape (n,)
        Series of each window.
    span : int
        Time steps of a window with its future: so far behind the newest part, training ends.
    fraction : float
        Share of each series' windows that is held out.

    Returns
    -------
    train, valid : ndarrays of int
        Indices of the windows.
    """
    train, valid = [], []
    for s in np.unique(series):
        rows = np.flatnonzero(series == s)
        ordered = np.sort(positions[rows])
        cut = ordered[-max(1, round(fraction * len(rows)))]
        valid.append(rows[positions[rows] >= cut])
        train.append(rows[positions[rows] + span <= cut])
    return np.concatenate(train), np.concatenate(valid)
