"""What the network eats: standardised series that lie on the device once, gathered by index."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from skdive.layers import NormedWindow, norm_windows
from skdive.parallel import Process
from skdive.storage import chunks, runs, stays_on_disk
from skdive.warning import warn
from skdive.windows import Windows

CHUNK = {"cpu": 1 << 20, "cuda": 1 << 24}  # values of windows that are computed at a time


class Batch(NamedTuple):
    """Some windows, their labels and their futures."""

    window: NormedWindow  # of x (batch, channel, lookback)
    codes: Tensor  # (batch, factor), -1 where a label is unknown
    y: Tensor | None  # (batch, target, horizon)
    labelled: Tensor | float = 1.0  # share of all windows whose label is known, (factor,)


class Standardiser(NamedTuple):
    """Mean and standard deviation of each channel, from the training windows."""

    mean: np.ndarray  # (channel,) float64
    std: np.ndarray

    @classmethod
    def of(cls, windows: Windows) -> Standardiser:
        """Moments of the base rows that the windows cover, each row counted once."""
        base, (begins, ends) = windows.base, runs(windows.starts, windows.length)
        n_rows = (ends - begins).sum()
        mean = sum(v.sum(0, dtype=np.float64) for v in chunks(base, begins, ends)) / n_rows
        squares = sum(np.square(v - mean).sum(0) for v in chunks(base, begins, ends))
        std = np.sqrt(squares / n_rows)
        std[std <= np.finfo(windows.dtype).eps * np.abs(mean)] = 0  # what is left is rounding
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
    values : Tensor of shape (C, T)
        Channels first: a channel of a window is a contiguous run.
    starts : Tensor of int64, shape (n,), on the device of `values`
    length : int
    device : torch.device
        Where batches go; `values` stay on the host if they do not fit there.
    """

    def __init__(self, values: Tensor, starts: Tensor, length: int, device: torch.device):
        self.values, self.starts, self.length, self.device = values, starts, length, device
        n_channels, n_steps = values.shape
        self._runs = values.view(-1).unfold(0, length, 1)
        self._channels = torch.arange(n_channels, device=values.device) * n_steps

    @classmethod
    def upload(
        cls, windows: Windows, scale: Standardiser, dtype: torch.dtype, device: torch.device
    ) -> DeviceWindows:
        """Standardise the rows of the base that the windows cover, and put them on the device."""
        begins, ends = runs(windows.starts, windows.length)
        before = np.append(0, np.cumsum(ends - begins))  # rows of the stretches before each
        values = torch.empty(windows.n_channels, before[-1], dtype=dtype)
        columns = slice(None) if windows.columns is None else windows.columns
        done = 0
        for chunk in chunks(windows.base, begins, ends):
            standardised = scale.apply(chunk[:, columns].astype(np.float64))
            values[:, done : done + len(chunk)] = torch.from_numpy(standardised.T)
            done += len(chunk)
        stretch = begins.searchsorted(windows.starts, side="right") - 1
        starts = torch.from_numpy(windows.starts - begins[stretch] + before[stretch])
        try:
            return cls(values.to(device), starts.to(device), windows.length, device)
        except torch.OutOfMemoryError:
            warn(
                f"the series ({values.nbytes / 2**20:.0f} MiB) does not fit on {device}; it stays "
                "on the host and every batch is copied, which is slower.",
            )
            return cls(values, starts, windows.length, device)

    def ahead(self, offset: int, length: int) -> DeviceWindows:
        """The windows of another length that begin `offset` steps later, over the same values."""
        return DeviceWindows(self.values, self.starts + offset, length, self.device)

    @property
    def n_channels(self) -> int:
        """Channels of the series."""
        return len(self.values)

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the batches."""
        return self.values.dtype

    @property
    def chunk(self) -> int:
        """Windows to compute at a time."""
        return chunk_of(self)

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, index: Tensor, channels: Tensor | None = None) -> Tensor:
        """Gather windows, (batch, channel, length), of all channels or only some."""
        host = self.starts.device  # or the device, where the values are there
        offsets = self._channels if channels is None else self._channels[channels.to(host)]
        rows = self.starts[index.to(host)].unsqueeze(1) + offsets
        runs = self._runs.index_select(0, rows.flatten())
        return runs.view(len(index), -1, self.length).to(self.device)


class DiskWindows:
    """Windows over a series that stays on disk, with the interface of `DeviceWindows`.

    What a batch covers is read, standardised and put on the device when the batch is taken.

    Parameters
    ----------
    windows : Windows
    scale : Standardiser
    dtype : torch.dtype
    device : torch.device
        Where batches go.
    """

    def __init__(
        self, windows: Windows, scale: Standardiser, dtype: torch.dtype, device: torch.device
    ):
        self.windows, self.scale, self.dtype, self.device = windows, scale, dtype, device
        self.length, self.n_channels = windows.length, windows.n_channels
        self._offset = 0  # steps from where `windows` begin
        self._latest: dict[str, Any] = {}  # batch and its index, shared with the windows ahead

    def ahead(self, offset: int, length: int) -> DiskWindows:
        """The windows of another length that begin `offset` steps later, read along with these."""
        other = copy(self)
        other.length, other._offset = length, self._offset + offset
        return other

    @property
    def chunk(self) -> int:
        """Windows to compute at a time."""
        return chunk_of(self)

    def __len__(self) -> int:
        return len(self.windows)

    def take(self, index: Tensor, channels: Tensor | None = None) -> Tensor:
        """Gather windows, (batch, channel, length), of all channels or only some."""
        if self._latest.get("index") is not index:  # a window and its future are read once
            self._latest.update(index=index, batch=self._read(index))
        batch = self._latest["batch"].ahead(self._offset, self.length)
        return batch.take(torch.arange(len(index), device=self.device), channels)

    def _read(self, index: Tensor) -> DeviceWindows:
        windows = self.windows[index.cpu().numpy()]
        batch = DeviceWindows.upload(windows, self.scale, self.dtype, self.device)
        if not batch.values.sum().isfinite():
            raise OSError(
                "the series on disk has NaN or infinity where it had none before. Do not change "
                "it while it is in use."
            )
        return batch


def chunk_of(windows: DeviceWindows | DiskWindows, n_made: int = 0) -> int:
    """Windows to compute at a time: what bounds memory, and stays in the cache of a CPU.

    `n_made` are the values of what is made of a window, where it may be larger than the window.
    """
    n_values = CHUNK.get(windows.device.type, CHUNK["cpu"])
    return max(1, n_values // max(windows.length * windows.n_channels, n_made))


def standardise(
    windows: Windows, scale: Standardiser, dtype: torch.dtype, device: torch.device
) -> DeviceWindows | DiskWindows:
    """Windows on standardised scale: on the device, unless their series is large and on disk."""
    begins, ends = runs(windows.starts, windows.length)
    n_bytes = (ends - begins).sum() * windows.n_channels * dtype.itemsize
    if stays_on_disk(windows.base, n_bytes):
        return DiskWindows(windows, scale, dtype, device)
    return DeviceWindows.upload(windows, scale, dtype, device)


class WindowBatches(torch.utils.data.Dataset):
    """Windows, their futures and their labels on the device, as mini-batches.

    Parameters
    ----------
    x : DeviceWindows or DiskWindows
    y : DeviceWindows, DiskWindows or None
    codes : Tensor of int64, shape (n, F)
    y_columns : Tensor of int64 or None
        The channels of `y` that are targets; None for all.

    Attributes
    ----------
    progress : Tensor of shape (n,)
        Share of the windows of its series before each window; by default as if there were one.
    """

    def __init__(
        self,
        x: DeviceWindows | DiskWindows,
        y: DeviceWindows | DiskWindows | None,
        codes: Tensor,
        y_columns: Tensor | None = None,
    ):
        self.x, self.y, self.codes, self.y_columns = x, y, codes, y_columns
        self.progress = torch.arange(len(x), device=codes.device) / len(x)
        share = (codes >= 0).float().mean(0)
        self.labelled = torch.where(share > 0, share, 1.0)

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor) -> Batch:
        """Gather the windows of an index on the device."""
        y = None if self.y is None else self.y.take(index, self.y_columns)
        return Batch(norm_windows(self.x.take(index)), self.codes[index], y, self.labelled)

    __getitem__ = take

    def fingerprint(self) -> list[float]:
        """Two numbers by which other values would be known."""
        ends = torch.tensor([0, len(self) - 1], device=self.x.device)
        return self.x.take(ends).double().mean((1, 2)).tolist()

    def batches(
        self, batch_size: int, shuffle: bool = False, process: Process | None = None
    ) -> Iterator[Rows]:
        """All windows, in their order or, with torch's random numbers, in another.

        A process that is not alone gets its share of each batch.
        """
        process = process or Process(self.x.device)
        n, device = len(self), self.x.device
        order = process.from_main(torch.randperm(n)) if shuffle else torch.arange(n)
        for index in order.to(device).split(batch_size):
            rows = process.share(index)
            yield Rows(self, rows) if len(rows) else Rows(self, index[:1], counts=False)


class Rows:
    """The rows of a batch, in parts that are gathered when they are asked for.

    A batch that is small enough to be computed at once, as most are, is one part, gathered once.
    Where a process has no share of a batch, it goes along with a row that does not count.
    """

    def __init__(self, data: WindowBatches, index: Tensor, counts: bool = True):
        self.data, self.index, self.counts = data, index, counts
        # Less than a forecast takes at a time: a step keeps what the backward pass needs.
        fits = len(index) <= max(1, data.x.chunk // 2)
        self._parts = (index,) if fits else index.split(max(1, data.x.chunk // 4))
        self._whole = data.take(index) if fits else None

    def __len__(self) -> int:
        return len(self.index) if self.counts else 0

    def parts(self, undivided: bool = False) -> Iterator[tuple[Batch, float]]:
        """Batches, small enough to be computed or undivided, and the share of each in the whole."""
        if self._whole is not None:
            yield self._whole, 1.0
            return
        if undivided:
            yield self.data.take(self.index), 1.0
            return
        for part in self._parts:
            yield self.data.take(part), len(part) / len(self.index)


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
